use std::collections::BTreeMap;

use axum::Json;
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Id, State};
use crate::error::invalid;
use crate::quotas::{self as verbs, Limits, Resource};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    quota: BTreeMap<String, Value>,
}

fn view(limits: &Limits) -> Json<Value> {
    Json(json!({ "quota": limits }))
}

pub async fn list(state: State, call: Call) -> Reply<Json<Value>> {
    let all = verbs::list(&state, &call.caller).await?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|(project, limits)| {
            let mut quota = json!(limits);
            if let Some(quota) = quota.as_object_mut() {
                quota.insert("project_id".to_owned(), json!(project));
                quota.insert("tenant_id".to_owned(), json!(project));
            }
            quota
        })
        .collect();
    Ok(Json(json!({ "quotas": all })))
}

pub async fn show(state: State, call: Call, id: Id) -> Reply<Json<Value>> {
    Ok(view(&verbs::show(&state, &call.cx, &call.caller, &id).await?))
}

pub async fn show_default(state: State, call: Call, id: Id) -> Reply<Json<Value>> {
    Ok(view(&verbs::show_default(&state, &call.cx, &call.caller, &id).await?))
}

pub async fn show_usage(state: State, call: Call, id: Id) -> Reply<Json<Value>> {
    let usage = verbs::show_usage(&state, &call.cx, &call.caller, &id).await?;
    Ok(Json(json!({ "quota": usage })))
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let mut wanted = Vec::new();
    for (name, value) in &body.quota {
        let resource = Resource::ALL.into_iter().find(|resource| resource.name() == name);
        match (resource, value.as_i64()) {
            (Some(resource), Some(value)) => wanted.push((resource, value)),
            (Some(_), None) => {
                return Err(invalid(format!("Invalid input for {name}: an integer is needed.")).into());
            }
            // Clients say by these how limits below the use are to be taken; here they are always taken.
            (None, _) if ["force", "check_limit", "project_id", "tenant_id"].contains(&name.as_str()) => {}
            (None, _) => {
                let name: String = name.chars().take(64).collect();
                return Err(invalid(format!("Unrecognized attribute(s) '{name}'")).into());
            }
        }
    }
    Ok(view(&verbs::update(&state, &call.cx, &call.caller, &id, &wanted).await?))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
