//! Regions, services and endpoints: to be read only.

use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Call, Params, Reply};
use serde_json::{Value, json};

use super::list;
use crate::Identity;
use crate::catalog::Part;

fn list(identity: &Identity, call: &Call, params: &Params, part: Part) -> Reply<Json<Value>> {
    let mut rows = identity.0.catalog.list(&call.caller, part)?;
    for &key in part.filters() {
        if let Some(wanted) = params.get(key) {
            rows.retain(|row| row[key] == wanted);
        }
    }
    let noun = format!("{}s", part.noun());
    Ok(list::view(identity, params, &noun, &noun, rows, false))
}

fn show(identity: &Identity, call: &Call, part: Part, id: &str) -> Reply<Json<Value>> {
    Ok(Json(json!({ part.noun(): identity.0.catalog.show(&call.caller, part, id)? })))
}

macro_rules! handlers {
    ($($list:ident, $show:ident => $part:ident;)*) => {$(
        pub(crate) async fn $list(
            State(identity): State<Identity>,
            call: Call,
            params: Params,
        ) -> Reply<Json<Value>> {
            list(&identity, &call, &params, Part::$part)
        }

        pub(crate) async fn $show(
            State(identity): State<Identity>,
            call: Call,
            Path(id): Path<String>,
        ) -> Reply<Json<Value>> {
            show(&identity, &call, Part::$part, &id)
        }
    )*};
}

handlers! {
    list_regions, show_region => Region;
    list_services, show_service => Service;
    list_endpoints, show_endpoint => Endpoint;
}
