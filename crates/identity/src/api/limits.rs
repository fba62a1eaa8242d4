use axum::Json;
use axum::extract::State;
use hanse_core::{Error, Result};
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::resource;
use crate::Identity;
use crate::limits::create_many;
use crate::resource::Resource;

fn bodies<T: DeserializeOwned>(mut body: Map<String, Value>, noun: &str) -> Result<Vec<T>> {
    let inner =
        body.remove(noun).ok_or_else(|| Error::bad_request(format!("'{noun}' is a required property")))?;
    serde_json::from_value(inner)
        .map_err(|error| Error::bad_request(format!("Invalid input for field/attribute {noun}: {error}")))
}

/// Creates all that the body has, or none.
pub(crate) async fn create<R: Resource>(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let made: Vec<R> = create_many(&identity, &call.cx, &call.caller, bodies(body, R::PLURAL)?).await?;
    let rows: Vec<Value> = made.iter().map(|row| resource::view(&identity, row)).collect();
    Ok((StatusCode::CREATED, Json(json!({ R::PLURAL: rows }))))
}

/// How limits are enforced.
pub(crate) async fn model(_: Call) -> Json<Value> {
    let description = "Limit enforcement and validation does not take project hierarchy into consideration.";
    Json(json!({ "model": { "name": "flat", "description": description } }))
}
