//! What projects see of the catalog, and which policy is for what of it.

use axum::Json;
use axum::extract::{Path, State};
use hanse_core::Result;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{list, projects, resource};
use crate::Identity;
use crate::catalog::{self, Endpoint, EndpointGroup, Given, Region};
use crate::policies::{self, For, Policy};
use crate::resource::{self as verbs, Resource};

/// Creates a region under the id in the path.
pub(crate) async fn put_region(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let body: <Region as Resource>::Create = resource::inside(body, Region::NOUN)?;
    let region: Region = verbs::create(&identity, &call.cx, &call.caller, body.under(&id)?).await?;
    Ok((StatusCode::CREATED, Json(json!({ "region": resource::view(&identity, &region) }))))
}

fn rows<R: Resource>(
    identity: &Identity,
    params: &Params,
    path: &str,
    noun: &str,
    found: &[R],
) -> Json<Value> {
    let rows = found.iter().map(|row| resource::view(identity, row)).collect();
    list::view(identity, params, path, noun, rows, false)
}

pub(crate) async fn check_given<G: Given>(
    State(identity): State<Identity>,
    call: Call,
    Path((project, id)): Path<(String, String)>,
) -> Reply<StatusCode> {
    catalog::check::<G>(&identity, &call.caller, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn give<G: Given>(
    State(identity): State<Identity>,
    call: Call,
    Path((project, id)): Path<(String, String)>,
) -> Reply<StatusCode> {
    catalog::add::<G>(&identity, &call.cx, &call.caller, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn take<G: Given>(
    State(identity): State<Identity>,
    call: Call,
    Path((project, id)): Path<(String, String)>,
) -> Reply<StatusCode> {
    catalog::remove::<G>(&identity, &call.cx, &call.caller, &project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

type Pair = Path<(String, String)>;

/// The paths of groups have the group before the project.
pub(crate) async fn show_group_given(
    State(identity): State<Identity>,
    call: Call,
    Path((group, project)): Pair,
) -> Reply<Json<Value>> {
    catalog::check::<EndpointGroup>(&identity, &call.caller, &project, &group).await?;
    let own = json!({ "endpoint_group_id": group, "project_id": project });
    let path = format!("OS-EP-FILTER/endpoint_groups/{group}/projects/{project}");
    Ok(Json(json!({ "project_endpoint_group": list::object(&identity, &path, &Map::new(), own) })))
}

pub(crate) async fn give_group(
    State(identity): State<Identity>,
    call: Call,
    Path((group, project)): Pair,
) -> Reply<StatusCode> {
    catalog::add::<EndpointGroup>(&identity, &call.cx, &call.caller, &project, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn take_group(
    State(identity): State<Identity>,
    call: Call,
    Path((group, project)): Pair,
) -> Reply<StatusCode> {
    catalog::remove::<EndpointGroup>(&identity, &call.cx, &call.caller, &project, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn endpoints_of_project(
    State(identity): State<Identity>,
    call: Call,
    Path(project): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = catalog::endpoints_of_project(&identity, &call.cx, &call.caller, &project).await?;
    let path = format!("OS-EP-FILTER/projects/{project}/endpoints");
    Ok(rows(&identity, &params, &path, "endpoints", &found))
}

pub(crate) async fn groups_of_project(
    State(identity): State<Identity>,
    call: Call,
    Path(project): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = catalog::list::<EndpointGroup>(&identity, &call.caller, &project).await?;
    let path = format!("OS-EP-FILTER/projects/{project}/endpoint_groups");
    Ok(rows(&identity, &params, &path, "endpoint_groups", &found))
}

pub(crate) async fn endpoints_of_group(
    State(identity): State<Identity>,
    call: Call,
    Path(group): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = catalog::endpoints_of_group(&identity, &call.cx, &call.caller, &group).await?;
    let path = format!("OS-EP-FILTER/endpoint_groups/{group}/endpoints");
    Ok(rows(&identity, &params, &path, "endpoints", &found))
}

pub(crate) async fn projects_of<G: Given>(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = catalog::projects_of::<G>(&identity, &call.caller, &id).await?;
    let shown = found.iter().map(|project| projects::view(&identity, project)).collect();
    let path = format!("OS-EP-FILTER/{}s/{id}/projects", G::NOUN);
    Ok(list::view(&identity, &params, &path, "projects", shown, false))
}

/// What a path names that a policy is for.
fn what(parts: &[(String, String)]) -> Result<(String, For)> {
    let get = |key: &str| parts.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let lost = || hanse_core::Error::internal("a path without what the policy is for");
    let policy = get("policy").ok_or_else(lost)?;
    let what = match (get("endpoint"), get("service"), get("region")) {
        (Some(endpoint), ..) => For::Endpoint(endpoint),
        (None, Some(service), Some(region)) => For::ServiceInRegion(service, region),
        (None, Some(service), None) => For::Service(service),
        (None, None, _) => return Err(lost()),
    };
    Ok((policy, what))
}

pub(crate) async fn check_policy(
    State(identity): State<Identity>,
    call: Call,
    Path(parts): Path<Vec<(String, String)>>,
) -> Reply<StatusCode> {
    let (policy, what) = what(&parts)?;
    policies::check(&identity, &call.caller, &policy, &what).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn associate(
    State(identity): State<Identity>,
    call: Call,
    Path(parts): Path<Vec<(String, String)>>,
) -> Reply<StatusCode> {
    let (policy, what) = what(&parts)?;
    policies::associate(&identity, &call.cx, &call.caller, &policy, &what).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn dissociate(
    State(identity): State<Identity>,
    call: Call,
    Path(parts): Path<Vec<(String, String)>>,
) -> Reply<StatusCode> {
    let (policy, what) = what(&parts)?;
    policies::dissociate(&identity, &call.cx, &call.caller, &policy, &what).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn endpoints_of_policy(
    State(identity): State<Identity>,
    call: Call,
    Path(policy): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found: Vec<Endpoint> = policies::endpoints_of(&identity, &call.cx, &call.caller, &policy).await?;
    let path = format!("policies/{policy}/OS-ENDPOINT-POLICY/endpoints");
    Ok(rows(&identity, &params, &path, "endpoints", &found))
}

pub(crate) async fn policy_of_endpoint(
    State(identity): State<Identity>,
    call: Call,
    Path(endpoint): Path<String>,
) -> Reply<Json<Value>> {
    let policy: Policy = policies::of_endpoint(&identity, &call.cx, &call.caller, &endpoint).await?;
    Ok(Json(json!({ "policy": resource::view(&identity, &policy) })))
}
