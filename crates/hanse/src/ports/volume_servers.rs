//! What volumes ask of compute.

use std::collections::BTreeSet;

use async_trait::async_trait;
use hanse_core::{Cx, Result, Uuid};
use hanse_store::Db;
use hanse_volume::ports::Servers;

pub struct ServerService(pub Db);

#[async_trait]
impl Servers for ServerService {
    async fn standing(&self, _: &Cx, attachments: &[Uuid]) -> Result<BTreeSet<Uuid>> {
        hanse_compute::standing(&self.0, attachments).await
    }
}
