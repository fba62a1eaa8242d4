//! Routers and their gateways.

pub mod interfaces;

use std::net::Ipv4Addr;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_web::Params;
use hanse_work::wake;

use crate::addresses::{check_routes, overlap};
use crate::db::{floating_ips, networks, ports as port_rows, routers as db, subnets};
use crate::error::{Noun, conflict, invalid};
use crate::listing::{Found, Listing};
use crate::model::{HostRoute, PortRow, RouterRow, SubnetRow, owner};
use crate::networks::{bulk_target, check_texts, standard};
use crate::ports::{self, WantedIp, Wish};
use crate::quotas::{Resource, claim};
use crate::reconcile::ROUTERS;
use crate::{Network, verbs};

/// Where a router leads out, as a client writes it.
#[derive(Clone, Debug, Default)]
pub struct WantedGateway {
    pub network_id: String,
    pub enable_snat: Option<bool>,
    pub external_fixed_ips: Option<Vec<WantedIp>>,
}

/// What a client says of a new router.
#[derive(Clone, Debug)]
pub struct NewRouter {
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub gateway: Option<WantedGateway>,
}

/// What a client changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    pub admin_state_up: Option<bool>,
    /// `Some(None)` takes the gateway away.
    pub gateway: Option<Option<WantedGateway>>,
    pub routes: Option<Vec<HostRoute>>,
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<RouterRow>> {
    let scope = caller.scope(verbs::SHOW_ROUTER)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<RouterRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_ROUTER)?, Noun::Router.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::Router.missing(id))
}

/// What is asked of the gateway that only admins may ask, and whether the caller sees its network.
async fn check_gateway(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    target: &Target,
    gateway: Option<&WantedGateway>,
) -> Result<()> {
    let Some(gateway) = gateway else { return Ok(()) };
    let outside = crate::networks::show(network, caller, &gateway.network_id).await?;
    if !outside.external {
        return Err(invalid(format!("Network {} is not an external network", outside.standard.id))
            .named("BadRequest"));
    }
    if gateway.enable_snat.is_some() {
        caller.authorize(cx, verbs::SET_SNAT, target.clone())?;
    }
    if gateway.external_fixed_ips.is_some() {
        caller.authorize(cx, verbs::SET_GATEWAY_ADDRESS, target.clone())?;
    }
    Ok(())
}

pub async fn create(network: &Network, cx: &Cx, caller: &Caller, new: &NewRouter) -> Result<RouterRow> {
    let row = RouterRow {
        standard: standard(cx, &new.project_id, &new.name, &new.description),
        admin_state_up: new.admin_state_up,
        external_network_id: None,
        gateway_port_id: None,
        enable_snat: true,
        routes: Vec::new(),
        status: "ACTIVE".to_owned(),
        external_fixed_ips: Vec::new(),
    };
    check_texts(&row.standard)?;
    let target = bulk_target(std::iter::once(&row.standard))?;
    let grant = &caller.authorize(cx, verbs::CREATE_ROUTER, target.clone())?;
    check_gateway(network, cx, caller, &target, new.gateway.as_ref()).await?;
    let row = &row;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                claim(tx, &row.standard.project_id, Resource::Router, 1).await?;
                db::insert(tx, grant, row).await?;
                let mut row = row.clone();
                if let Some(gateway) = &new.gateway {
                    set_gateway(tx, cx, grant, &mut row, Some(gateway)).await?;
                    db::update(tx, cx, grant, &row).await?;
                }
                let id = row.standard.id;
                wake(tx, cx, ROUTERS, &id.to_string()).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Router.missing(id))
            })
        })
        .await
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: &Change,
) -> Result<RouterRow> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    let target = Target::new(id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::UPDATE_ROUTER, target.clone())?;
    check_gateway(network, cx, caller, &target, change.gateway.as_ref().and_then(Option::as_ref)).await?;
    let routes = change.routes.clone().map(check_routes).transpose()?;
    let routes = &routes;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let missing = || Noun::Router.missing(id);
                let mut row = db::show(tx, &Scope::All, id).await?.ok_or_else(missing)?;
                row.standard.name = change.name.clone().unwrap_or(row.standard.name);
                row.standard.description = change.description.clone().unwrap_or(row.standard.description);
                check_texts(&row.standard)?;
                row.admin_state_up = change.admin_state_up.unwrap_or(row.admin_state_up);
                if let Some(gateway) = &change.gateway {
                    set_gateway(tx, cx, grant, &mut row, gateway.as_ref()).await?;
                }
                if let Some(routes) = routes {
                    row.routes.clone_from(routes);
                }
                if change.routes.is_some() || change.gateway.is_some() {
                    check_next_hops(tx, &row).await?;
                }
                db::update(tx, cx, grant, &row).await?;
                wake(tx, cx, ROUTERS, &id.to_string()).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(missing)
            })
        })
        .await
}

/// The subnets that a router has an address of, its gateway's included.
async fn reachable(tx: &mut Tx<'_>, row: &RouterRow) -> Result<Vec<SubnetRow>> {
    let mut ports: Vec<PortRow> =
        port_rows::of_device(tx, &row.standard.id.to_string(), owner::INTERFACE).await?;
    ports.extend(port_rows::of_device(tx, &row.standard.id.to_string(), owner::GATEWAY).await?);
    let ids: Vec<Uuid> = ports.iter().flat_map(|port| &port.fixed_ips).map(|fixed| fixed.subnet_id).collect();
    subnets::by_ids(tx, &ids).await
}

async fn check_next_hops(tx: &mut Tx<'_>, row: &RouterRow) -> Result<()> {
    if row.routes.is_empty() {
        return Ok(());
    }
    let reachable = reachable(tx, row).await?;
    let lost = |hop: Ipv4Addr| !reachable.iter().any(|subnet| subnet.cidr.contains(&hop));
    match row.routes.iter().find(|route| lost(route.nexthop)) {
        None => Ok(()),
        Some(route) => Err(invalid(format!(
            "Invalid format for routes: the nexthop {} is not connected with router {}",
            route.nexthop, row.standard.id
        ))
        .named("InvalidRoutes")),
    }
}

/// Makes the gateway of a router what is wanted; the caller writes the row.
async fn set_gateway(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    row: &mut RouterRow,
    wanted: Option<&WantedGateway>,
) -> Result<()> {
    let wanted_network = wanted.map(|wanted| Noun::Network.id(&wanted.network_id)).transpose()?;
    let addresses = wanted.and_then(|wanted| wanted.external_fixed_ips.as_ref());
    let snat = wanted.and_then(|wanted| wanted.enable_snat);
    if wanted_network == row.external_network_id && addresses.is_none() {
        row.enable_snat = snat.unwrap_or(row.enable_snat);
        return Ok(());
    }
    let id = row.standard.id;
    if let Some(port) = row.gateway_port_id {
        let carries = !floating_ips::of_router(tx, id).await?.is_empty();
        if carries && wanted_network != row.external_network_id {
            return Err(conflict(
                "RouterExternalGatewayInUseByFloatingIp",
                format!(
                    "Gateway cannot be updated for router {id}, since a gateway to external network is required by one or more floating IPs."
                ),
            ));
        }
        // The row must let go of the port before that can be deleted.
        row.gateway_port_id = None;
        row.external_network_id = None;
        db::update(tx, cx, grant, row).await?;
        if let Some(port) = port_rows::show(tx, &Scope::All, port).await? {
            ports::remove(tx, cx, grant, &port).await?;
        }
    }
    row.enable_snat = snat.unwrap_or(true);
    let Some(network) = wanted_network else { return Ok(()) };
    let outside =
        networks::show(tx, &Scope::All, network).await?.ok_or_else(|| Noun::Network.missing(network))?;
    let inside = reachable(tx, row).await?;
    for outer in subnets::of_network(tx, network).await? {
        if let Some(inner) = inside.iter().find(|inner| overlap(inner.cidr, outer.cidr)) {
            return Err(invalid(format!(
                "Cidr {} of subnet {} overlaps with cidr {} of subnet {}",
                outer.cidr, outer.standard.id, inner.cidr, inner.standard.id
            ))
            .named("BadRequest"));
        }
    }
    // Of nobody's project, as the router's owner must not touch it.
    let mut port = ports::draft(cx, cx.uuid(), "", network, owner::GATEWAY, &id.to_string());
    port.status = "ACTIVE".to_owned();
    let wish = Wish { fixed_ips: addresses.cloned(), ..Wish::default() };
    let port = ports::place(tx, cx, grant, port, &outside, &wish).await?;
    row.gateway_port_id = Some(port.standard.id);
    row.external_network_id = Some(network);
    Ok(())
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    let target = Target::new(id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_ROUTER, target)?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row = db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Router.missing(id))?;
                if !port_rows::of_device(tx, &id.to_string(), owner::INTERFACE).await?.is_empty() {
                    return Err(conflict("RouterInUse", format!("Router {id} still has ports")));
                }
                db::delete(tx, grant).await?;
                if let Some(port) = row.gateway_port_id
                    && let Some(port) = port_rows::show(tx, &Scope::All, port).await?
                {
                    ports::remove(tx, cx, grant, &port).await?;
                }
                wake(tx, cx, ROUTERS, &id.to_string()).await
            })
        })
        .await
}
