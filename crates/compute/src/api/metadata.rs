use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Kind, Result};
use hanse_policy::Verb;
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parse_id;
use crate::Deps;
use crate::model::Server;
use crate::servers;
use crate::verbs;

type Metadata = BTreeMap<String, String>;

/// Nova's rules for keys and values, and the quota.
pub fn check(deps: &Deps, metadata: &Metadata) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | ' ');
    for (key, value) in metadata {
        if key.is_empty() || key.len() > 255 || !key.chars().all(fits) {
            return Err(Error::bad_request(
                "Invalid input for field/attribute metadata: a key has 1 to 255 letters, digits, spaces or any of -_:.",
            ));
        }
        if value.chars().count() > 255 {
            return Err(Error::bad_request(format!(
                "Invalid input for field/attribute {key}: a value has at most 255 characters"
            )));
        }
    }
    let limit = deps.config.metadata_items;
    if metadata.len() > limit as usize {
        return Err(Error::over_quota(format!("Maximum number of metadata items exceeds {limit}")));
    }
    Ok(())
}

async fn change<C>(deps: &Deps, call: &Call, id: &str, verb: Verb, change: C) -> Result<Metadata>
where
    C: Fn(&mut Metadata) -> Result<()> + Send + Sync,
{
    let apply = |server: &mut Server| {
        change(&mut server.metadata)?;
        check(deps, &server.metadata)
    };
    let server = servers::update(deps, &call.cx, &call.caller, verb, parse_id(id)?, apply).await?;
    Ok(server.metadata)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct All {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    meta: Metadata,
}

pub async fn list(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let server = servers::show(&deps, &call.caller, verbs::METADATA_SHOW, parse_id(&id)?).await?;
    Ok(Json(json!({"metadata": server.metadata})))
}

pub async fn merge(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<All>,
) -> Reply<Json<Value>> {
    let merge = |metadata: &mut Metadata| {
        metadata.extend(body.metadata.clone());
        Ok(())
    };
    let all = change(&deps, &call, &id, verbs::METADATA_UPDATE, merge).await?;
    Ok(Json(json!({ "metadata": all })))
}

pub async fn replace(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<All>,
) -> Reply<Json<Value>> {
    let replace = |metadata: &mut Metadata| {
        metadata.clone_from(&body.metadata);
        Ok(())
    };
    let all = change(&deps, &call, &id, verbs::METADATA_UPDATE, replace).await?;
    Ok(Json(json!({ "metadata": all })))
}

fn missing() -> Error {
    Error::new(Kind::NotFound, "Metadata item was not found")
}

pub async fn show(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let server = servers::show(&deps, &call.caller, verbs::METADATA_SHOW, parse_id(&id)?).await?;
    let value = server.metadata.get(&key).ok_or_else(missing)?;
    Ok(Json(json!({"meta": {key: value}})))
}

pub async fn set(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
    Body(body): Body<One>,
) -> Reply<Json<Value>> {
    if body.meta.len() != 1 || !body.meta.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch").into());
    }
    let set = |metadata: &mut Metadata| {
        metadata.extend(body.meta.clone());
        Ok(())
    };
    change(&deps, &call, &id, verbs::METADATA_UPDATE, set).await?;
    Ok(Json(json!({"meta": body.meta})))
}

pub async fn delete(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
) -> Reply<StatusCode> {
    let remove = |metadata: &mut Metadata| metadata.remove(&key).map(drop).ok_or_else(missing);
    change(&deps, &call, &id, verbs::METADATA_DELETE, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}
