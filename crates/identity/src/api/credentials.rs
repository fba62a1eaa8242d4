//! Credentials, EC2 credentials, and who signed a request with one.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hanse_core::{Error, Result};
use hanse_crypto::{Ec2Credentials, S3Credentials};
use hanse_web::{Body, Call, Open, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth::{SUBJECT, view as token_view};
use super::{list, resource};
use crate::Identity;
use crate::auth::{Opened, Signed};
use crate::credentials::{self as verbs, Create, Update, ec2_key};
use crate::gateway;

fn view(identity: &Identity, opened: &verbs::Opened) -> Value {
    let verbs::Opened { credential, blob } = opened;
    let own = json!({
        "id": credential.id, "user_id": credential.user_id, "project_id": credential.project_id,
        "type": credential.kind, "blob": blob.expose(),
    });
    list::object(identity, &format!("credentials/{}", credential.id), &Map::new(), own)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let new: Create = resource::inside(body, "credential")?;
    let made = verbs::create(&identity, &call.cx, &call.caller, new).await?;
    Ok((StatusCode::CREATED, Json(json!({ "credential": view(&identity, &made) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let found = verbs::show(&identity, &call.caller, &id).await?;
    Ok(Json(json!({ "credential": view(&identity, &found) })))
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let (found, more) = verbs::list(&identity, &call.caller, &params, &list::page(&params)?).await?;
    let rows = found.iter().map(|each| view(&identity, each)).collect();
    Ok(list::view(&identity, &params, "credentials", "credentials", rows, more))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<Json<Value>> {
    let change: Update = resource::inside(body, "credential")?;
    let changed = verbs::update(&identity, &call.cx, &call.caller, &id, change).await?;
    Ok(Json(json!({ "credential": view(&identity, &changed) })))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    verbs::delete(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn ec2_view(identity: &Identity, opened: &verbs::Opened) -> Result<Value> {
    let (key, own) = (ec2_key(opened)?, &opened.credential);
    let shown = json!({
        "access": key.access, "secret": key.secret.expose(), "user_id": own.user_id,
        "tenant_id": own.project_id, "trust_id": null,
    });
    let path = format!("users/{}/credentials/OS-EC2/{}", own.user_id, key.access);
    Ok(list::object(identity, &path, &Map::new(), shown))
}

#[derive(Deserialize)]
pub(crate) struct NewEc2 {
    tenant_id: String,
}

pub(crate) async fn create_ec2(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    Body(new): Body<NewEc2>,
) -> Reply<(StatusCode, Json<Value>)> {
    let made = verbs::create_ec2(&identity, &call.cx, &call.caller, &user, &new.tenant_id).await?;
    Ok((StatusCode::CREATED, Json(json!({ "credential": ec2_view(&identity, &made)? }))))
}

pub(crate) async fn list_ec2(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = verbs::list_ec2(&identity, &call.caller, &user).await?;
    let rows = found.iter().map(|each| ec2_view(&identity, each)).collect::<Result<_>>()?;
    Ok(list::view(
        &identity,
        &params,
        &format!("users/{user}/credentials/OS-EC2"),
        "credentials",
        rows,
        false,
    ))
}

pub(crate) async fn show_ec2(
    State(identity): State<Identity>,
    call: Call,
    Path((user, access)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let found = verbs::show_ec2(&identity, &call.caller, &user, &access).await?;
    Ok(Json(json!({ "credential": ec2_view(&identity, &found)? })))
}

pub(crate) async fn delete_ec2(
    State(identity): State<Identity>,
    call: Call,
    Path((user, access)): Path<(String, String)>,
) -> Reply<StatusCode> {
    verbs::delete_ec2(&identity, &call.cx, &call.caller, &user, &access).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The names that clients have for it.
fn signed<T: for<'de> Deserialize<'de>>(mut body: Map<String, Value>) -> Result<T> {
    let found = ["credentials", "credential", "ec2Credentials"].iter().find_map(|name| body.remove(*name));
    let found = found.ok_or_else(|| Error::unauthorized("EC2 Signature not supplied"))?;
    serde_json::from_value(found).map_err(|error| {
        Error::bad_request(format!("Invalid input for field/attribute credentials: {error}"))
    })
}

/// Who signed the request, and what a token of theirs would say.
async fn identify(
    identity: &Identity,
    call: &Call,
    open: &Open,
    signed: Signed,
) -> Result<(Opened, Response)> {
    let opened = identity.identify(&call.cx, &call.caller, open.peer, signed).await?;
    let opened = gateway::soon(identity, &call.cx, &call.caller, opened);
    let snapshot = identity.0.snapshots.current(&call.cx).await?;
    let answer = Json(token_view(identity, &opened, Some(snapshot.catalog()))).into_response();
    Ok((opened, answer))
}

pub(crate) async fn ec2_tokens(
    State(identity): State<Identity>,
    call: Call,
    open: Open,
    Body(body): Body<Map<String, Value>>,
) -> Reply<Response> {
    let request: Ec2Credentials = signed(body)?;
    let (opened, answer) = identify(&identity, &call, &open, Signed::Ec2(Box::new(request))).await?;
    let token = identity.seal_token(&call.cx, &opened.payload)?;
    Ok(([(SUBJECT, token)], answer).into_response())
}

/// The service serves the one request and gets no token with which it could make others.
pub(crate) async fn s3_tokens(
    State(identity): State<Identity>,
    call: Call,
    open: Open,
    Body(body): Body<Map<String, Value>>,
) -> Reply<Response> {
    let request: S3Credentials = signed(body)?;
    Ok(identify(&identity, &call, &open, Signed::S3(request)).await?.1)
}
