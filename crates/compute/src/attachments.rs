//! The verbs on volumes of servers.

use hanse_core::{Cx, Error, Kind, Result, Uuid};
use hanse_policy::Caller;

use crate::Deps;
use crate::db;
use crate::model::{Attachment, AttachmentState, State};
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

pub async fn create(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    server_id: Uuid,
    volume_id: Uuid,
) -> Result<Attachment> {
    let (_, grant) = writable(deps, cx, caller, verbs::ATTACHMENTS_CREATE, server_id).await?;
    deps.volumes.validate(cx, caller, volume_id).await?;
    let grant = &grant;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let server = current(tx, server_id).await?;
                if !matches!(server.state, State::Active | State::Stopped) {
                    return Err(Error::conflict(format!(
                        "Cannot 'attach_volume' instance {server_id} while it is in vm_state {}",
                        server.state.vm_state()
                    )));
                }
                let taken =
                    db::attachments::list(tx, &[server_id]).await?.remove(&server_id).unwrap_or_default();
                let device = free_device(&taken)?;
                db::attachments::insert(tx, cx, grant, volume_id, &device).await?;
                db::events::insert(tx, cx, grant, "attach_volume", &caller.user_id, &server.project_id)
                    .await?;
                hanse_work::wake(tx, cx, KIND, grant.target()).await?;
                Ok(Attachment { volume_id, server_id, device, state: AttachmentState::Attaching })
            })
        })
        .await
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
                if !db::attachments::turn(tx, grant, volume_id, AttachmentState::Detaching).await? {
                    return Err(not_found(volume_id));
                }
                db::events::insert(tx, cx, grant, "detach_volume", &caller.user_id, &server.project_id)
                    .await?;
                hanse_work::wake(tx, cx, KIND, grant.target()).await
            })
        })
        .await
}
