use axum::Json;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{check_zones, present, project, yes};
use super::ports::{FixedIp, wanted_ips};
use super::{Id, State, made, many, one};
use crate::Network;
use crate::model::{HostRoute, RouterRow};
use crate::routers::interfaces::{self, Interface, Which};
use crate::routers::{self as verbs, Change, NewRouter, WantedGateway};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    router: New,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    network_id: Option<String>,
    enable_snat: Option<bool>,
    external_fixed_ips: Option<Vec<FixedIp>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    project_id: Option<String>,
    tenant_id: Option<String>,
    #[serde(default = "yes")]
    admin_state_up: bool,
    external_gateway_info: Option<Gateway>,
    #[serde(default)]
    availability_zone_hints: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    router: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    name: Option<String>,
    description: Option<String>,
    admin_state_up: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    external_gateway_info: Option<Option<Gateway>>,
    routes: Option<Vec<HostRoute>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceBody {
    subnet_id: Option<String>,
    port_id: Option<String>,
}

/// An empty object means no gateway, as `null` does.
fn gateway(wanted: Gateway) -> Option<WantedGateway> {
    Some(WantedGateway {
        network_id: wanted.network_id?,
        enable_snat: wanted.enable_snat,
        external_fixed_ips: wanted.external_fixed_ips.map(wanted_ips),
    })
}

fn view(network: &Network, row: &RouterRow) -> Value {
    let it = &row.standard;
    let gateway = row.external_network_id.map(|id| {
        json!({"network_id": id, "enable_snat": row.enable_snat, "external_fixed_ips": row.external_fixed_ips})
    });
    json!({
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "admin_state_up": row.admin_state_up,
        "status": row.status,
        "external_gateway_info": gateway,
        "routes": row.routes,
        "availability_zone_hints": [],
        "availability_zones": [network.config.availability_zone],
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.caller, &params).await?;
    Ok(many(&state, "routers", &params, &found, |row| view(&state, row), |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("router", view(&state, &row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let it = body.router;
    check_zones(&state, &it.availability_zone_hints)?;
    let new = NewRouter {
        project_id: project(&call.caller, it.project_id, it.tenant_id)?,
        name: it.name,
        description: it.description,
        admin_state_up: it.admin_state_up,
        gateway: it.external_gateway_info.and_then(gateway),
    };
    let row = verbs::create(&state, &call.cx, &call.caller, &new).await?;
    made("router", vec![view(&state, &row)], false)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.router;
    let change = Change {
        name: it.name,
        description: it.description,
        admin_state_up: it.admin_state_up,
        gateway: it.external_gateway_info.map(|wanted| wanted.and_then(gateway)),
        routes: it.routes,
    };
    let row = verbs::update(&state, &call.cx, &call.caller, &id, &change).await?;
    Ok(one("router", view(&state, &row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn interface(it: &Interface) -> Json<Value> {
    let subnets: Vec<_> = it.port.fixed_ips.iter().map(|fixed| fixed.subnet_id).collect();
    Json(json!({
        "id": it.router.standard.id,
        "project_id": it.router.standard.project_id,
        "tenant_id": it.router.standard.project_id,
        "network_id": it.port.network_id,
        "port_id": it.port.standard.id,
        "subnet_id": it.subnet_id,
        "subnet_ids": subnets,
    }))
}

pub async fn add_interface(
    state: State,
    call: Call,
    id: Id,
    Body(body): Body<InterfaceBody>,
) -> Reply<Json<Value>> {
    let which = Which { subnet_id: body.subnet_id, port_id: body.port_id };
    Ok(interface(&interfaces::add(&state, &call.cx, &call.caller, &id, &which).await?))
}

pub async fn remove_interface(
    state: State,
    call: Call,
    id: Id,
    Body(body): Body<InterfaceBody>,
) -> Reply<Json<Value>> {
    let which = Which { subnet_id: body.subnet_id, port_id: body.port_id };
    Ok(interface(&interfaces::remove(&state, &call.cx, &call.caller, &id, &which).await?))
}
