//! Floating IPs: addresses of an external network that lead to ports.

use std::net::{IpAddr, Ipv4Addr};

use hanse_core::{Cx, Error, Kind, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_web::Params;
use hanse_work::wake;

use crate::db::{floating_ips as db, networks, ports as port_rows, routers, subnets};
use crate::error::{Noun, invalid, named};
use crate::listing::{Found, Listing};
use crate::model::{FixedIp, FloatingIpRow, PortRow, SubnetRow, owner};
use crate::networks::{bulk_target, check_texts, standard};
use crate::ports::{self, WantedIp, Wish};
use crate::quotas::{Resource, claim};
use crate::reconcile::ROUTERS;
use crate::{Network, verbs};

/// What a client says of a new floating IP.
#[derive(Clone, Debug)]
pub struct NewFloatingIp {
    pub project_id: String,
    pub description: String,
    pub floating_network_id: String,
    pub floating_ip_address: Option<String>,
    pub subnet_id: Option<String>,
    pub port_id: Option<String>,
    pub fixed_ip_address: Option<IpAddr>,
}

/// What a client changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub description: Option<String>,
    /// `Some(None)` takes the floating IP off its port.
    pub port_id: Option<Option<String>>,
    pub fixed_ip_address: Option<IpAddr>,
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<FloatingIpRow>> {
    let scope = caller.scope(verbs::SHOW_FLOATING_IP)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<FloatingIpRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_FLOATING_IP)?, Noun::FloatingIp.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::FloatingIp.missing(id))
}

pub async fn create(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    new: &NewFloatingIp,
) -> Result<FloatingIpRow> {
    let outside = crate::networks::show(network, caller, &new.floating_network_id).await?;
    if !outside.external {
        return Err(bad(format!("Network {} is not a valid external network", outside.standard.id)));
    }
    let mut row = FloatingIpRow {
        standard: standard(cx, &new.project_id, "", &new.description),
        floating_network_id: outside.standard.id,
        floating_port_id: cx.uuid(),
        floating_ip_address: Ipv4Addr::UNSPECIFIED,
        port_id: None,
        fixed_ip_address: None,
        router_id: None,
        status: "DOWN".to_owned(),
    };
    check_texts(&row.standard)?;
    let target = bulk_target(std::iter::once(&row.standard))?;
    let grant = &caller.authorize(cx, verbs::CREATE_FLOATING_IP, target.clone())?;
    if new.floating_ip_address.is_some() {
        caller.authorize(cx, verbs::CHOOSE_FLOATING_IP, target)?;
    }
    let inside = inside(network, caller, new.port_id.as_deref()).await?;
    if inside.is_none() && new.fixed_ip_address.is_some() {
        return Err(bad("fixed_ip_address cannot be specified without a port_id"));
    }
    row.fixed_ip_address = None;
    let (row, outside) = (&row, &outside);
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = row.clone();
                claim(tx, &row.standard.project_id, Resource::FloatingIp, 1).await?;
                let address = claim_address(tx, cx, grant, &row, outside.standard.id, new).await?;
                row.floating_ip_address = address;
                if let Some(port) = inside {
                    associate(tx, &mut row, port, new.fixed_ip_address).await?;
                }
                db::insert(tx, grant, &row).await?;
                wake_routers(tx, cx, [row.router_id, None]).await?;
                Ok(row)
            })
        })
        .await
}

fn bad(message: impl Into<String>) -> Error {
    named(Kind::BadRequest, "BadRequest", message)
}

/// The port to lead to, if the caller sees it.
async fn inside(network: &Network, caller: &Caller, port: Option<&str>) -> Result<Option<Uuid>> {
    match port {
        None => Ok(None),
        Some(port) => Ok(Some(ports::show(network, caller, port).await?.standard.id)),
    }
}

/// Claims the address, as that of a port on the external network which nobody's project owns.
async fn claim_address(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    row: &FloatingIpRow,
    outside: Uuid,
    new: &NewFloatingIp,
) -> Result<Ipv4Addr> {
    let parent =
        networks::show(tx, &Scope::All, outside).await?.ok_or_else(|| Noun::Network.missing(outside))?;
    let device = row.standard.id.to_string();
    let mut port = ports::draft(cx, row.floating_port_id, "", outside, owner::FLOATING_IP, &device);
    port.status = "N/A".to_owned();
    let chosen = new.floating_ip_address.is_some() || new.subnet_id.is_some();
    let wanted = WantedIp { subnet_id: new.subnet_id.clone(), ip_address: new.floating_ip_address.clone() };
    let wish = Wish { fixed_ips: chosen.then(|| vec![wanted]), ..Wish::default() };
    let port = ports::place(tx, cx, grant, port, &parent, &wish).await?;
    match port.fixed_ips.first() {
        Some(fixed) => Ok(fixed.ip_address),
        None => Err(bad(format!("Network {outside} does not contain any IPv4 subnet"))),
    }
}

async fn wake_routers(tx: &mut Tx<'_>, cx: &Cx, routers: [Option<Uuid>; 2]) -> Result<()> {
    for router in routers.into_iter().flatten() {
        wake(tx, cx, ROUTERS, &router.to_string()).await?;
    }
    Ok(())
}

/// Leads the floating IP to an address of the port, over a router that connects both sides.
async fn associate(
    tx: &mut Tx<'_>,
    row: &mut FloatingIpRow,
    port: Uuid,
    fixed: Option<IpAddr>,
) -> Result<()> {
    let port = port_rows::show(tx, &Scope::All, port).await?.ok_or_else(|| Noun::Port.missing(port))?;
    let fixed = choose(&port, fixed)?;
    let router = path(tx, row.floating_network_id, &port, fixed).await?;
    row.port_id = Some(port.standard.id);
    row.fixed_ip_address = Some(fixed.ip_address);
    row.router_id = Some(router);
    row.status = "DOWN".to_owned();
    Ok(())
}

fn choose(port: &PortRow, wanted: Option<IpAddr>) -> Result<&FixedIp> {
    let id = port.standard.id;
    match (wanted, port.fixed_ips.as_slice()) {
        (Some(wanted), all) => all
            .iter()
            .find(|fixed| IpAddr::V4(fixed.ip_address) == wanted)
            .ok_or_else(|| bad(format!("Port {id} does not have fixed ip {wanted}"))),
        (None, [only]) => Ok(only),
        (None, []) => {
            Err(bad(format!("Cannot add floating IP to port {id} that has no fixed IPv4 addresses")))
        }
        (None, _) => Err(bad(format!(
            "Port {id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP"
        ))),
    }
}

/// A router with an interface on the subnet of the fixed address and its gateway on the external network; best the one
/// that the subnet names as its gateway.
async fn path(tx: &mut Tx<'_>, outside: Uuid, port: &PortRow, fixed: &FixedIp) -> Result<Uuid> {
    let subnet: Option<SubnetRow> = subnets::show(tx, &Scope::All, fixed.subnet_id).await?;
    let gateway = subnet.and_then(|subnet| subnet.gateway_ip);
    let leading_out = routers::with_gateway_on(tx, outside).await?;
    let mut fallback = None;
    for interface in port_rows::interfaces_on(tx, fixed.subnet_id).await? {
        let Ok(router) = interface.device_id.parse::<Uuid>() else { continue };
        if !leading_out.contains(&router) {
            continue;
        }
        if interface.fixed_ips.iter().any(|address| Some(address.ip_address) == gateway) {
            return Ok(router);
        }
        fallback = fallback.or(Some(router));
    }
    fallback.ok_or_else(|| {
        named(
            Kind::NotFound,
            "ExternalGatewayForFloatingIPNotFound",
            format!(
                "External network {outside} is not reachable from subnet {}.  Therefore, cannot associate Port {} with a Floating IP.",
                fixed.subnet_id, port.standard.id
            ),
        )
    })
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: &Change,
) -> Result<FloatingIpRow> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    let target = Target::new(id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::UPDATE_FLOATING_IP, target)?;
    let wanted = change.port_id.as_ref().and_then(Option::as_deref);
    let inside = inside(network, caller, wanted).await?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let before =
                    db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::FloatingIp.missing(id))?;
                let mut row = before.clone();
                row.standard.description = change.description.clone().unwrap_or(row.standard.description);
                check_texts(&row.standard)?;
                if change.port_id.is_some() {
                    (row.port_id, row.fixed_ip_address, row.router_id) = (None, None, None);
                    row.status = "DOWN".to_owned();
                }
                match (inside.or(row.port_id), change.fixed_ip_address) {
                    (Some(port), fixed) if inside.is_some() || fixed.is_some() => {
                        associate(tx, &mut row, port, fixed).await?;
                    }
                    (None, Some(_)) => {
                        return Err(invalid("fixed_ip_address cannot be specified without a port_id")
                            .named("BadRequest"));
                    }
                    _ => {}
                }
                let unchanged =
                    row.port_id == before.port_id && row.fixed_ip_address == before.fixed_ip_address;
                if unchanged && row.router_id == before.router_id {
                    row.status.clone_from(&before.status);
                }
                db::update(tx, cx, grant, &row).await?;
                wake_routers(tx, cx, [before.router_id, row.router_id]).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::FloatingIp.missing(id))
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    let target = Target::new(id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_FLOATING_IP, target)?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row = db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::FloatingIp.missing(id))?;
                db::delete(tx, grant).await?;
                if let Some(port) = port_rows::show(tx, &Scope::All, row.floating_port_id).await? {
                    ports::remove(tx, cx, grant, &port).await?;
                }
                wake_routers(tx, cx, [row.router_id, None]).await
            })
        })
        .await
}
