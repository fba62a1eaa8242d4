use axum::Json;
use axum::extract::{Path, State};
use hanse_core::Result;
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
    project: T,
}

fn view(identity: &Identity, project: &Project) -> Value {
    // A domain that is looked at as a project has neither.
    let above = |id: &str| if id.is_empty() { Value::Null } else { json!(id) };
    let own = json!({
        "id": project.id, "name": project.name, "domain_id": above(&project.domain_id),
        "parent_id": above(&project.parent_id), "is_domain": project.is_domain,
        "description": project.description, "enabled": project.enabled, "tags": project.tags,
        "options": project.options,
    });
    list::object(identity, &format!("projects/{}", project.id), &project.extra, own)
}

fn filter(params: &Params) -> Result<projects::Filter> {
    Ok(projects::Filter {
        is_domain: params.flag("is_domain")?.unwrap_or(false),
        domain_id: params.get("domain_id").map(str::to_owned),
        parent_id: params.get("parent_id").map(str::to_owned),
        name: params.get("name").map(str::to_owned),
        enabled: params.flag("enabled")?,
        ids: None,
    })
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Of<projects::Create>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let project = projects::create(&identity, &call.cx, &call.caller, body.project).await?;
    Ok((StatusCode::CREATED, Json(json!({ "project": view(&identity, &project) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let project = projects::show(&identity, &call.caller, &id).await?;
    Ok(Json(json!({ "project": view(&identity, &project) })))
}

fn list_view(identity: &Identity, params: &Params, path: &str, found: (Vec<Project>, bool)) -> Json<Value> {
    let rows = found.0.iter().map(|project| view(identity, project)).collect();
    list::view(identity, params, path, "projects", rows, found.1)
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let found = projects::list(&identity, &call.caller, &filter(&params)?, &page).await?;
    Ok(list_view(&identity, &params, "projects", found))
}

pub(crate) async fn list_of_user(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let (filter, page) = (filter(&params)?, list::page(&params)?);
    let found = projects::list_of_user(&identity, &call.cx, &call.caller, &user, filter, &page).await?;
    Ok(list_view(&identity, &params, &format!("users/{user}/projects"), found))
}

pub(crate) async fn list_own(
    State(identity): State<Identity>,
    call: Call,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let found = projects::list_own(&identity, &call.cx, &call.caller, false, &page).await?;
    Ok(list_view(&identity, &params, "auth/projects", found))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Of<projects::Update>>,
) -> Reply<Json<Value>> {
    let project = projects::update(&identity, &call.cx, &call.caller, &id, body.project).await?;
    Ok(Json(json!({ "project": view(&identity, &project) })))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    projects::delete(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
