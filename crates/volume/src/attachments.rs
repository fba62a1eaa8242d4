//! Volumes of servers: what compute asks for, through the wiring.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;

use crate::model::{Attachment, State, VolumeRow, invalid, missing};
use crate::verbs::{ATTACH, SHOW};
use crate::volumes::KIND;
use crate::{Volume, db};

/// A volume that a server shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Of the attachment: chosen by whoever has the server, for this one time.
    pub id: Uuid,
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
    /// it may ask again. A promise whose attachment is given up is taken back by our reconciler.
    ///
    /// # Errors
    /// 404 if the caller may not see it or it is not of the server's project, 403 if they may not attach it, 400 if it
    /// is not available to this server or on another node.
    pub async fn reserve(&self, cx: &Cx, caller: &Caller, wanted: &Use) -> Result<Attachable> {
        let (scope, id) = (caller.scope(SHOW)?, wanted.volume_id);
        let row = {
            let mut conn = self.db.read().await?;
            db::volumes::show(&mut conn, &scope, id).await?.ok_or_else(|| missing(id))?
        };
        let grant = caller.authorize(cx, ATTACH, Target::new(id.to_string()).in_project(row.project_id))?;
        self.promise(cx, &grant, wanted).await
    }

    /// The same, on behalf of the server.
    ///
    /// # Errors
    /// 404 if the project has no such volume, 400 if it is not available to this server or on another node. Both are
    /// final.
    pub async fn ensure_reserved(&self, cx: &Cx, wanted: &Use) -> Result<()> {
        self.promise(cx, &on_behalf_of_servers(cx, wanted.volume_id), wanted).await.map(drop)
    }

    /// Writes the promise, unless it was made already.
    async fn promise(&self, cx: &Cx, grant: &Grant, wanted: &Use) -> Result<Attachable> {
        let (scope, id) = (&Scope::Project(wanted.project_id.clone()), wanted.volume_id);
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, scope, id).await?.ok_or_else(|| missing(id))?;
                    if row.node.as_deref() != Some(wanted.node.as_str()) {
                        return Err(elsewhere(&row, &wanted.node));
                    }
                    match db::attachments::show(tx, id).await? {
                        Some(held) if held.id == wanted.id => return Ok(row.into()),
                        Some(_) => {
                            return Err(invalid(format_args!(
                                "Volume {id} is already attached to another server (status {}).",
                                row.state.as_str()
                            )));
                        }
                        None => require_available(&row)?,
                    }
                    db::attachments::insert(tx, cx, grant, wanted).await?;
                    db::volumes::turn(tx, cx, grant, State::Attaching, (row.size, row.wanted_size), None)
                        .await?;
                    // It sees to it that the promise is kept or taken back.
                    hanse_work::wake(tx, cx, KIND, grant.target()).await?;
                    Ok(row.into())
                })
            })
            .await
    }

    /// The server has the volume that it was promised, or is about to: shows it as in use. Idempotent.
    ///
    /// # Errors
    /// 404 if there is no such volume, 400 if it was not promised to this server. Both are final.
    pub async fn ensure_attached(&self, cx: &Cx, wanted: &Use) -> Result<()> {
        let id = wanted.volume_id;
        let grant = &on_behalf_of_servers(cx, id);
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, &Scope::All, id).await?.ok_or_else(|| missing(id))?;
                    let held = db::attachments::show(tx, id).await?;
                    if held.is_none_or(|held| held.id != wanted.id) {
                        return Err(invalid(format_args!(
                            "Volume {id} is not reserved for the server {}.",
                            wanted.server_id
                        )));
                    }
                    if db::attachments::settle(tx, cx, grant).await? {
                        hanse_work::wake(tx, cx, KIND, grant.target()).await?;
                    }
                    // What an admin has said of it meanwhile stands.
                    if row.state != State::Attaching {
                        return Ok(());
                    }
                    db::volumes::turn(tx, cx, grant, State::InUse, (row.size, row.wanted_size), None).await
                })
            })
            .await
    }

    /// The attachment is over and the volume becomes available. Idempotent: one that is not the volume's changes nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release(&self, cx: &Cx, volume_id: Uuid, attachment_id: Uuid) -> Result<()> {
        let grant = &on_behalf_of_servers(cx, volume_id);
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let row = db::volumes::show(tx, &Scope::All, volume_id).await?;
                    give_back(tx, cx, grant, row.as_ref(), attachment_id).await
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

fn on_behalf_of_servers(cx: &Cx, volume_id: Uuid) -> Grant {
    hanse_work::system_grant(cx, "volume.attachments", &volume_id.to_string())
}

/// Ends an attachment of the volume of the grant.
pub(crate) async fn give_back(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    row: Option<&VolumeRow>,
    attachment_id: Uuid,
) -> Result<()> {
    if !db::attachments::delete(tx, grant, attachment_id).await? {
        return Ok(());
    }
    if let Some(row) = row.filter(|row| matches!(row.state, State::Attaching | State::InUse)) {
        db::volumes::turn(tx, cx, grant, State::Available, (row.size, row.wanted_size), None).await?;
    }
    // It waits no more.
    hanse_work::wake(tx, cx, KIND, grant.target()).await
}
