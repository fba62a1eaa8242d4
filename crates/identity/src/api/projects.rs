use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Result};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::list;
use crate::Identity;
use crate::hierarchy;
use crate::model::Project;
use crate::projects;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of<T> {
    project: T,
}

pub(crate) fn view(identity: &Identity, project: &Project) -> Value {
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
    let is_domain = params.flag("is_domain")?.unwrap_or(false);
    Ok(projects::Filter { is_domain, params: params.clone(), ids: None })
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
    params: Params,
) -> Reply<Json<Value>> {
    let flag = |key: &str| params.flag(key).map(|flag| flag.unwrap_or(false));
    let (parents_list, parents_ids) = (flag("parents_as_list")?, flag("parents_as_ids")?);
    let (subtree_list, subtree_ids) = (flag("subtree_as_list")?, flag("subtree_as_ids")?);
    for (both, noun) in [(parents_list && parents_ids, "parents"), (subtree_list && subtree_ids, "subtree")] {
        if both {
            return Err(Error::bad_request(format!(
                "Cannot use {noun}_as_list and {noun}_as_ids query params at the same time."
            ))
            .into());
        }
    }
    let project = projects::show(&identity, &call.caller, &id).await?;
    let mut shown = view(&identity, &project);
    if parents_list || parents_ids || subtree_list || subtree_ids {
        let tree = hierarchy::around(&identity, &call.cx, &call.caller, &id).await?;
        // As in Keystone, a list has only what the caller has a role on; ids tell all.
        let wrapped = |projects: &[Project]| -> Value {
            projects.iter().map(|project| json!({ "project": view(&identity, project) })).collect()
        };
        if parents_list {
            shown["parents"] = wrapped(&tree.own_parents);
        } else if parents_ids {
            shown["parents"] = tree.parent_ids;
        }
        if subtree_list {
            shown["subtree"] = wrapped(&tree.own_subtree);
        } else if subtree_ids {
            shown["subtree"] = tree.subtree_ids;
        }
    }
    Ok(Json(json!({ "project": shown })))
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
    params: Params,
) -> Reply<StatusCode> {
    let cascade = params.flag("cascade")?.unwrap_or(false);
    projects::delete(&identity, &call.cx, &call.caller, &id, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}
