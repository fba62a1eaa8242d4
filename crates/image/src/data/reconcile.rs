//! Looks after what uploads have put into the store, or may have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Context, Result, Uuid};
use hanse_store::Db;
use hanse_work::{Outcome, Reconciler, Turn};

use super::{DATA_KIND, SILENCE};
use crate::db::data::{self, DataState};
use crate::ports::ImageStore;

pub(crate) struct Data {
    db: Db,
    store: Arc<dyn ImageStore>,
}

impl Data {
    pub(crate) fn new(db: Db, store: Arc<dyn ImageStore>) -> Data {
        Data { db, store }
    }
}

#[async_trait]
impl Reconciler for Data {
    fn kind(&self) -> &'static str {
        DATA_KIND
    }

    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome> {
        let id: Uuid = id.parse().context("the id of image data")?;
        let known = data::show(&mut self.db.read().await?, id).await?;
        let Some(known) = known else { return Ok(Outcome::Done) };
        match known.state {
            DataState::Stored => Ok(Outcome::Done),
            DataState::Writing if turn.cx.now().since(known.seen_at) < SILENCE => {
                Ok(Outcome::wait(Duration::from_secs(60), "for the upload to end"))
            }
            DataState::Writing => {
                let cx = &turn.cx;
                let reason = "the upload stopped without an end; upload again";
                turn.write(|tx| Box::pin(data::orphan(tx, cx, id, reason))).await?;
                tracing::warn!(image = %known.image_id, "an upload died; its image is queued again");
                Ok(Outcome::Again)
            }
            DataState::Orphan => {
                self.store.delete(id).await?;
                turn.crash_point("image.data_deleted")?;
                turn.write(|tx| Box::pin(data::delete(tx, id))).await?;
                Ok(Outcome::Done)
            }
        }
    }
}
