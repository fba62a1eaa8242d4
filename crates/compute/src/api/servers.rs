use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Direction, Error, Kind, Result, check_name};
use hanse_store::Select;
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::create::{access_ipv4, access_ipv6, disk_config};
use super::view::{self, Around};
use super::{filters, href, parse_id};
use crate::Deps;
use crate::db::events::Event;
use crate::model::Server;
use crate::ports::ServerPort;
use crate::servers;
use crate::verbs;

async fn page(deps: &Deps, call: &Call, params: &Params) -> Result<(Vec<Server>, bool)> {
    let scope = filters::scope(&call.caller, params)?;
    let page = params.page(Direction::Descending)?;
    let keys = filters::sort_keys(params)?;
    let at = filters::at_address(deps, &call.cx, &scope, params).await?;
    let narrow = |select: Select| {
        let select = filters::apply(select, params, call.caller.is_admin())?;
        Ok(match at {
            Some(ids) => select.any("id", ids),
            None => select,
        })
    };
    servers::list(deps, &scope, narrow, &keys, &page).await
}

fn answer(
    deps: &Deps,
    params: &Params,
    path: &str,
    found: &[Server],
    more: bool,
    views: Vec<Value>,
) -> Json<Value> {
    let mut body = json!({ "servers": views });
    if let (true, Some(last)) = (more, found.last()) {
        let next = format!("{}?{}", href(deps, path), params.with_marker(&last.id.to_string()));
        body["servers_links"] = json!([{"rel": "next", "href": next}]);
    }
    Json(body)
}

pub async fn list(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    let (found, more) = page(&deps, &call, &params).await?;
    let views = found.iter().map(|server| view::brief(&deps, server)).collect();
    Ok(answer(&deps, &params, "servers", &found, more, views))
}

pub async fn detail(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    let (found, more) = page(&deps, &call, &params).await?;
    let around = Around::read(&deps, &call.cx, &found).await?;
    let views = found.iter().map(|server| view::full(&deps, &call, &around, server)).collect();
    Ok(answer(&deps, &params, "servers/detail", &found, more, views))
}

pub async fn show(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let server = servers::show(&deps, &call.caller, verbs::SHOW, parse_id(&id)?).await?;
    let around = Around::read(&deps, &call.cx, std::slice::from_ref(&server)).await?;
    Ok(Json(json!({"server": view::full(&deps, &call, &around, &server)})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    server: Changes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    name: Option<String>,
    #[serde(rename = "accessIPv4")]
    access_ipv4: Option<String>,
    #[serde(rename = "accessIPv6")]
    access_ipv6: Option<String>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: Option<String>,
}

pub async fn update(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Update>,
) -> Reply<Json<Value>> {
    let changes = body.server;
    let name = changes.name.as_deref().map(str::trim);
    name.map(|name| check_name("server.name", name)).transpose()?;
    let ipv4 = changes.access_ipv4.map(|text| access_ipv4(&text)).transpose()?;
    let ipv6 = changes.access_ipv6.map(|text| access_ipv6(&text)).transpose()?;
    let disk = changes.disk_config.map(|text| disk_config(&text)).transpose()?;
    let change = |server: &mut Server| {
        server.name = name.unwrap_or(&server.name).to_owned();
        server.access_ipv4 = ipv4.clone().unwrap_or_else(|| server.access_ipv4.clone());
        server.access_ipv6 = ipv6.clone().unwrap_or_else(|| server.access_ipv6.clone());
        server.disk_config = disk.clone().unwrap_or_else(|| server.disk_config.clone());
        Ok(())
    };
    let server =
        servers::update(&deps, &call.cx, &call.caller, verbs::UPDATE, parse_id(&id)?, change).await?;
    let around = Around::read(&deps, &call.cx, std::slice::from_ref(&server)).await?;
    Ok(Json(json!({"server": view::base(&deps, &around, &server)})))
}

pub async fn delete(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<StatusCode> {
    servers::delete(&deps, &call.cx, &call.caller, parse_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The ports of a server that the caller may see.
async fn ports(deps: &Deps, call: &Call, verb: hanse_policy::Verb, id: &str) -> Result<Vec<ServerPort>> {
    let id = parse_id(id)?;
    servers::show(deps, &call.caller, verb, id).await?;
    Ok(deps.networks.ports_of(&call.cx, &[id]).await?.remove(&id).unwrap_or_default())
}

pub async fn addresses(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let ports = ports(&deps, &call, verbs::SHOW, &id).await?;
    Ok(Json(json!({"addresses": view::plain_addresses(&ports)})))
}

pub async fn addresses_of_network(
    State(deps): State<Deps>,
    call: Call,
    Path((id, network)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let all = view::plain_addresses(&ports(&deps, &call, verbs::SHOW, &id).await?);
    let missing = || Error::new(Kind::NotFound, format!("Network {network} not found on this server."));
    let found = all.get(&network).ok_or_else(missing)?;
    Ok(Json(json!({ network: found })))
}

fn interface_view(port: &ServerPort) -> Value {
    let fixed: Vec<Value> = port
        .addresses
        .iter()
        .filter_map(|one| Some(json!({"subnet_id": one.subnet_id?, "ip_address": one.address})))
        .collect();
    json!({
        "port_id": port.port_id,
        "net_id": port.network_id,
        "mac_addr": port.mac,
        "port_state": if port.active { "ACTIVE" } else { "DOWN" },
        "fixed_ips": fixed,
    })
}

pub async fn interfaces(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let ports = ports(&deps, &call, verbs::INTERFACES_LIST, &id).await?;
    Ok(Json(json!({"interfaceAttachments": ports.iter().map(interface_view).collect::<Vec<_>>()})))
}

pub async fn interface(
    State(deps): State<Deps>,
    call: Call,
    Path((id, port)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let ports = ports(&deps, &call, verbs::INTERFACES_LIST, &id).await?;
    let missing = || Error::new(Kind::NotFound, format!("Port id {port} could not be found."));
    let found = ports.iter().find(|one| one.port_id.to_string() == port).ok_or_else(missing)?;
    Ok(Json(json!({"interfaceAttachment": interface_view(found)})))
}

pub async fn security_groups(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let ports = ports(&deps, &call, verbs::SHOW, &id).await?;
    let project = call.caller.project_id().unwrap_or_default();
    // Rules and descriptions are the network service's; this list only says which groups there are.
    let groups: Vec<Value> = view::security_groups(&ports)
        .into_iter()
        .map(|name| json!({"id": name, "name": name, "tenant_id": project, "description": "", "rules": []}))
        .collect();
    Ok(Json(json!({ "security_groups": groups })))
}

fn event_view(id: &str, event: &Event) -> Value {
    json!({
        "instance_uuid": id,
        "action": event.action,
        "request_id": event.request_id,
        "user_id": event.user_id,
        "project_id": event.project_id,
        "start_time": event.started_at.iso_naive(),
        "message": event.message,
    })
}

pub async fn events(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let all = servers::events(&deps, &call.caller, parse_id(&id)?).await?;
    let views: Vec<Value> = all.iter().map(|event| event_view(&id, event)).collect();
    Ok(Json(json!({ "instanceActions": views })))
}

pub async fn event(
    State(deps): State<Deps>,
    call: Call,
    Path((id, request)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let all = servers::events(&deps, &call.caller, parse_id(&id)?).await?;
    let missing = || Error::new(Kind::NotFound, format!("Action {request} on instance {id} not found"));
    let found = all.iter().find(|event| event.request_id == request).ok_or_else(missing)?;
    Ok(Json(json!({"instanceAction": event_view(&id, found)})))
}
