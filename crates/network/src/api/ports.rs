use axum::Json;
use hanse_core::Result;
use hanse_node::documents::MacAddress;
use hanse_policy::Caller;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bodies::{project, single_or_bulk, yes};
use super::{Id, State, made, many, one};
use crate::model::PortRow;
use crate::ports::{self as verbs, Change, NewPort, WantedBinding, WantedIp, WantedPair};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    port: Option<New>,
    ports: Option<Vec<New>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedIp {
    subnet_id: Option<String>,
    ip_address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    ip_address: String,
    mac_address: Option<MacAddress>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    network_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    project_id: Option<String>,
    tenant_id: Option<String>,
    #[serde(default = "yes")]
    admin_state_up: bool,
    mac_address: Option<MacAddress>,
    fixed_ips: Option<Vec<FixedIp>>,
    #[serde(default)]
    device_id: String,
    #[serde(default)]
    device_owner: String,
    security_groups: Option<Vec<String>>,
    #[serde(default)]
    allowed_address_pairs: Option<Vec<Pair>>,
    port_security_enabled: Option<bool>,
    #[serde(rename = "binding:host_id")]
    host_id: Option<String>,
    #[serde(rename = "binding:vnic_type")]
    vnic_type: Option<String>,
    #[serde(rename = "binding:profile")]
    profile: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    port: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    name: Option<String>,
    description: Option<String>,
    admin_state_up: Option<bool>,
    mac_address: Option<MacAddress>,
    fixed_ips: Option<Vec<FixedIp>>,
    device_id: Option<String>,
    device_owner: Option<String>,
    security_groups: Option<Vec<String>>,
    allowed_address_pairs: Option<Vec<Pair>>,
    port_security_enabled: Option<bool>,
    #[serde(rename = "binding:host_id")]
    host_id: Option<String>,
    #[serde(rename = "binding:vnic_type")]
    vnic_type: Option<String>,
    #[serde(rename = "binding:profile")]
    profile: Option<Map<String, Value>>,
}

pub fn view(caller: &Caller, row: &PortRow) -> Value {
    let it = &row.standard;
    let mut port = json!({
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "network_id": row.network_id,
        "admin_state_up": row.admin_state_up,
        "status": row.status,
        "mac_address": row.mac_address,
        "fixed_ips": row.fixed_ips,
        "device_id": row.device_id,
        "device_owner": row.device_owner,
        "security_groups": row.security_groups,
        "allowed_address_pairs": row.allowed_address_pairs,
        "port_security_enabled": row.port_security_enabled,
        "binding:vnic_type": row.vnic_type,
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    });
    if caller.is_admin()
        && let Some(port) = port.as_object_mut()
    {
        let bound = !row.host.is_empty();
        port.insert("binding:host_id".to_owned(), json!(row.host));
        port.insert("binding:profile".to_owned(), json!(row.binding_profile));
        port.insert("binding:vif_type".to_owned(), json!(if bound { "tap" } else { "unbound" }));
        port.insert("binding:vif_details".to_owned(), json!({}));
    }
    port
}

pub fn wanted_ips(all: Vec<FixedIp>) -> Vec<WantedIp> {
    all.into_iter().map(|it| WantedIp { subnet_id: it.subnet_id, ip_address: it.ip_address }).collect()
}

fn pairs(all: Vec<Pair>) -> Vec<WantedPair> {
    all.into_iter().map(|it| WantedPair { ip_address: it.ip_address, mac_address: it.mac_address }).collect()
}

fn new(caller: &Caller, new: New) -> Result<NewPort> {
    Ok(NewPort {
        project_id: project(caller, new.project_id, new.tenant_id)?,
        network_id: new.network_id,
        name: new.name,
        description: new.description,
        admin_state_up: new.admin_state_up,
        mac_address: new.mac_address,
        fixed_ips: new.fixed_ips.map(wanted_ips),
        device_id: new.device_id,
        device_owner: new.device_owner,
        security_groups: new.security_groups,
        allowed_address_pairs: pairs(new.allowed_address_pairs.unwrap_or_default()),
        port_security_enabled: new.port_security_enabled,
        binding: WantedBinding { host_id: new.host_id, vnic_type: new.vnic_type, profile: new.profile },
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.caller, &params).await?;
    let view = |row: &PortRow| view(&call.caller, row);
    Ok(many(&state, "ports", &params, &found, view, |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("port", view(&call.caller, &row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let (wanted, bulk) = single_or_bulk("port", body.port, body.ports)?;
    let wanted: Result<Vec<NewPort>> = wanted.into_iter().map(|it| new(&call.caller, it)).collect();
    let rows = verbs::create(&state, &call.cx, &call.caller, &wanted?).await?;
    made("port", rows.iter().map(|row| view(&call.caller, row)).collect(), bulk)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.port;
    let change = Change {
        name: it.name,
        description: it.description,
        admin_state_up: it.admin_state_up,
        mac_address: it.mac_address,
        fixed_ips: it.fixed_ips.map(wanted_ips),
        device_id: it.device_id,
        device_owner: it.device_owner,
        security_groups: it.security_groups,
        allowed_address_pairs: it.allowed_address_pairs.map(pairs),
        port_security_enabled: it.port_security_enabled,
        binding: WantedBinding { host_id: it.host_id, vnic_type: it.vnic_type, profile: it.profile },
    };
    let row = verbs::update(&state, &call.cx, &call.caller, &id, &change).await?;
    Ok(one("port", view(&call.caller, &row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
