//! Routes and wire types. A handler parses, calls a verb, and shapes the answer.

mod bodies;
mod discovery;
mod floating_ips;
mod networks;
mod ports;
mod quotas;
mod routers;
mod security_groups;
mod subnets;

use axum::routing::{get, put};
use axum::{Json, Router};
use hanse_web::{Params, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use crate::Network;
use crate::listing::{self, Found};

type State = axum::extract::State<Network>;
type Id = axum::extract::Path<String>;

pub fn routes(network: &Network) -> Router {
    let v2 = Router::new()
        .route("/", get(discovery::resources))
        .route("/extensions", get(discovery::list_extensions))
        .route("/extensions/{alias}", get(discovery::show_extension))
        .route("/agents", get(discovery::list_agents))
        .route("/availability_zones", get(discovery::list_availability_zones))
        .route("/networks", get(networks::list).post(networks::create))
        .route("/networks/{id}", get(networks::show).put(networks::update).delete(networks::delete))
        .route("/subnets", get(subnets::list).post(subnets::create))
        .route("/subnets/{id}", get(subnets::show).put(subnets::update).delete(subnets::delete))
        .route("/ports", get(ports::list).post(ports::create))
        .route("/ports/{id}", get(ports::show).put(ports::update).delete(ports::delete))
        .route("/routers", get(routers::list).post(routers::create))
        .route("/routers/{id}", get(routers::show).put(routers::update).delete(routers::delete))
        .route("/routers/{id}/add_router_interface", put(routers::add_interface))
        .route("/routers/{id}/remove_router_interface", put(routers::remove_interface))
        .route("/floatingips", get(floating_ips::list).post(floating_ips::create))
        .route(
            "/floatingips/{id}",
            get(floating_ips::show).put(floating_ips::update).delete(floating_ips::delete),
        )
        .route("/security-groups", get(security_groups::list).post(security_groups::create))
        .route(
            "/security-groups/{id}",
            get(security_groups::show).put(security_groups::update).delete(security_groups::delete),
        )
        .route("/security-group-rules", get(security_groups::list_rules).post(security_groups::create_rules))
        .route(
            "/security-group-rules/{id}",
            get(security_groups::show_rule).delete(security_groups::delete_rule),
        )
        .route("/quotas", get(quotas::list))
        .route("/quotas/{project}", get(quotas::show).put(quotas::update).delete(quotas::delete))
        .route("/quotas/{project}/default", get(quotas::show_default))
        .route("/quotas/{project}/details", get(quotas::show_usage))
        .route("/quotas/{project}/details.json", get(quotas::show_usage));
    Router::new().route("/", get(discovery::versions)).nest("/v2.0", v2).with_state(network.clone())
}

/// The address of the API, for links.
fn base(network: &Network) -> String {
    format!("{}/network/v2.0", network.config.public_url)
}

/// `{"network": {…}}`, with the fields that were asked for.
fn one(name: &str, object: Value, params: &Params) -> Json<Value> {
    Json(json!({ name: listing::select(object, params) }))
}

fn many<T>(
    network: &Network,
    collection: &str,
    params: &Params,
    found: &Found<T>,
    view: impl Fn(&T) -> Value,
    id: impl Fn(&T) -> String,
) -> Json<Value> {
    Json(listing::body(&base(network), collection, params, found, view, id))
}

/// 201 with what was made: one object, or a list if a list was sent.
fn made(name: &str, mut all: Vec<Value>, bulk: bool) -> Reply<(StatusCode, Json<Value>)> {
    let body = match all.pop() {
        Some(only) if !bulk => json!({ name: only }),
        last => {
            all.extend(last);
            json!({ format!("{name}s"): all })
        }
    };
    Ok((StatusCode::CREATED, Json(body)))
}
