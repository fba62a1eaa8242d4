use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::Audit;

fn version(audit: &Audit) -> Value {
    let href = format!("{}/audit/v1/", audit.public_url);
    json!({ "id": "v1.0", "status": "CURRENT", "links": [{ "rel": "self", "href": href }] })
}

pub(crate) async fn list(State(audit): State<Audit>) -> Json<Value> {
    Json(json!({ "versions": [version(&audit)] }))
}

pub(crate) async fn show(State(audit): State<Audit>) -> Json<Value> {
    Json(json!({ "version": version(&audit) }))
}
