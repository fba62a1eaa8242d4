//! Removes events that have been kept long enough.

use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};
use hanse_store::Db;
use tokio_util::sync::CancellationToken;

use crate::db;

/// Rows that go in one transaction, and the pause behind it, so that others get to write.
const BATCH: u32 = 500;
const BREATH: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_secs(3600);

/// How long events are kept. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    pub db: Db,
    pub cx: Cx,
    /// `None`: for ever.
    pub keep: Option<Duration>,
}

impl Retention {
    /// Looks every hour, until it is told to stop. Several processes may do so: what one has removed, another does not
    /// find.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.once().await {
                Ok(gone) if gone >= u64::from(BATCH) => BREATH,
                Ok(_) => PERIOD,
                Err(error) => {
                    tracing::error!(%error, "cannot remove old audit events; they are tried again");
                    PERIOD
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Removes one batch and returns how many there were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn once(&self) -> Result<u64> {
        let Some(keep) = self.keep else { return Ok(0) };
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp(self.cx.now().0.saturating_sub(keep));
        // Most looks find nothing, and the writer is one.
        if !db::has_older(&mut self.db.read().await?, before).await? {
            return Ok(0);
        }
        let cx = self.cx.background("audit-retention");
        let grant = &hanse_work::system_grant(&cx, "audit", "retention");
        let gone = self.db.write(&cx, grant, |tx| Box::pin(db::remove(tx, grant, before, BATCH))).await?;
        tracing::info!(gone, "old audit events are removed");
        Ok(gone)
    }
}
