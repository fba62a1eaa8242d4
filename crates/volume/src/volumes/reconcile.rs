//! Settles volumes by what their nodes say.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, Uuid};
use hanse_node::desired;
use hanse_node::documents::Kind;
use hanse_node::reports::State as Report;
use hanse_policy::{Grant, Scope};
use hanse_store::Tx;
use hanse_work::{Outcome, Reconciler, Turn};

use super::KIND;
use crate::attachments::give_back;
use crate::model::{Attachment, State, VolumeRow};
use crate::ports::Servers;
use crate::{Volume, db};

/// A report wakes the reconciler; this is for the case that it does not.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Volumes {
    volume: Volume,
    servers: Arc<dyn Servers>,
}

impl Volumes {
    pub(crate) fn new(volume: Volume, servers: Arc<dyn Servers>) -> Volumes {
        Volumes { volume, servers }
    }

    /// A promise is kept by its server, or taken back once the server no longer wants the volume: whoever asked may have
    /// died, or changed its mind, between writing the attachment and being promised the volume.
    async fn watch(&self, turn: &Turn, held: &Attachment) -> Result<Outcome> {
        if held.attached_at.is_some() {
            return Ok(Outcome::Done);
        }
        if self.servers.standing(&turn.cx, &[held.id]).await?.contains(&held.id) {
            return Ok(Outcome::wait(PATIENCE, format!("for the server {} to take it", held.server_id)));
        }
        turn.crash_point("volume.promise_void")?;
        let (cx, grant, volume_id, id) = (&turn.cx, turn.grant(), held.volume_id, held.id);
        turn.write(|tx| {
            Box::pin(async move {
                let row = db::volumes::show(tx, &Scope::All, volume_id).await?;
                give_back(tx, cx, grant, row.as_ref(), id).await
            })
        })
        .await?;
        Ok(Outcome::Again)
    }
}

#[async_trait]
impl Reconciler for Volumes {
    fn kind(&self) -> &'static str {
        KIND
    }

    /// Stating the disk, reading the report and settling the row are one transaction, so there is nothing between
    /// them that a crash could tear apart.
    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome> {
        let id: Uuid = id.parse().map_err(|_| Error::internal(format!("'{id}' is no id of a volume")))?;
        // Most reports are on disks that are no volumes, or on volumes that stay as they are.
        let (known, held) = {
            let mut conn = self.volume.db.read().await?;
            (
                db::volumes::show(&mut conn, &Scope::All, id).await?,
                db::attachments::show(&mut conn, id).await?,
            )
        };
        if let Some(held) = held {
            return self.watch(turn, &held).await;
        }
        if !known.is_some_and(|row| row.state.is_moving()) {
            return Ok(Outcome::Done);
        }
        turn.crash_point("volume.read")?;
        let (volume, cx, grant) = (&self.volume, &turn.cx, turn.grant());
        let outcome = turn
            .write(|tx| {
                Box::pin(async move {
                    // What a server has, stays as it is, whatever an admin says of it.
                    if db::attachments::show(tx, id).await?.is_some() {
                        return Ok(Outcome::Again);
                    }
                    match db::volumes::show(tx, &Scope::All, id).await? {
                        Some(row) if row.state == State::Deleting => {
                            take_back(volume, tx, cx, grant, &row).await
                        }
                        Some(row) if row.state.is_moving() => make(volume, tx, cx, grant, &row).await,
                        _ => Ok(Outcome::Done),
                    }
                })
            })
            .await?;
        turn.crash_point("volume.settled")?;
        Ok(outcome)
    }
}

/// Creating and extending: the node shall have the disk as it is wanted.
async fn make(volume: &Volume, tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &VolumeRow) -> Result<Outcome> {
    let failed = if row.state == State::Creating { State::Error } else { State::ErrorExtending };
    let Some(node) = &row.node else {
        db::volumes::turn(tx, cx, grant, State::Error, (row.size, row.wanted_size), Some("it has no node"))
            .await?;
        return Ok(Outcome::Done);
    };
    let revision = volume.documents.put(tx, cx, node, row.id, &row.spec()).await?;
    match desired::report(tx, node, Kind::Disk, row.id, revision).await? {
        Some(Report::Ready) => {
            let sizes = (row.wanted_size, row.wanted_size);
            db::volumes::turn(tx, cx, grant, State::Available, sizes, None).await?;
            Ok(Outcome::Done)
        }
        Some(Report::Failed { reason }) => {
            tracing::warn!(volume = %row.id, node, reason, "the node cannot make the disk");
            let sizes = (row.size, row.wanted_size);
            db::volumes::turn(tx, cx, grant, failed, sizes, Some(&reason)).await?;
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::wait(PATIENCE, format!("for the disk on {node}"))),
    }
}

async fn take_back(
    volume: &Volume,
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    row: &VolumeRow,
) -> Result<Outcome> {
    let revision = match &row.node {
        Some(node) => volume.documents.withdraw(tx, cx, node, Kind::Disk, row.id).await?,
        None => None,
    };
    let (Some(node), Some(revision)) = (&row.node, revision) else {
        db::volumes::delete(tx, grant).await?;
        return Ok(Outcome::Done);
    };
    match desired::report(tx, node, Kind::Disk, row.id, revision).await? {
        Some(Report::Gone) => {
            volume.documents.forget(tx, node, Kind::Disk, row.id).await?;
            db::volumes::delete(tx, grant).await?;
            Ok(Outcome::Done)
        }
        Some(Report::Failed { reason }) => {
            tracing::warn!(volume = %row.id, node, reason, "the node cannot remove the disk");
            let sizes = (row.size, row.wanted_size);
            db::volumes::turn(tx, cx, grant, State::ErrorDeleting, sizes, Some(&reason)).await?;
            Ok(Outcome::Done)
        }
        _ => Ok(Outcome::wait(PATIENCE, format!("for the disk to be gone from {node}"))),
    }
}
