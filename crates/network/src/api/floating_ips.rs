use std::net::IpAddr;

use axum::Json;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{present, project};
use super::{Id, State, made, many, one};
use crate::floating_ips::{self as verbs, Change, NewFloatingIp};
use crate::model::FloatingIpRow;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    floatingip: New,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    floating_network_id: String,
    #[serde(default)]
    description: String,
    project_id: Option<String>,
    tenant_id: Option<String>,
    floating_ip_address: Option<String>,
    subnet_id: Option<String>,
    port_id: Option<String>,
    fixed_ip_address: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    floatingip: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    port_id: Option<Option<String>>,
    fixed_ip_address: Option<IpAddr>,
}

fn view(row: &FloatingIpRow) -> Value {
    let it = &row.standard;
    json!({
        "id": it.id,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "floating_network_id": row.floating_network_id,
        "floating_ip_address": row.floating_ip_address,
        "port_id": row.port_id,
        "fixed_ip_address": row.fixed_ip_address,
        "router_id": row.router_id,
        "status": row.status,
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.caller, &params).await?;
    Ok(many(&state, "floatingips", &params, &found, view, |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("floatingip", view(&row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let it = body.floatingip;
    let new = NewFloatingIp {
        project_id: project(&call.caller, it.project_id, it.tenant_id)?,
        description: it.description,
        floating_network_id: it.floating_network_id,
        floating_ip_address: it.floating_ip_address,
        subnet_id: it.subnet_id,
        port_id: it.port_id,
        fixed_ip_address: it.fixed_ip_address,
    };
    let row = verbs::create(&state, &call.cx, &call.caller, &new).await?;
    made("floatingip", vec![view(&row)], false)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.floatingip;
    let change =
        Change { description: it.description, port_id: it.port_id, fixed_ip_address: it.fixed_ip_address };
    let row = verbs::update(&state, &call.cx, &call.caller, &id, &change).await?;
    Ok(one("floatingip", view(&row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
