use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use crate::Deps;

/// Newest first. 2.4 is the highest whose whole surface is here: 2.5 brought shared and community images.
const VERSIONS: &[&str] = &["v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];

/// `GET /image` answers 300: choose one.
pub async fn choices(State(deps): State<Deps>) -> (StatusCode, Json<Value>) {
    (StatusCode::MULTIPLE_CHOICES, Json(document(&deps)))
}

pub async fn list(State(deps): State<Deps>) -> Json<Value> {
    Json(document(&deps))
}

fn document(deps: &Deps) -> Value {
    let href = format!("{}/image/v2/", deps.public_url);
    let versions: Vec<Value> = VERSIONS
        .iter()
        .map(|id| {
            let status = if *id == VERSIONS[0] { "CURRENT" } else { "SUPPORTED" };
            json!({"id": id, "status": status, "links": [{"rel": "self", "href": href}]})
        })
        .collect();
    json!({ "versions": versions })
}
