//! The routes of the Compute API.

mod actions;
mod attachments;
mod create;
mod filters;
mod flavors;
mod keypairs;
mod limits;
mod metadata;
mod nodes;
mod servers;
mod versions;
mod view;

use axum::Router;
use axum::routing::{get, post};
use hanse_core::{Result, Uuid};
use serde_json::{Value, json};

use crate::Deps;
use crate::servers::not_found;

pub(crate) fn routes(deps: Deps) -> Router {
    let v21 = Router::new()
        .route("/limits", get(limits::show))
        .route("/extensions", get(versions::extensions))
        .route("/flavors", get(flavors::list).post(flavors::create))
        .route("/flavors/detail", get(flavors::detail))
        .route("/flavors/{id}", get(flavors::show).delete(flavors::delete))
        .route("/flavors/{id}/os-extra_specs", get(flavors::specs).post(flavors::set_specs))
        .route(
            "/flavors/{id}/os-extra_specs/{key}",
            get(flavors::spec).put(flavors::set_spec).delete(flavors::remove_spec),
        )
        .route("/os-keypairs", get(keypairs::list).post(keypairs::create))
        .route("/os-keypairs/{name}", get(keypairs::show).delete(keypairs::delete))
        .route("/os-availability-zone", get(nodes::zones))
        .route("/os-availability-zone/detail", get(nodes::zones_detail))
        .route("/os-hypervisors", get(nodes::hypervisors))
        .route("/os-hypervisors/detail", get(nodes::hypervisors_detail))
        .route("/os-hypervisors/statistics", get(nodes::statistics))
        .route("/os-hypervisors/{id}", get(nodes::hypervisor))
        .route("/os-services", get(nodes::services))
        .route("/os-quota-sets/{project}", get(limits::quota))
        .route("/os-quota-sets/{project}/defaults", get(limits::default_quota))
        .route("/os-quota-sets/{project}/detail", get(limits::quota_detail))
        .route("/servers", get(servers::list).post(create::create))
        .route("/servers/detail", get(servers::detail))
        .route("/servers/{id}", get(servers::show).put(servers::update).delete(servers::delete))
        .route("/servers/{id}/action", post(actions::act))
        .route("/servers/{id}/ips", get(servers::addresses))
        .route("/servers/{id}/ips/{network}", get(servers::addresses_of_network))
        .route("/servers/{id}/metadata", get(metadata::list).post(metadata::merge).put(metadata::replace))
        .route(
            "/servers/{id}/metadata/{key}",
            get(metadata::show).put(metadata::set).delete(metadata::delete),
        )
        .route("/servers/{id}/os-interface", get(servers::interfaces))
        .route("/servers/{id}/os-interface/{port}", get(servers::interface))
        .route("/servers/{id}/os-security-groups", get(servers::security_groups))
        .route("/servers/{id}/os-volume_attachments", get(attachments::list).post(attachments::create))
        .route(
            "/servers/{id}/os-volume_attachments/{volume}",
            get(attachments::show).delete(attachments::delete),
        )
        .route("/servers/{id}/os-instance-actions", get(servers::events))
        .route("/servers/{id}/os-instance-actions/{request}", get(servers::event));
    Router::new()
        .route("/", get(versions::list))
        .route("/v2.1", get(versions::show))
        .nest("/v2.1", v21)
        .with_state(deps)
}

/// What is no UUID names no server.
fn parse_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| not_found(text))
}

/// The address of an object below `/compute/v2.1`.
fn href(deps: &Deps, path: &str) -> String {
    format!("{}/compute/v2.1/{path}", deps.public_url)
}

/// The address that does not change with the version of the API.
fn bookmark(deps: &Deps, path: &str) -> Value {
    json!({"rel": "bookmark", "href": format!("{}/compute/{path}", deps.public_url)})
}

fn links(deps: &Deps, path: &str) -> Value {
    json!([{"rel": "self", "href": href(deps, path)}, bookmark(deps, path)])
}
