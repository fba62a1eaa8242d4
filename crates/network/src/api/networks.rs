use axum::Json;
use hanse_core::Result;
use hanse_policy::Caller;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{check_zones, project, single_or_bulk, yes};
use super::{Id, State, made, many, one};
use crate::Network;
use crate::model::NetworkRow;
use crate::networks::{self as verbs, Change, NewNetwork};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    network: Option<New>,
    networks: Option<Vec<New>>,
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
    #[serde(default)]
    shared: bool,
    #[serde(default, rename = "router:external")]
    external: bool,
    mtu: Option<i64>,
    #[serde(default = "yes")]
    port_security_enabled: bool,
    #[serde(default)]
    availability_zone_hints: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    network: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    name: Option<String>,
    description: Option<String>,
    admin_state_up: Option<bool>,
    shared: Option<bool>,
    #[serde(rename = "router:external")]
    external: Option<bool>,
    mtu: Option<i64>,
    port_security_enabled: Option<bool>,
}

pub fn view(network: &Network, row: &NetworkRow) -> Value {
    let it = &row.standard;
    json!({
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "admin_state_up": row.admin_state_up,
        "status": row.status,
        "shared": row.shared,
        "router:external": row.external,
        "mtu": row.mtu,
        "port_security_enabled": row.port_security_enabled,
        "subnets": row.subnets,
        "availability_zone_hints": [],
        "availability_zones": [network.config.availability_zone],
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    })
}

fn new(network: &Network, caller: &Caller, new: New) -> Result<NewNetwork> {
    check_zones(network, &new.availability_zone_hints)?;
    Ok(NewNetwork {
        project_id: project(caller, new.project_id, new.tenant_id)?,
        name: new.name,
        description: new.description,
        admin_state_up: new.admin_state_up,
        shared: new.shared,
        external: new.external,
        mtu: new.mtu,
        port_security_enabled: new.port_security_enabled,
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.caller, &params).await?;
    Ok(many(&state, "networks", &params, &found, |row| view(&state, row), |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("network", view(&state, &row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let (wanted, bulk) = single_or_bulk("network", body.network, body.networks)?;
    let wanted: Result<Vec<NewNetwork>> =
        wanted.into_iter().map(|it| new(&state, &call.caller, it)).collect();
    let rows = verbs::create(&state, &call.cx, &call.caller, &wanted?).await?;
    made("network", rows.iter().map(|row| view(&state, row)).collect(), bulk)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.network;
    let change = Change {
        name: it.name,
        description: it.description,
        admin_state_up: it.admin_state_up,
        shared: it.shared,
        external: it.external,
        mtu: it.mtu,
        port_security_enabled: it.port_security_enabled,
    };
    let row = verbs::update(&state, &call.cx, &call.caller, &id, &change).await?;
    Ok(one("network", view(&state, &row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
