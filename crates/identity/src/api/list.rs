//! Lists as Keystone writes them.

use axum::Json;
use hanse_core::{Direction, Page, Result};
use hanse_web::Params;
use serde_json::{Value, json};

use crate::Identity;

pub(crate) fn page(params: &Params) -> Result<Page> {
    params.page(Direction::Ascending)
}

/// `path` is that of the list below `/v3/`. There is a `next` link if `more` rows follow.
pub(crate) fn view(
    identity: &Identity,
    params: &Params,
    path: &str,
    noun: &str,
    rows: Vec<Value>,
    more: bool,
) -> Json<Value> {
    let marker = match rows.last().map(|last| &last["id"]) {
        Some(Value::String(id)) if more => Some(id.clone()),
        _ => None,
    };
    after(identity, params, path, noun, rows, marker.as_deref())
}

/// The same for rows without an id; `marker` names the last one if more follow.
pub(crate) fn after(
    identity: &Identity,
    params: &Params,
    path: &str,
    noun: &str,
    rows: Vec<Value>,
    marker: Option<&str>,
) -> Json<Value> {
    let link = identity.0.catalog.link(path);
    let next = marker.map(|marker| format!("{link}?{}", params.with_marker(marker)));
    let own = if params.query().is_empty() { link } else { format!("{link}?{}", params.query()) };
    let mut list = json!({ noun: rows, "links": { "next": next, "self": own, "previous": null } });
    if marker.is_some() {
        list["truncated"] = json!(true);
    }
    Json(list)
}

/// An object with its address, over whatever else the client attached to it.
pub(crate) fn object(identity: &Identity, path: &str, extra: &crate::model::Attributes, own: Value) -> Value {
    let mut object = extra.clone();
    if let Value::Object(own) = own {
        object.extend(own);
    }
    object.insert("links".to_owned(), json!({ "self": identity.0.catalog.link(path) }));
    Value::Object(object)
}
