use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Kind, Result, Uuid};
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parse_id;
use crate::Deps;
use crate::attachments;
use crate::model::Attachment;

fn view(attachment: &Attachment) -> Value {
    json!({
        "id": attachment.volume_id,
        "volumeId": attachment.volume_id,
        "serverId": attachment.server_id,
        "device": attachment.device,
    })
}

fn parse_volume(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::new(Kind::NotFound, format!("volume_id not found: {text}")))
}

pub async fn list(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let all = attachments::list(&deps, &call.caller, parse_id(&id)?).await?;
    Ok(Json(json!({"volumeAttachments": all.iter().map(view).collect::<Vec<_>>()})))
}

pub async fn show(
    State(deps): State<Deps>,
    call: Call,
    Path((id, volume)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let volume_id = parse_volume(&volume)?;
    let all = attachments::list(&deps, &call.caller, parse_id(&id)?).await?;
    let missing = || Error::new(Kind::NotFound, format!("volume_id not found: {volume}"));
    let found = all.iter().find(|one| one.volume_id == volume_id).ok_or_else(missing)?;
    Ok(Json(json!({"volumeAttachment": view(found)})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    #[serde(rename = "volumeAttachment")]
    attachment: New,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    #[serde(rename = "volumeId")]
    volume_id: Uuid,
    /// A wish that hypervisors never could grant; the answer says which device it is.
    #[serde(default, rename = "device")]
    _device: Option<String>,
}

pub async fn create(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Create>,
) -> Reply<Json<Value>> {
    let volume_id = body.attachment.volume_id;
    let made = attachments::create(&deps, &call.cx, &call.caller, parse_id(&id)?, volume_id).await?;
    Ok(Json(json!({"volumeAttachment": view(&made)})))
}

pub async fn delete(
    State(deps): State<Deps>,
    call: Call,
    Path((id, volume)): Path<(String, String)>,
) -> Reply<StatusCode> {
    attachments::delete(&deps, &call.cx, &call.caller, parse_id(&id)?, parse_volume(&volume)?).await?;
    Ok(StatusCode::ACCEPTED)
}
