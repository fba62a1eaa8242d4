use axum::Json;
use hanse_core::Result;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bodies::{Number, project, single_or_bulk};
use super::{Id, State, made, many, one};
use crate::model::{RuleRow, SecurityGroupRow};
use crate::security_groups::{self as verbs, NewGroup, rules};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    security_group: New,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    security_group: Changed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    name: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRules {
    security_group_rule: Option<NewRule>,
    security_group_rules: Option<Vec<NewRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRule {
    security_group_id: String,
    direction: String,
    ethertype: Option<String>,
    protocol: Option<Number>,
    port_range_min: Option<Number>,
    port_range_max: Option<Number>,
    remote_ip_prefix: Option<String>,
    remote_group_id: Option<String>,
    description: Option<String>,
    // A rule belongs to whom its group belongs to; this is read only because clients send it.
    #[serde(rename = "project_id")]
    _project_id: Option<String>,
    #[serde(rename = "tenant_id")]
    _tenant_id: Option<String>,
}

fn view(row: &SecurityGroupRow) -> Value {
    let it = &row.standard;
    json!({
        "id": it.id,
        "name": it.name,
        "description": it.description,
        "project_id": it.project_id,
        "tenant_id": it.project_id,
        "stateful": true,
        "shared": false,
        "security_group_rules": row.rules.iter().map(view_rule).collect::<Vec<_>>(),
        "revision_number": it.revision,
        "created_at": it.created_at.iso_seconds(),
        "updated_at": it.updated_at.iso_seconds(),
    })
}

fn view_rule(row: &RuleRow) -> Value {
    json!({
        "id": row.id,
        "security_group_id": row.security_group_id,
        "project_id": row.project_id,
        "tenant_id": row.project_id,
        "description": row.description,
        "direction": row.direction.as_str(),
        "ethertype": row.ethertype.as_str(),
        "protocol": row.protocol,
        "port_range_min": row.port_range_min,
        "port_range_max": row.port_range_max,
        "remote_ip_prefix": row.remote_ip_prefix,
        "normalized_cidr": row.remote_ip_prefix.map(|prefix| prefix.trunc()),
        "remote_group_id": row.remote_group_id,
        "remote_address_group_id": null,
        "revision_number": 0,
        "created_at": row.created_at.iso_seconds(),
        "updated_at": row.created_at.iso_seconds(),
    })
}

pub async fn list(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = verbs::list(&state, &call.cx, &call.caller, &params).await?;
    Ok(many(&state, "security-groups", &params, &found, view, |row| row.standard.id.to_string()))
}

pub async fn show(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = verbs::show(&state, &call.caller, &id).await?;
    Ok(one("security_group", view(&row), &params))
}

pub async fn create(state: State, call: Call, Body(body): Body<Create>) -> Reply<(StatusCode, Json<Value>)> {
    let it = body.security_group;
    let project_id = project(&call.caller, it.project_id, it.tenant_id)?;
    let new = NewGroup { project_id, name: it.name, description: it.description };
    let row = verbs::create(&state, &call.cx, &call.caller, &new).await?;
    made("security_group", vec![view(&row)], false)
}

pub async fn update(state: State, call: Call, id: Id, Body(body): Body<Update>) -> Reply<Json<Value>> {
    let it = body.security_group;
    let row = verbs::update(&state, &call.cx, &call.caller, &id, it.name, it.description).await?;
    Ok(one("security_group", view(&row), &Params::default()))
}

pub async fn delete(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    verbs::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_rule(it: NewRule) -> Result<rules::NewRule> {
    let number = |field: &str, value: Option<Number>| value.map(|value| value.read(field)).transpose();
    Ok(rules::NewRule {
        security_group_id: it.security_group_id,
        direction: it.direction,
        ethertype: it.ethertype,
        protocol: it.protocol.map(|protocol| protocol.text()),
        port_range_min: number("port_range_min", it.port_range_min)?,
        port_range_max: number("port_range_max", it.port_range_max)?,
        remote_ip_prefix: it.remote_ip_prefix,
        remote_group_id: it.remote_group_id,
        description: it.description.unwrap_or_default(),
    })
}

pub async fn list_rules(state: State, call: Call, params: Params) -> Reply<Json<Value>> {
    let found = rules::list(&state, &call.caller, &params).await?;
    Ok(many(&state, "security-group-rules", &params, &found, view_rule, |row| row.id.to_string()))
}

pub async fn show_rule(state: State, call: Call, id: Id, params: Params) -> Reply<Json<Value>> {
    let row = rules::show(&state, &call.caller, &id).await?;
    Ok(one("security_group_rule", view_rule(&row), &params))
}

pub async fn create_rules(
    state: State,
    call: Call,
    Body(body): Body<CreateRules>,
) -> Reply<(StatusCode, Json<Value>)> {
    let (wanted, bulk) =
        single_or_bulk("security_group_rule", body.security_group_rule, body.security_group_rules)?;
    let wanted: Result<Vec<rules::NewRule>> = wanted.into_iter().map(new_rule).collect();
    let rows = rules::create(&state, &call.cx, &call.caller, &wanted?).await?;
    made("security_group_rule", rows.iter().map(view_rule).collect(), bulk)
}

pub async fn delete_rule(state: State, call: Call, id: Id) -> Reply<StatusCode> {
    rules::delete(&state, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
