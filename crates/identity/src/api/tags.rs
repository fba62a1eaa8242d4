//! The tags of a project on the wire.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hanse_web::{Body, Call, Reply};
use http::{StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Identity;
use crate::tags;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tags {
    tags: Vec<String>,
}

fn link(identity: &Identity, id: &str) -> String {
    identity.0.catalog.link(&format!("projects/{id}/tags"))
}

fn view(identity: &Identity, id: &str, tags: &[String]) -> Json<Value> {
    Json(json!({ "tags": tags, "links": { "self": link(identity, id) } }))
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let found = tags::list(&identity, &call.caller, &id).await?;
    Ok(view(&identity, &id, &found))
}

pub(crate) async fn replace(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Tags>,
) -> Reply<Json<Value>> {
    let found = tags::replace(&identity, &call.cx, &call.caller, &id, body.tags).await?;
    Ok(view(&identity, &id, &found))
}

pub(crate) async fn clear(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    tags::clear(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn check(
    State(identity): State<Identity>,
    call: Call,
    Path((id, tag)): Path<(String, String)>,
) -> Reply<StatusCode> {
    tags::check(&identity, &call.caller, &id, &tag).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Path((id, tag)): Path<(String, String)>,
    uri: Uri,
) -> Reply<Response> {
    tags::create(&identity, &call.cx, &call.caller, &id, &tag).await?;
    // The path as it came, with whatever the tag has encoded.
    let location = identity.0.catalog.link(uri.path().trim_start_matches("/v3/"));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path((id, tag)): Path<(String, String)>,
) -> Reply<StatusCode> {
    tags::delete(&identity, &call.cx, &call.caller, &id, &tag).await?;
    Ok(StatusCode::NO_CONTENT)
}
