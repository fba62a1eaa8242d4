//! The verbs on volumes of servers.

use std::collections::BTreeSet;

use hanse_core::{Cx, Error, Kind, Result, Uuid};
use hanse_policy::{Caller, Grant};
use hanse_store::{Db, Tx};

use crate::Deps;
use crate::db;
use crate::model::{Attachment, AttachmentState, State};
use crate::ports::VolumeUse;
use crate::servers::{KIND, current, show, writable};
use crate::verbs;

/// `/dev/vdb` … `/dev/vdz`
const MAX_VOLUMES: usize = 25;

fn not_found(volume_id: Uuid) -> Error {
    Error::new(Kind::NotFound, format!("volume_id not found: {volume_id}"))
}

pub async fn list(deps: &Deps, caller: &Caller, server_id: Uuid) -> Result<Vec<Attachment>> {
    show(deps, caller, verbs::ATTACHMENTS_LIST, server_id).await?;
    let mut all = db::attachments::list(&mut deps.db.read().await?, &[server_id]).await?;
    Ok(all.remove(&server_id).unwrap_or_default())
}

/// Those of these attachments that servers still want. Ids are used once: one that is missing is missing for good.
///
/// # Errors
/// If the database fails.
pub async fn standing(db: &Db, ids: &[Uuid]) -> Result<BTreeSet<Uuid>> {
    db::attachments::standing(&mut db.read().await?, ids).await
}

/// The attachment is written first and the volume asked for under its id, so that whatever happens in between somebody
/// knows of it: the server's reconciler does what is left to do, and a volume whose attachment is gone is given back by
/// its own.
pub async fn create(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    server_id: Uuid,
    volume_id: Uuid,
) -> Result<Attachment> {
    let (_, grant) = writable(deps, cx, caller, verbs::ATTACHMENTS_CREATE, server_id).await?;
    // Nobody learns from our own rows whether a volume exists that they may not see.
    deps.volumes.validate(cx, caller, volume_id).await?;
    let wanted = begin(deps, cx, caller, &grant, server_id, volume_id).await?;
    let reserved = deps.volumes.reserve(cx, caller, &wanted).await;
    if reserved.is_err() {
        let (grant, id) = (&grant, wanted.attachment_id);
        deps.db.write(cx, grant, |tx| Box::pin(withdraw(tx, grant, id))).await?;
    }
    // The reconciler or the server's user may have been faster.
    let now = db::attachments::show(&mut deps.db.read().await?, wanted.attachment_id).await?;
    match (now, reserved) {
        (Some(attachment), _) if attachment.state != AttachmentState::Detaching => Ok(attachment),
        (_, Err(refusal)) => Err(refusal),
        (_, Ok(())) => {
            deps.volumes.release(cx, volume_id, wanted.attachment_id).await?;
            Err(Error::conflict(format!("Volume {volume_id} was detached from {server_id} meanwhile.")))
        }
    }
}

async fn begin(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    grant: &Grant,
    server_id: Uuid,
    volume_id: Uuid,
) -> Result<VolumeUse> {
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let server = current(tx, server_id).await?;
                let (State::Active | State::Stopped, Some(node)) = (server.state, &server.node) else {
                    return Err(Error::conflict(format!(
                        "Cannot 'attach_volume' instance {server_id} while it is in vm_state {}",
                        server.state.vm_state()
                    )));
                };
                let taken =
                    db::attachments::list(tx, &[server_id]).await?.remove(&server_id).unwrap_or_default();
                let attachment = Attachment {
                    id: cx.uuid(),
                    volume_id,
                    server_id,
                    device: free_device(&taken)?,
                    state: AttachmentState::Reserving,
                };
                db::attachments::insert(tx, cx, grant, &attachment).await?;
                db::events::insert(tx, cx, grant, "attach_volume", &caller.user_id, &server.project_id)
                    .await?;
                hanse_work::wake(tx, cx, KIND, grant.target()).await?;
                Ok(attachment.of(&server, node))
            })
        })
        .await
}

/// Takes back an attachment of the grant's server whose volume was refused, unless it was promised meanwhile.
pub(crate) async fn withdraw(tx: &mut Tx<'_>, grant: &Grant, id: Uuid) -> Result<()> {
    if db::attachments::withdraw(tx, grant, id).await? {
        db::events::failed(tx, grant).await?;
    }
    Ok(())
}

/// The root disk is `/dev/vda`.
fn free_device(taken: &[Attachment]) -> Result<String> {
    let names = (b'b'..=b'z').map(|letter| format!("/dev/vd{}", char::from(letter)));
    names
        .into_iter()
        .find(|name| taken.iter().all(|attachment| attachment.device != *name))
        .ok_or_else(|| Error::forbidden(format!("A server can have at most {MAX_VOLUMES} volumes.")))
}

pub async fn delete(deps: &Deps, cx: &Cx, caller: &Caller, server_id: Uuid, volume_id: Uuid) -> Result<()> {
    let (_, grant) = writable(deps, cx, caller, verbs::ATTACHMENTS_DELETE, server_id).await?;
    let grant = &grant;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let server = current(tx, server_id).await?;
                if !db::attachments::detach(tx, grant, volume_id).await? {
                    return Err(not_found(volume_id));
                }
                db::events::insert(tx, cx, grant, "detach_volume", &caller.user_id, &server.project_id)
                    .await?;
                hanse_work::wake(tx, cx, KIND, grant.target()).await
            })
        })
        .await
}
