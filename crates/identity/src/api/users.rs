use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Secret, Timestamp};
use hanse_web::{Body, Call, Open, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::list;
use crate::Identity;
use crate::model::User;
use crate::users;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of<T> {
    user: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    password: Secret<String>,
    original_password: Secret<String>,
}

pub(crate) fn view(identity: &Identity, user: &User) -> Value {
    let mut own = json!({
        "id": user.id, "name": user.name, "domain_id": user.domain_id, "enabled": user.enabled,
        "password_expires_at": user.password_expires_at.map(Timestamp::iso_naive), "options": user.options,
    });
    // Keystone leaves it out rather than null.
    if let Some(project) = &user.default_project_id {
        own["default_project_id"] = json!(project);
    }
    list::object(identity, &format!("users/{}", user.id), &user.extra, own)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Of<users::Create>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let user = users::create(&identity, &call.cx, &call.caller, body.user).await?;
    Ok((StatusCode::CREATED, Json(json!({ "user": view(&identity, &user) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let user = users::show(&identity, &call.cx, &call.caller, &id).await?;
    Ok(Json(json!({ "user": view(&identity, &user) })))
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let (users, more) =
        users::list(&identity, &call.cx, &call.caller, &params, &list::page(&params)?).await?;
    let rows = users.iter().map(|user| view(&identity, user)).collect();
    Ok(list::view(&identity, &params, "users", "users", rows, more))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Of<users::Update>>,
) -> Reply<Json<Value>> {
    let user = users::update(&identity, &call.cx, &call.caller, &id, body.user).await?;
    Ok(Json(json!({ "user": view(&identity, &user) })))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    users::delete(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn revoke_tokens(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    users::revoke_tokens(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn change_password(
    State(identity): State<Identity>,
    open: Open,
    Path(id): Path<String>,
    Body(body): Body<Of<Password>>,
) -> Reply<StatusCode> {
    let Password { password, original_password } = body.user;
    hanse_core::check_text("id", &id, 64)?;
    users::change_password(&identity, &open.cx, open.peer, &id, original_password, password).await?;
    Ok(StatusCode::NO_CONTENT)
}
