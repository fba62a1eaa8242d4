//! What clients find out about the API and the cloud behind it.

use axum::Json;
use hanse_core::{Error, Kind};
use hanse_web::{Call, Reply};
use serde_json::{Value, json};

use super::{Id, State, base};
use crate::verbs;

/// Alias, name and description of each extension that is really here.
const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("agent", "agent", "The nodes that networks are on, as agents."),
    ("allowed-address-pairs", "Allowed Address Pairs", "Further source addresses of a port."),
    ("availability_zone", "Availability Zone", "The zones that networks and routers can be in."),
    ("binding", "Port Binding", "Where a port is bound; for admins."),
    (
        "ext-gw-mode",
        "Neutron L3 Configurable external gateway mode",
        "Source NAT of a router's gateway can be switched off.",
    ),
    ("external-net", "Neutron external network", "Networks that lead out of the cloud."),
    ("extraroute", "Neutron Extra Route", "Further routes of a router."),
    ("filter-validation", "Filter parameters validation", "Unknown filters of a list are refused."),
    ("net-mtu", "Network MTU", "The MTU of a network can be read."),
    ("net-mtu-writable", "Network MTU (writable)", "The MTU of a network can be set."),
    ("network_availability_zone", "Network Availability Zone", "Zones of networks."),
    ("pagination", "Pagination support", "Lists come in pages."),
    ("port-security", "Port Security", "Anti-spoofing and security groups of a port can be switched off."),
    ("project-id", "project_id field enabled", "Projects are named by project_id."),
    ("quota_details", "Quota details management support", "Limits with usage."),
    ("quotas", "Quota management support", "Limits of projects."),
    ("router", "Neutron L3 Router", "Routers and floating IPs."),
    ("router_availability_zone", "Router Availability Zone", "Zones of routers."),
    ("security-group", "security-group", "Security groups and their rules."),
    (
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "normalized_cidr of rules.",
    ),
    ("sorting", "Sorting support", "Lists are sorted by any field."),
    ("standard-attr-description", "standard-attr-description", "Everything has a description."),
    ("standard-attr-revisions", "Resource revision numbers", "Everything counts its changes."),
    ("standard-attr-timestamp", "Resource timestamps", "Everything knows when it was made and changed."),
];

const RESOURCES: &[&str] = &[
    "networks",
    "subnets",
    "ports",
    "routers",
    "floatingips",
    "security-groups",
    "security-group-rules",
    "quotas",
    "agents",
    "availability_zones",
];

fn version(base: &str) -> Value {
    json!({"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": format!("{base}/")}]})
}

pub async fn versions(state: State) -> Json<Value> {
    Json(json!({"versions": [version(&base(&state))]}))
}

pub async fn resources(state: State) -> Json<Value> {
    let base = base(&state);
    let resources: Vec<Value> = RESOURCES
        .iter()
        .map(|collection| {
            let name = collection.strip_suffix('s').unwrap_or(collection).replace('-', "_");
            let links = [json!({"rel": "self", "href": format!("{base}/{collection}")})];
            json!({"name": name, "collection": collection.replace('-', "_"), "links": links})
        })
        .collect();
    Json(json!({ "resources": resources }))
}

fn extension((alias, name, description): &(&str, &str, &str)) -> Value {
    json!({
        "alias": alias,
        "name": name,
        "description": description,
        "links": [],
        "updated": "2026-11-22T00:00:00-00:00",
    })
}

pub async fn list_extensions(_: Call) -> Json<Value> {
    Json(json!({"extensions": EXTENSIONS.iter().map(extension).collect::<Vec<_>>()}))
}

pub async fn show_extension(_: Call, alias: Id) -> Reply<Json<Value>> {
    match EXTENSIONS.iter().find(|(known, _, _)| *known == alias.as_str()) {
        Some(found) => Ok(Json(json!({"extension": extension(found)}))),
        None => {
            let alias: String = alias.chars().take(64).collect();
            let message = format!("Extension with alias {alias} does not exist");
            Err(Error::new(Kind::NotFound, message).named("ExtensionNotFound").into())
        }
    }
}

pub async fn list_agents(state: State, call: Call) -> Reply<Json<Value>> {
    call.caller.scope(verbs::LIST_AGENTS)?;
    let nodes = hanse_node::desired::nodes(&mut state.db.read().await?).await?;
    let agents: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let at = node.seen_at.iso_seconds();
            json!({
                "id": node.name,
                "host": node.name,
                "binary": "hanse",
                "agent_type": "Hanse agent",
                "topic": "",
                "availability_zone": state.config.availability_zone,
                "admin_state_up": true,
                "alive": node.connected,
                "configurations": {"release": node.hello.release},
                "started_at": at,
                "created_at": at,
                "heartbeat_timestamp": at,
                "description": null,
                "resources_synced": null,
            })
        })
        .collect();
    Ok(Json(json!({ "agents": agents })))
}

pub async fn list_availability_zones(state: State, call: Call) -> Reply<Json<Value>> {
    call.caller.scope(verbs::LIST_AVAILABILITY_ZONES)?;
    let zones: Vec<Value> = ["network", "router"]
        .iter()
        .map(|resource| {
            json!({"name": state.config.availability_zone, "resource": resource, "state": "available"})
        })
        .collect();
    Ok(Json(json!({ "availability_zones": zones })))
}
