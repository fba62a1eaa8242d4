use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::list;
use crate::Identity;
use crate::model::Project;
use crate::projects;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of<T> {
    domain: T,
}

fn view(identity: &Identity, domain: &Project) -> Value {
    let own = json!({
        "id": domain.id, "name": domain.name, "description": domain.description, "enabled": domain.enabled,
        "tags": domain.tags, "options": domain.options,
    });
    list::object(identity, &format!("domains/{}", domain.id), &domain.extra, own)
}

fn list_view(identity: &Identity, params: &Params, path: &str, found: (Vec<Project>, bool)) -> Json<Value> {
    let rows = found.0.iter().map(|domain| view(identity, domain)).collect();
    list::view(identity, params, path, "domains", rows, found.1)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Of<projects::Create>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let domain = projects::create_domain(&identity, &call.cx, &call.caller, body.domain).await?;
    Ok((StatusCode::CREATED, Json(json!({ "domain": view(&identity, &domain) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let domain = projects::show_domain(&identity, &call.caller, &id).await?;
    Ok(Json(json!({ "domain": view(&identity, &domain) })))
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let filter = projects::Filter { is_domain: true, params: params.clone(), ids: None };
    let found = projects::list(&identity, &call.caller, &filter, &list::page(&params)?).await?;
    Ok(list_view(&identity, &params, "domains", found))
}

pub(crate) async fn list_own(
    State(identity): State<Identity>,
    call: Call,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let found = projects::list_own(&identity, &call.cx, &call.caller, true, &page).await?;
    Ok(list_view(&identity, &params, "auth/domains", found))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Of<projects::Update>>,
) -> Reply<Json<Value>> {
    let domain = projects::update_domain(&identity, &call.cx, &call.caller, &id, body.domain).await?;
    Ok(Json(json!({ "domain": view(&identity, &domain) })))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    projects::delete_domain(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
