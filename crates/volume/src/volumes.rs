//! The verbs on volumes.

pub(crate) mod actions;
pub(crate) mod metadata;
pub(crate) mod reconcile;

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Page, Result, Uuid, check_text};
use hanse_policy::{Caller, Grant, Scope, Target, Verb};
use hanse_store::{SortKey, Tx};

use crate::model::{Attachment, Metadata, State, VolumeRow, ZONE, invalid, missing};
use crate::verbs::{CREATE, DELETE, LIST, SHOW, UPDATE};
use crate::{Volume, db, nodes, quotas, types};

/// The reconciler that a report on a disk wakes.
pub const KIND: &str = "volume.volumes";

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct New {
    pub(crate) size: u32,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) availability_zone: Option<String>,
    pub(crate) volume_type: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) name: Option<Option<String>>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) all_projects: bool,
    pub(crate) project_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) bootable: Option<bool>,
    pub(crate) metadata: Metadata,
}

/// A volume with the server that has it.
pub(crate) struct Shown {
    pub(crate) row: VolumeRow,
    pub(crate) attachment: Option<Attachment>,
}

pub(crate) async fn create(volume: &Volume, cx: &Cx, caller: &Caller, new: New) -> Result<VolumeRow> {
    let Scope::Project(project_id) = caller.own_scope(CREATE)? else {
        return Err(Error::bad_request("A volume belongs to a project: use a token for one."));
    };
    let id = cx.uuid();
    let grant = caller.authorize(cx, CREATE, Target::new(id.to_string()).in_project(&project_id))?;
    let row = new.into_row(cx, volume, id, project_id, caller.user_id.clone())?;
    let (row, grant) = (&row, &grant);
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                quotas::claim(volume, tx, &row.project_id, (1, row.size.into()), row.size).await?;
                let mut row = row.clone();
                row.node = nodes::choose(tx, row.size).await?;
                match &row.node {
                    Some(node) => {
                        volume.documents.put(tx, cx, node, row.id, &row.spec()).await?;
                        hanse_work::wake(tx, cx, KIND, grant.target()).await?;
                    }
                    None => {
                        row.state = State::Error;
                        row.state_reason = Some("No valid backend was found: no node has room.".to_owned());
                    }
                }
                db::volumes::insert(tx, grant, &row).await?;
                Ok(row)
            })
        })
        .await
}

impl New {
    fn into_row(
        self,
        cx: &Cx,
        volume: &Volume,
        id: Uuid,
        project_id: String,
        user_id: String,
    ) -> Result<VolumeRow> {
        let max = volume.config.max_size;
        if self.size == 0 || self.size > max {
            return Err(Error::bad_request(format!(
                "Invalid input received: Volume size must be a whole number of GiB from 1 to {max}."
            )));
        }
        if let Some(asked) = &self.volume_type {
            types::check(asked)?;
        }
        if self.availability_zone.as_deref().is_some_and(|zone| zone != ZONE) {
            let zone = self.availability_zone.unwrap_or_default();
            return Err(Error::bad_request(format!("Availability zone '{zone}' is invalid.")));
        }
        metadata::check(volume, &self.metadata)?;
        Ok(VolumeRow {
            id,
            project_id,
            user_id,
            name: checked("name", self.name)?,
            description: checked("description", self.description)?,
            size: self.size,
            wanted_size: self.size,
            state: State::Creating,
            state_reason: None,
            node: None,
            availability_zone: ZONE.to_owned(),
            metadata: self.metadata,
            bootable: false,
            created_at: cx.now(),
            updated_at: None,
        })
    }
}

fn checked(field: &str, text: Option<String>) -> Result<Option<String>> {
    if let Some(text) = &text {
        check_text(field, text, hanse_core::NAME_MAX)?;
    }
    Ok(text.map(|text| text.trim().to_owned()))
}

pub(crate) async fn show(volume: &Volume, caller: &Caller, id: Uuid) -> Result<Shown> {
    let scope = caller.scope(SHOW)?;
    let mut conn = volume.db.read().await?;
    let row = db::volumes::show(&mut conn, &scope, id).await?.ok_or_else(|| missing(id))?;
    let attachment = db::attachments::show(&mut conn, id).await?;
    Ok(Shown { row, attachment })
}

pub(crate) async fn list(
    volume: &Volume,
    caller: &Caller,
    filter: &Filter,
    sort: &[SortKey],
    page: &Page,
) -> Result<(Vec<Shown>, bool)> {
    let scope = if filter.all_projects { caller.scope(LIST)? } else { caller.own_scope(LIST)? };
    let mut conn = volume.db.read().await?;
    let (rows, more) = db::volumes::list(&mut conn, &scope, filter, sort, page).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let attachments = db::attachments::of_volumes(&mut conn, &ids).await?;
    let mut attachments: BTreeMap<Uuid, Attachment> =
        attachments.into_iter().map(|attachment| (attachment.volume_id, attachment)).collect();
    let shown = |row: VolumeRow| Shown { attachment: attachments.remove(&row.id), row };
    Ok((rows.into_iter().map(shown).collect(), more))
}

/// Asks for the right to write a volume that the caller may see.
async fn writable(volume: &Volume, cx: &Cx, caller: &Caller, verb: Verb, id: Uuid) -> Result<Grant> {
    let row = show(volume, caller, id).await?.row;
    caller.authorize(cx, verb, Target::new(id.to_string()).in_project(row.project_id))
}

/// The volume, in the transaction that changes it.
async fn current(tx: &mut Tx<'_>, id: Uuid) -> Result<VolumeRow> {
    db::volumes::show(tx, &Scope::All, id).await?.ok_or_else(|| missing(id))
}

pub(crate) async fn update(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    change: Change,
) -> Result<Shown> {
    let grant = writable(volume, cx, caller, UPDATE, id).await?;
    let name = change.name.map(|name| checked("name", name)).transpose()?;
    let description = change.description.map(|text| checked("description", text)).transpose()?;
    if let Some(entries) = &change.metadata {
        metadata::check(volume, entries)?;
    }
    let (grant, name, description, entries) = (&grant, &name, &description, &change.metadata);
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = current(tx, id).await?;
                if let Some(name) = name {
                    row.name.clone_from(name);
                }
                if let Some(description) = description {
                    row.description.clone_from(description);
                }
                if let Some(entries) = entries {
                    row.metadata.clone_from(entries);
                }
                db::volumes::update(tx, cx, grant, &row).await
            })
        })
        .await?;
    show(volume, caller, id).await
}

/// The states in which users may delete a volume.
const DELETABLE: &[State] =
    &[State::Available, State::Error, State::ErrorExtending, State::ErrorDeleting, State::Maintenance];

pub(crate) async fn delete(volume: &Volume, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    let grant = writable(volume, cx, caller, DELETE, id).await?;
    remove(volume, cx, &grant, id, |state| DELETABLE.contains(&state)).await
}

/// Takes the disk back; the row goes when the node has reported it gone.
async fn remove(
    volume: &Volume,
    cx: &Cx,
    grant: &Grant,
    id: Uuid,
    allowed: impl Fn(State) -> bool + Sync,
) -> Result<()> {
    let allowed = &allowed;
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row = current(tx, id).await?;
                if db::attachments::show(tx, id).await?.is_some() || !allowed(row.state) {
                    return Err(invalid(
                        "Volume status must be available or error or error_restoring or error_extending or \
                         error_managing and must not be migrating, attached, belong to a group, have snapshots, \
                         awaiting a transfer, or be disassociated from snapshots after volume transfer.",
                    ));
                }
                let sizes = (row.size, row.wanted_size);
                db::volumes::turn(tx, cx, grant, State::Deleting, sizes, None).await?;
                if let Some(node) = &row.node {
                    actions::withdraw_anew(volume, tx, cx, node, id).await?;
                }
                hanse_work::wake(tx, cx, KIND, grant.target()).await
            })
        })
        .await
}
