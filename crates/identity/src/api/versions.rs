use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::Identity;

fn version(identity: &Identity) -> Value {
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{ "rel": "self", "href": identity.0.catalog.link("") }],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    })
}

pub(crate) async fn list(State(identity): State<Identity>) -> impl IntoResponse {
    let body = json!({ "versions": { "values": [version(&identity)] } });
    let location = [(header::LOCATION, identity.0.catalog.link(""))];
    (StatusCode::MULTIPLE_CHOICES, location, Json(body))
}

pub(crate) async fn show(State(identity): State<Identity>) -> Json<Value> {
    Json(json!({ "version": version(&identity) }))
}
