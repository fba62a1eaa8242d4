use axum::Json;
use axum::extract::Path;
use hanse_core::Error;
use hanse_policy::Target;
use hanse_web::Reply;
use serde_json::{Value, json};

use super::here::{Here, One};
use crate::types;
use crate::verbs::CREATE_TYPE;

fn view() -> Value {
    json!({
        "id": types::ID, "name": types::NAME, "description": types::DESCRIPTION, "is_public": true,
        "os-volume-type-access:is_public": true, "qos_specs_id": null, "extra_specs": {},
    })
}

pub(crate) async fn list(Here(call): Here) -> Reply<Json<Value>> {
    types::list(&call.caller)?;
    Ok(Json(json!({ "volume_types": [view()] })))
}

pub(crate) async fn show(Here(call): Here, Path(one): Path<One>) -> Reply<Json<Value>> {
    types::show(&call.caller, &one.id)?;
    Ok(Json(json!({ "volume_type": view() })))
}

pub(crate) async fn list_extra_specs(Here(call): Here, Path(one): Path<One>) -> Reply<Json<Value>> {
    types::show(&call.caller, &one.id)?;
    Ok(Json(json!({ "extra_specs": {} })))
}

pub(crate) async fn create(Here(call): Here) -> Reply<Json<Value>> {
    call.caller.authorize(&call.cx, CREATE_TYPE, Target::default())?;
    Err(Error::not_implemented("This cloud has one kind of storage, and so one volume type.").into())
}
