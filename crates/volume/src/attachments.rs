//! Volumes of servers: what compute asks for, through the wiring.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;

use crate::model::{Attachment, State, VolumeRow, invalid, missing};
use crate::verbs::{ATTACH, SHOW};
use crate::{Volume, db};

/// A volume that a server shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub volume_id: Uuid,
    pub server_id: Uuid,
    pub project_id: String,
    /// Where the server runs.
    pub node: String,
    /// `/dev/vdb`
    pub device: String,
}

/// A volume, as far as a server that could have it is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachable {
    pub id: Uuid,
    pub state: State,
    /// The node that its disk is on: only servers there can have it.
    pub node: Option<String>,
    /// GiB.
    pub size: u32,
    pub bootable: bool,
}

impl From<VolumeRow> for Attachable {
    fn from(row: VolumeRow) -> Attachable {
        Attachable { id: row.id, state: row.state, node: row.node, size: row.size, bootable: row.bootable }
    }
}

fn require_available(row: &VolumeRow) -> Result<()> {
    if row.state == State::Available {
        return Ok(());
    }
    Err(invalid(format_args!(
        "Volume {} status must be available or downloading to reserve, but the current status is {}.",
        row.id,
        row.state.as_str()
    )))
}

fn elsewhere(row: &VolumeRow, node: &str) -> Error {
    invalid(format_args!(
        "Volume {} is on the node {} and the server on {node}: a volume can only be attached to servers on its node.",
        row.id,
        row.node.as_deref().unwrap_or("-")
    ))
}

impl Volume {
    /// Whether the caller may attach the volume just now; changes nothing.
    ///
    /// # Errors
    /// 404 if the caller may not see it, 400 if it is not available.
    pub async fn validate(&self, caller: &Caller, volume_id: Uuid) -> Result<Attachable> {
        let scope = caller.scope(SHOW)?;
        let row = db::volumes::show(&mut self.db.read().await?, &scope, volume_id).await?;
        let row = row.ok_or_else(|| missing(volume_id))?;
        require_available(&row)?;
        Ok(row.into())
    }

    /// Promises the volume to a server, on behalf of a caller. Exactly one of several who try succeeds; the one who has
    /// it may ask again.
    ///
    /// # Errors
    /// 404 if the caller may not see it, 403 if they may not attach it, 400 if it is not available.
    pub async fn reserve(
        &self,
        cx: &Cx,
        caller: &Caller,
        volume_id: Uuid,
        server_id: Uuid,
        device: Option<&str>,
    ) -> Result<Attachable> {
        let scope = caller.scope(SHOW)?;
        let row = {
            let mut conn = self.db.read().await?;
            db::volumes::show(&mut conn, &scope, volume_id).await?.ok_or_else(|| missing(volume_id))?
        };
        let target = Target::new(volume_id.to_string()).in_project(row.project_id);
        let grant = &caller.authorize(cx, ATTACH, target)?;
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, &Scope::All, volume_id).await?;
                    let row = row.ok_or_else(|| missing(volume_id))?;
                    promise(tx, cx, grant, &row, server_id, device).await?;
                    Ok(row.into())
                })
            })
            .await
    }

    /// The server has the volume, or is about to: promises it if that has not been done, and shows it as in use.
    /// Idempotent.
    ///
    /// # Errors
    /// 404 if the project has no such volume, 400 if it is not available to this server or on another node. Both are
    /// final.
    pub async fn ensure_attached(&self, cx: &Cx, wanted: &Use) -> Result<()> {
        let (scope, id) = (&Scope::Project(wanted.project_id.clone()), wanted.volume_id);
        let grant = &hanse_work::system_grant(cx, "volume.attachments", &id.to_string());
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, scope, id).await?.ok_or_else(|| missing(id))?;
                    if row.node.as_deref() != Some(wanted.node.as_str()) {
                        return Err(elsewhere(&row, &wanted.node));
                    }
                    promise(tx, cx, grant, &row, wanted.server_id, Some(&wanted.device)).await?;
                    db::attachments::settle(tx, cx, grant, &wanted.device).await?;
                    // What an admin has said of it meanwhile stands.
                    if !matches!(row.state, State::Available | State::Attaching) {
                        return Ok(());
                    }
                    let sizes = (row.size, row.wanted_size);
                    db::volumes::turn(tx, cx, grant, State::InUse, sizes, None).await
                })
            })
            .await
    }

    /// The server no longer has the volume, which becomes available. Idempotent: whatever the server does not have
    /// stays as it is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release(&self, cx: &Cx, volume_id: Uuid, server_id: Uuid) -> Result<()> {
        let grant = &hanse_work::system_grant(cx, "volume.attachments", &volume_id.to_string());
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, &Scope::All, volume_id).await?;
                    let had = db::attachments::delete(tx, grant, server_id).await?;
                    match row {
                        Some(row) if had && matches!(row.state, State::Attaching | State::InUse) => {
                            let sizes = (row.size, row.wanted_size);
                            db::volumes::turn(tx, cx, grant, State::Available, sizes, None).await
                        }
                        _ => Ok(()),
                    }
                })
            })
            .await
    }

    /// The volumes that these servers have or were promised.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of_servers(&self, servers: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Attachment>>> {
        let mut all: BTreeMap<Uuid, Vec<Attachment>> = BTreeMap::new();
        for attachment in db::attachments::of_servers(&mut self.db.read().await?, servers).await? {
            all.entry(attachment.server_id).or_default().push(attachment);
        }
        Ok(all)
    }

    /// Those of these volumes that belong to the project.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn show_for(&self, project_id: &str, ids: &[Uuid]) -> Result<Vec<Attachable>> {
        let scope = Scope::Project(project_id.to_owned());
        let rows = db::volumes::show_many(&mut self.db.read().await?, &scope, ids).await?;
        Ok(rows.into_iter().map(Attachable::from).collect())
    }
}

/// Writes the promise, unless this server has it already.
async fn promise(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    row: &VolumeRow,
    server_id: Uuid,
    device: Option<&str>,
) -> Result<()> {
    match db::attachments::show(tx, row.id).await? {
        Some(held) if held.server_id == server_id => return Ok(()),
        Some(_) => {
            return Err(invalid(format_args!(
                "Volume {} is already attached to another server (status {}).",
                row.id,
                row.state.as_str()
            )));
        }
        None => require_available(row)?,
    }
    db::attachments::insert(tx, cx, grant, server_id, device).await?;
    db::volumes::turn(tx, cx, grant, State::Attaching, (row.size, row.wanted_size), None).await
}
