//! What roles imply.

use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Call, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use crate::Identity;
use crate::model::Role;
use crate::roles::{self, Inference};

fn brief(identity: &Identity, role: &Role) -> Value {
    let link = identity.0.catalog.link(&format!("roles/{}", role.id));
    json!({ "id": role.id, "name": role.name, "links": { "self": link } })
}

fn rule(identity: &Identity, inference: &Inference) -> Value {
    let implies: Vec<Value> = inference.implies.iter().map(|role| brief(identity, role)).collect();
    json!({ "prior_role": brief(identity, &inference.prior), "implies": implies })
}

pub(crate) async fn list_inferences(State(identity): State<Identity>, call: Call) -> Reply<Json<Value>> {
    let found = roles::list_inferences(&identity, &call.caller, None).await?;
    let rules: Vec<Value> = found.iter().map(|inference| rule(&identity, inference)).collect();
    Ok(Json(json!({ "role_inferences": rules })))
}

pub(crate) async fn list_implied(
    State(identity): State<Identity>,
    call: Call,
    Path(prior): Path<String>,
) -> Reply<Json<Value>> {
    let found = roles::list_inferences(&identity, &call.caller, Some(&prior)).await?;
    let rule = found.first().map(|inference| rule(&identity, inference));
    let link = identity.0.catalog.link(&format!("roles/{prior}/implies"));
    Ok(Json(json!({ "role_inference": rule, "links": { "self": link } })))
}

async fn one(identity: &Identity, call: &Call, prior: &str, implied: &str) -> Reply<Json<Value>> {
    let (above, below) = roles::show_inference(identity, &call.caller, prior, implied).await?;
    let rule = json!({ "prior_role": brief(identity, &above), "implies": brief(identity, &below) });
    let link = identity.0.catalog.link(&format!("roles/{prior}/implies/{implied}"));
    Ok(Json(json!({ "role_inference": rule, "links": { "self": link } })))
}

pub(crate) async fn show_implied(
    State(identity): State<Identity>,
    call: Call,
    Path((prior, implied)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    one(&identity, &call, &prior, &implied).await
}

/// 204, where HTTP would have the status of GET: so Keystone answers.
pub(crate) async fn check_implied(
    State(identity): State<Identity>,
    call: Call,
    Path((prior, implied)): Path<(String, String)>,
) -> Reply<StatusCode> {
    roles::show_inference(&identity, &call.caller, &prior, &implied).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn imply(
    State(identity): State<Identity>,
    call: Call,
    Path((prior, implied)): Path<(String, String)>,
) -> Reply<(StatusCode, Json<Value>)> {
    roles::imply(&identity, &call.cx, &call.caller, &prior, &implied).await?;
    Ok((StatusCode::CREATED, one(&identity, &call, &prior, &implied).await?))
}

pub(crate) async fn imply_no_more(
    State(identity): State<Identity>,
    call: Call,
    Path((prior, implied)): Path<(String, String)>,
) -> Reply<StatusCode> {
    roles::imply_no_more(&identity, &call.cx, &call.caller, &prior, &implied).await?;
    Ok(StatusCode::NO_CONTENT)
}
