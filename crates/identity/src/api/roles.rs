use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::list;
use crate::Identity;
use crate::model::Role;
use crate::roles;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of<T> {
    role: T,
}

pub(crate) fn view(identity: &Identity, role: &Role) -> Value {
    let domain_id = if role.domain_id.is_empty() { Value::Null } else { json!(role.domain_id) };
    let own = json!({
        "id": role.id, "name": role.name, "domain_id": domain_id, "description": role.description,
        "options": role.options,
    });
    list::object(identity, &format!("roles/{}", role.id), &role.extra, own)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Of<roles::Create>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let role = roles::create(&identity, &call.cx, &call.caller, body.role).await?;
    Ok((StatusCode::CREATED, Json(json!({ "role": view(&identity, &role) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let role = roles::show(&identity, &call.caller, &id).await?;
    Ok(Json(json!({ "role": view(&identity, &role) })))
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let filter = roles::Filter {
        name: params.get("name").map(str::to_owned),
        domain_id: params.get("domain_id").map(str::to_owned),
        ids: None,
    };
    let (roles, more) = roles::list(&identity, &call.caller, &filter, &list::page(&params)?).await?;
    let rows = roles.iter().map(|role| view(&identity, role)).collect();
    Ok(list::view(&identity, &params, "roles", "roles", rows, more))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Of<roles::Update>>,
) -> Reply<Json<Value>> {
    let role = roles::update(&identity, &call.cx, &call.caller, &id, body.role).await?;
    Ok(Json(json!({ "role": view(&identity, &role) })))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    roles::delete(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
