use std::net::IpAddr;

use axum::Json;
use hanse_core::Result;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{Number, present, single_or_bulk, yes};
use super::{Id, State, made, many, one};
use crate::error::invalid;
use crate::model::{HostRoute, Pool, SubnetRow};
use crate::subnets::{self as verbs, Change, NewSubnet, WantedGateway};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    subnet: Option<New>,
    subnets: Option<Vec<New>>,
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
    ip_version: Number,
    cidr: Option<String>,
    #[serde(default, deserialize_with = "present")]
    gateway_ip: Option<Option<String>>,
    #[serde(default = "yes")]
    enable_dhcp: bool,
    allocation_pools: Option<Vec<Pool>>,
    #[serde(default)]
    dns_nameservers: Option<Vec<IpAddr>>,
    #[serde(default)]
    host_routes: Option<Vec<HostRoute>>,
    // Read only to be refused with a reason.
    ipv6_address_mode: Option<String>,
    ipv6_ra_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    subnet: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    name: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    gateway_ip: Option<Option<String>>,
    enable_dhcp: Option<bool>,
    allocation_pools: Option<Vec<Pool>>,
    dns_nameservers: Option<Vec<IpAddr>>,
    host_routes: Option<Vec<HostRoute>>,
}

pub fn view(row: &SubnetRow) -> Value {
    let it = &row.standard;
    json!({
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "network_id": row.network_id,
        "ip_version": 4,
        "cidr": row.cidr,
        "gateway_ip": row.gateway_ip,
        "enable_dhcp": row.enable_dhcp,
        "allocation_pools": row.allocation_pools,
        "dns_nameservers": row.dns_nameservers,
        "host_routes": row.host_routes,
        "ipv6_address_mode": null,
        "ipv6_ra_mode": null,
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    })
}

fn gateway(wanted: Option<Option<String>>) -> Result<Option<WantedGateway>> {
    match wanted {
        None => Ok(None),
        Some(None) => Ok(Some(WantedGateway::None)),
        Some(Some(text)) => text.parse().map(|address| Some(WantedGateway::Address(address))).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            invalid(format!("Invalid input for gateway_ip. Reason: '{text}' is not a valid IP address."))
        }),
    }
}

fn new(new: New) -> Result<NewSubnet> {
    let ip_version = new.ip_version.read("ip_version")?;
    if ip_version != 6 && (new.ipv6_address_mode.is_some() || new.ipv6_ra_mode.is_some()) {
        return Err(invalid("ipv6_ra_mode and ipv6_address_mode are for IPv6 subnets only."));
    }
    Ok(NewSubnet {
        project_id: new.project_id.or(new.tenant_id),
        network_id: new.network_id,
        name: new.name,
        description: new.description,
        ip_version,
        cidr: new.cidr.ok_or_else(|| invalid("a subnetpool must be specified in the absence of a cidr; there are no subnet pools, so give a cidr"))?,
        gateway: gateway(new.gateway_ip)?.unwrap_or_default(),
        enable_dhcp: new.enable_dhcp,
        allocation_pools: new.allocation_pools,
        dns_nameservers: new.dns_nameservers.unwrap_or_default(),
        host_routes: new.host_routes.unwrap_or_default(),
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.caller, &params).await?;
    Ok(many(&state, "subnets", &params, &found, view, |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("subnet", view(&row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let (wanted, bulk) = single_or_bulk("subnet", body.subnet, body.subnets)?;
    let wanted: Result<Vec<NewSubnet>> = wanted.into_iter().map(new).collect();
    let rows = verbs::create(&state, &call.cx, &call.caller, &wanted?).await?;
    made("subnet", rows.iter().map(view).collect(), bulk)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.subnet;
    let change = Change {
        name: it.name,
        description: it.description,
        gateway: gateway(it.gateway_ip)?,
        enable_dhcp: it.enable_dhcp,
        allocation_pools: it.allocation_pools,
        dns_nameservers: it.dns_nameservers,
        host_routes: it.host_routes,
    };
    let row = verbs::update(&state, &call.cx, &call.caller, &id, &change).await?;
    Ok(one("subnet", view(&row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
