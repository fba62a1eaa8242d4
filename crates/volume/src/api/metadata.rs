use axum::Json;
use axum::extract::{Path, State};
use hanse_core::Error;
use hanse_web::{Body, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::here::{Entry, Here, One};
use crate::Volume;
use crate::model::{Metadata, parse_id};
use crate::volumes::metadata;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct All {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    meta: Metadata,
}

pub(crate) async fn list(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
) -> Reply<Json<Value>> {
    let entries = metadata::list(&volume, &call.caller, parse_id(&one.id)?).await?;
    Ok(Json(json!({ "metadata": entries })))
}

pub(crate) async fn create(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    Body(body): Body<All>,
) -> Reply<Json<Value>> {
    let id = parse_id(&one.id)?;
    let entries = metadata::create(&volume, &call.cx, &call.caller, id, &body.metadata).await?;
    Ok(Json(json!({ "metadata": entries })))
}

pub(crate) async fn update(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    Body(body): Body<All>,
) -> Reply<Json<Value>> {
    let id = parse_id(&one.id)?;
    let entries = metadata::update(&volume, &call.cx, &call.caller, id, &body.metadata).await?;
    Ok(Json(json!({ "metadata": entries })))
}

pub(crate) async fn show(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(entry): Path<Entry>,
) -> Reply<Json<Value>> {
    let value = metadata::show_item(&volume, &call.caller, parse_id(&entry.id)?, &entry.key).await?;
    Ok(Json(json!({ "meta": { entry.key: value } })))
}

pub(crate) async fn update_item(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(entry): Path<Entry>,
    Body(body): Body<Item>,
) -> Reply<Json<Value>> {
    let id = parse_id(&entry.id)?;
    if body.meta.len() != 1 || !body.meta.contains_key(&entry.key) {
        return Err(Error::bad_request("Request body and URI mismatch.").into());
    }
    metadata::create(&volume, &call.cx, &call.caller, id, &body.meta).await?;
    Ok(Json(json!({ "meta": body.meta })))
}

pub(crate) async fn delete(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(entry): Path<Entry>,
) -> Reply<StatusCode> {
    metadata::delete(&volume, &call.cx, &call.caller, parse_id(&entry.id)?, &entry.key).await?;
    Ok(StatusCode::OK)
}
