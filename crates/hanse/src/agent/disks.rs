//! Root disks and volumes.

use hanse_core::{Error, Result, Uuid};
use hanse_node::documents::{Disk, Kind, Spec};
use hanse_node::reports::State;

use super::Machine;

impl Machine {
    pub(super) async fn disk(&self, id: Uuid, disk: &Disk) -> Result<State> {
        self.0.drivers.storage.ensure_disk(id, disk).await?;
        self.0.crash.pass("agent.disk_made")?;
        Ok(State::Ready)
    }

    pub(super) async fn remove_disk(&self, id: Uuid) -> Result<State> {
        let user = self.documents().values().find_map(|document| match &document.spec {
            Spec::Guest(guest) => guest.disks.iter().any(|disk| disk.id == id).then_some(document.id),
            _ => None,
        });
        if let Some(guest) = user {
            return Ok(State::Pending { reason: format!("guest {guest} still has the disk") });
        }
        self.0.drivers.storage.remove_disk(id).await?;
        self.0.crash.pass("agent.disk_removed")?;
        Ok(State::Gone)
    }

    /// The file behind a disk that is ready.
    pub(super) async fn disk_file(&self, id: Uuid) -> Result<hanse_storage::DiskFile> {
        match self.document(Kind::Disk, id).map(|document| document.spec) {
            Some(Spec::Disk(disk)) => self.0.drivers.storage.ensure_disk(id, &disk).await,
            _ => Err(Error::unavailable(format!("the disk {id} is not there yet"))),
        }
    }
}
