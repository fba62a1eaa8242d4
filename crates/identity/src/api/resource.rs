//! The five handlers of a [`Resource`].

use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Result};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::list;
use crate::Identity;
use crate::resource::{self, Resource};

/// What stands under `noun`, which is all that the body has.
pub(crate) fn inside<T: DeserializeOwned>(mut body: Map<String, Value>, noun: &str) -> Result<T> {
    let inner =
        body.remove(noun).ok_or_else(|| Error::bad_request(format!("'{noun}' is a required property")))?;
    if let Some(other) = body.keys().next() {
        return Err(Error::bad_request(format!("Additional properties are not allowed ('{other}')")));
    }
    serde_json::from_value(inner)
        .map_err(|error| Error::bad_request(format!("Invalid input for field/attribute {noun}: {error}")))
}

pub(crate) fn view<R: Resource>(identity: &Identity, row: &R) -> Value {
    let none = Map::new();
    let path = format!("{}/{}", R::PLURAL, row.id());
    list::object(identity, &path, row.extra().unwrap_or(&none), row.view())
}

pub(crate) async fn create<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let row: R = resource::create(&identity, &call.cx, &call.caller, inside(body, R::NOUN)?).await?;
    Ok((StatusCode::CREATED, Json(json!({ R::NOUN: view(&identity, &row) }))))
}

pub(crate) async fn show<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let row: R = resource::show(&identity, &call.caller, &id).await?;
    Ok(Json(json!({ R::NOUN: view(&identity, &row) })))
}

pub(crate) async fn list<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    params: Params,
) -> Reply<Json<Value>> {
    let (found, more) = resource::list::<R>(&identity, &call.caller, &params, &list::page(&params)?).await?;
    let rows = found.iter().map(|row| view(&identity, row)).collect();
    let noun = R::PLURAL.rsplit('/').next().unwrap_or(R::PLURAL);
    Ok(list::view(&identity, &params, R::PLURAL, noun, rows, more))
}

pub(crate) async fn update<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<Json<Value>> {
    let asked = body.get(R::NOUN).and_then(|inner| inner.get("id"));
    if asked.is_some_and(|asked| !asked.is_null() && *asked != id) {
        return Err(Error::bad_request(format!("Cannot change the ID of a {}.", R::NOUN)).into());
    }
    let change = inside(body, R::NOUN)?;
    let row: R = resource::update(&identity, &call.cx, &call.caller, &id, change).await?;
    Ok(Json(json!({ R::NOUN: view(&identity, &row) })))
}

pub(crate) async fn delete<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    resource::delete::<R>(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
