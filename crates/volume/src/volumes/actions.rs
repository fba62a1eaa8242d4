//! What can be done to a volume beside creating, changing and deleting it.

use hanse_core::{Cx, Error, Result, Uuid};
use hanse_node::documents::{Kind, Spec};
use hanse_policy::Caller;
use hanse_store::Tx;

use super::{KIND, current, remove, writable};
use crate::model::{State, VolumeRow, invalid};
use crate::verbs::{EXTEND, FORCE_DELETE, RESET_STATUS, UPDATE};
use crate::{Volume, db, nodes, quotas};

pub(crate) async fn extend(volume: &Volume, cx: &Cx, caller: &Caller, id: Uuid, size: u32) -> Result<()> {
    let grant = writable(volume, cx, caller, EXTEND, id).await?;
    let max = volume.config.max_size;
    if size > max {
        return Err(Error::bad_request(format!("new_size must not be more than {max} GiB.")));
    }
    let grant = &grant;
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = current(tx, id).await?;
                if row.state != State::Available {
                    return Err(invalid(format_args!(
                        "Volume {id} status must be 'available' to extend, currently {}.",
                        row.state.as_str()
                    )));
                }
                if size <= row.wanted_size {
                    return Err(Error::bad_request(format!(
                        "Invalid input received: New size for extend must be greater than current size. (current: {}, \
                         extended: {size}).",
                        row.wanted_size
                    )));
                }
                let growth = size - row.wanted_size;
                quotas::claim(volume, tx, &row.project_id, (0, growth.into()), size).await?;
                let Some(node) = row.node.clone() else {
                    return Err(invalid(format_args!("Volume {id} has no disk.")));
                };
                if !nodes::has_room(tx, &node, growth).await? {
                    return Err(invalid(format_args!("The node of volume {id} has no room for {size} GiB.")));
                }
                row.wanted_size = size;
                let sizes = (row.size, size);
                db::volumes::turn(tx, cx, grant, State::Extending, sizes, None).await?;
                volume.documents.put(tx, cx, &node, id, &row.spec()).await?;
                hanse_work::wake(tx, cx, KIND, grant.target()).await
            })
        })
        .await
}

pub(crate) async fn set_bootable(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    bootable: bool,
) -> Result<()> {
    let grant = writable(volume, cx, caller, UPDATE, id).await?;
    let grant = &grant;
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = current(tx, id).await?;
                row.bootable = bootable;
                db::volumes::update(tx, cx, grant, &row).await
            })
        })
        .await
}

/// An admin says what state the volume is in; nothing is done about it. A volume that is said to be moving is settled by
/// what its node says next.
pub(crate) async fn reset_status(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    status: &str,
) -> Result<()> {
    let grant = writable(volume, cx, caller, RESET_STATUS, id).await?;
    let state = State::parse(status)
        .ok_or_else(|| Error::bad_request(format!("Must specify a valid status, not '{status}'.")))?;
    let grant = &grant;
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row = current(tx, id).await?;
                if state == State::Available && db::attachments::show(tx, id).await?.is_some() {
                    return Err(invalid(format_args!("Volume {id} is attached; detach it first.")));
                }
                let gone = matches!(state, State::Error | State::Deleting | State::ErrorDeleting);
                if !gone && !has_disk(volume, tx, &row).await? {
                    return Err(invalid(format_args!("Volume {id} has no disk, or it is being removed.")));
                }
                let sizes = (row.size, row.wanted_size);
                db::volumes::turn(tx, cx, grant, state, sizes, None).await
            })
        })
        .await
}

/// Whether the node shall have the disk. One that was being removed may be half gone.
async fn has_disk(volume: &Volume, tx: &mut Tx<'_>, row: &VolumeRow) -> Result<bool> {
    let Some(node) = &row.node else { return Ok(false) };
    let document = volume.documents.show(tx, node, Kind::Disk, row.id).await?;
    Ok(document.is_some_and(|document| !matches!(document.spec, Spec::Absent { .. })))
}

/// As [`super::delete`], whatever state the volume is in. What a server has, stays.
pub(crate) async fn force_delete(volume: &Volume, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    let grant = writable(volume, cx, caller, FORCE_DELETE, id).await?;
    remove(volume, cx, &grant, id, |_| true).await
}

/// Withdraws the disk under a new revision, so that a node that has failed to remove it tries again.
pub(super) async fn withdraw_anew(
    volume: &Volume,
    tx: &mut Tx<'_>,
    cx: &Cx,
    node: &str,
    id: Uuid,
) -> Result<()> {
    if volume.documents.show(tx, node, Kind::Disk, id).await?.is_none() {
        return Ok(());
    }
    volume.documents.forget(tx, node, Kind::Disk, id).await?;
    volume.documents.put(tx, cx, node, id, &Spec::Absent { was: Kind::Disk }).await.map(drop)
}
