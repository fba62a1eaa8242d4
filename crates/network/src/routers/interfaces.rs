//! The subnets that a router connects.

use hanse_core::{Cx, Error, Kind, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_work::wake;

use super::{check_next_hops, reachable, show};
use crate::addresses::overlap;
use crate::db::{floating_ips, networks, ports as port_rows, routers as db, subnets};
use crate::error::{Noun, conflict, invalid, named};
use crate::model::{PortRow, RouterRow, SubnetRow, owner};
use crate::ports::{self, WantedIp, Wish};
use crate::quotas::{Resource, claim};
use crate::reconcile::ROUTERS;
use crate::{Network, verbs};

/// What a client names an interface by: one of both or, to remove it, both.
#[derive(Clone, Debug, Default)]
pub struct Which {
    pub subnet_id: Option<String>,
    pub port_id: Option<String>,
}

/// What was added or removed.
#[derive(Clone, Debug)]
pub struct Interface {
    pub router: RouterRow,
    pub port: PortRow,
    pub subnet_id: Uuid,
}

fn bad(message: impl Into<String>) -> Error {
    named(Kind::BadRequest, "BadRequest", message)
}

pub async fn add(network: &Network, cx: &Cx, caller: &Caller, id: &str, which: &Which) -> Result<Interface> {
    let known = show(network, caller, id).await?;
    let router = known.standard.id;
    let target = Target::new(router).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::ADD_ROUTER_INTERFACE, target)?;
    let wanted = match (&which.subnet_id, &which.port_id) {
        (Some(_), Some(_)) => return Err(bad("Cannot specify both subnet-id and port-id")),
        (None, None) => return Err(bad("Either subnet_id or port_id must be specified")),
        (Some(subnet), None) => {
            let subnet = crate::subnets::show(network, caller, subnet).await?;
            // Who adds an interface takes the gateway address of the subnet.
            let parent = crate::networks::show(network, caller, &subnet.network_id.to_string()).await?;
            let of_network = Target::new(router).in_project(&parent.standard.project_id);
            caller.authorize(cx, verbs::ADD_ROUTER_INTERFACE, of_network)?;
            Wanted::Subnet(subnet.standard.id)
        }
        (None, Some(port)) => {
            let port = crate::ports::show(network, caller, port).await?;
            let of_port = Target::new(router).in_project(&port.standard.project_id);
            caller.authorize(cx, verbs::ADD_ROUTER_INTERFACE, of_port)?;
            Wanted::Port(port.standard.id)
        }
    };
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let missing = || Noun::Router.missing(router);
                let row = db::show(tx, &Scope::All, router).await?.ok_or_else(missing)?;
                let port = match wanted {
                    Wanted::Subnet(subnet) => add_subnet(tx, cx, grant, &row, subnet).await?,
                    Wanted::Port(port) => add_port(tx, cx, grant, &row, port).await?,
                };
                wake(tx, cx, ROUTERS, &router.to_string()).await?;
                let subnet_id = port.fixed_ips.first().map(|fixed| fixed.subnet_id);
                let subnet_id =
                    subnet_id.ok_or_else(|| Error::internal("an interface without an address"))?;
                Ok(Interface { router: row, port, subnet_id })
            })
        })
        .await
}

#[derive(Clone, Copy)]
enum Wanted {
    Subnet(Uuid),
    Port(Uuid),
}

async fn check_room(tx: &mut Tx<'_>, router: &RouterRow, subnet: &SubnetRow) -> Result<()> {
    for other in reachable(tx, router).await? {
        if other.standard.id == subnet.standard.id {
            return Err(bad(format!("Router already has a port on subnet {}", subnet.standard.id)));
        }
        if overlap(other.cidr, subnet.cidr) {
            return Err(bad(format!(
                "Cidr {} of subnet {} overlaps with cidr {} of subnet {}",
                subnet.cidr, subnet.standard.id, other.cidr, other.standard.id
            )));
        }
    }
    Ok(())
}

async fn add_subnet(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    router: &RouterRow,
    subnet: Uuid,
) -> Result<PortRow> {
    let subnet = subnets::show(tx, &Scope::All, subnet).await?.ok_or_else(|| Noun::Subnet.missing(subnet))?;
    let gateway =
        subnet.gateway_ip.ok_or_else(|| bad("Subnet for router interface must have a gateway IP"))?;
    check_room(tx, router, &subnet).await?;
    let id = subnet.network_id;
    let parent = networks::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Network.missing(id))?;
    let project = &router.standard.project_id;
    claim(tx, project, Resource::Port, 1).await?;
    let device = router.standard.id.to_string();
    let mut port = ports::draft(cx, cx.uuid(), project, id, owner::INTERFACE, &device);
    port.status = "ACTIVE".to_owned();
    let wish =
        Wish { fixed_ips: Some(vec![WantedIp::exactly(subnet.standard.id, gateway)]), ..Wish::default() };
    ports::place(tx, cx, grant, port, &parent, &wish).await
}

async fn add_port(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    router: &RouterRow,
    port: Uuid,
) -> Result<PortRow> {
    let before = port_rows::show(tx, &Scope::All, port).await?.ok_or_else(|| Noun::Port.missing(port))?;
    if !before.device_id.is_empty() || ports::is_own(&before.device_owner) {
        return Err(conflict(
            "PortInUse",
            format!(
                "Unable to complete operation on port {port} for network {}. Port already has an attached device {}.",
                before.network_id, before.device_id
            ),
        ));
    }
    let [fixed] = before.fixed_ips.as_slice() else {
        return Err(bad("Router port must have exactly one fixed IP"));
    };
    let subnet = subnets::show(tx, &Scope::All, fixed.subnet_id).await?;
    let subnet = subnet.ok_or_else(|| Noun::Subnet.missing(fixed.subnet_id))?;
    check_room(tx, router, &subnet).await?;
    let mut row = before.clone();
    row.device_id = router.standard.id.to_string();
    row.device_owner = owner::INTERFACE.to_owned();
    // A router passes on what others sent: neither anti-spoofing nor groups apply.
    row.port_security_enabled = false;
    row.security_groups.clear();
    row.allowed_address_pairs.clear();
    row.status = "ACTIVE".to_owned();
    port_rows::update(tx, cx, grant, &row).await?;
    port_rows::set_groups(tx, grant, &row).await?;
    Ok(row)
}

pub async fn remove(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    which: &Which,
) -> Result<Interface> {
    let known = show(network, caller, id).await?;
    let router = known.standard.id;
    let target = Target::new(router).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::REMOVE_ROUTER_INTERFACE, target)?;
    if which.subnet_id.is_none() && which.port_id.is_none() {
        return Err(invalid("Either subnet_id or port_id must be specified").named("BadRequest"));
    }
    let subnet = which.subnet_id.as_deref().map(|id| Noun::Subnet.id(id)).transpose()?;
    let port = which.port_id.as_deref().map(|id| Noun::Port.id(id)).transpose()?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let missing = || Noun::Router.missing(router);
                let row = db::show(tx, &Scope::All, router).await?.ok_or_else(missing)?;
                let found = find(tx, router, subnet, port).await?;
                let subnet_id = found.fixed_ips.first().map(|fixed| fixed.subnet_id);
                let subnet_id = subnet_id.ok_or_else(|| Error::internal("an interface without an address"))?;
                if floating_ips::lead_to(tx, router, subnet_id).await? {
                    return Err(conflict(
                        "RouterInterfaceInUseByFloatingIP",
                        format!("Router interface for subnet {subnet_id} on router {router} cannot be deleted, as it is required by one or more floating IPs."),
                    ));
                }
                ports::remove(tx, cx, grant, &found).await?;
                check_next_hops(tx, &row).await.map_err(|error| match error.kind() {
                    Kind::BadRequest => conflict(
                        "RouterInterfaceInUseByRoute",
                        format!("Router interface for subnet {subnet_id} on router {router} cannot be deleted, as it is required by one or more routes."),
                    ),
                    _ => error,
                })?;
                wake(tx, cx, ROUTERS, &router.to_string()).await?;
                Ok(Interface { router: row, port: found, subnet_id })
            })
        })
        .await
}

async fn find(tx: &mut Tx<'_>, router: Uuid, subnet: Option<Uuid>, port: Option<Uuid>) -> Result<PortRow> {
    let ports = port_rows::of_device(tx, &router.to_string(), owner::INTERFACE).await?;
    let on = |row: &PortRow, subnet: Uuid| row.fixed_ips.iter().any(|fixed| fixed.subnet_id == subnet);
    let found = match (port, subnet) {
        (Some(port), subnet) => {
            let found = ports.into_iter().find(|row| row.standard.id == port).ok_or_else(|| {
                named(
                    Kind::NotFound,
                    "RouterInterfaceNotFound",
                    format!("Router {router} does not have an interface with id {port}"),
                )
            })?;
            if subnet.is_some_and(|subnet| !on(&found, subnet)) {
                return Err(conflict(
                    "RouterInterfaceSubnetMismatch",
                    format!("Subnet {} is not connected to port {port}.", subnet.unwrap_or_default()),
                ));
            }
            Some(found)
        }
        (None, Some(subnet)) => ports.into_iter().find(|row| on(row, subnet)),
        (None, None) => None,
    };
    found.ok_or_else(|| {
        named(
            Kind::NotFound,
            "RouterInterfaceNotFoundForSubnet",
            format!("Router {router} has no interface on subnet {}", subnet.unwrap_or_default()),
        )
    })
}
