use axum::Json;
use axum::extract::State;
use hanse_web::Call;
use serde_json::{Value, json};

use crate::{Deps, VERSIONS};

fn version(deps: &Deps) -> Value {
    json!({
        "id": "v2.1",
        "status": "CURRENT",
        "version": VERSIONS.max.to_string(),
        "min_version": VERSIONS.min.to_string(),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": format!("{}/compute/v2.1/", deps.public_url)}],
    })
}

/// Nova answers 200 here, not 300.
pub async fn list(State(deps): State<Deps>) -> Json<Value> {
    Json(json!({"versions": [version(&deps)]}))
}

pub async fn show(State(deps): State<Deps>) -> Json<Value> {
    let mut version = version(&deps);
    version["media-types"] =
        json!([{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]);
    Json(json!({ "version": version }))
}

/// The microversions say what there is; the list that they replaced is empty.
pub async fn extensions(_: Call) -> Json<Value> {
    Json(json!({"extensions": []}))
}
