//! Subnets: ranges of addresses of a network.

use std::net::{IpAddr, Ipv4Addr};

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_web::Params;
use hanse_work::wake;

use crate::addresses::{
    check_gateway, check_name_servers, check_pools, check_routes, default_pools, no_ipv6, overlap, parse_cidr,
};
use crate::db::{networks, ports as port_rows, subnets as db};
use crate::error::{Noun, conflict, invalid};
use crate::listing::{Found, Listing};
use crate::model::{HostRoute, NetworkRow, Pool, SubnetRow, owner};
use crate::networks::{bulk_target, check_texts, standard};
use crate::ports::{self, claim::WantedIp};
use crate::quotas::{Resource, claim};
use crate::reconcile::{NETWORKS, ROUTERS};
use crate::{Network, verbs};

/// The gateway as a client may write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedGateway {
    /// The first address of the range.
    #[default]
    First,
    None,
    Address(IpAddr),
}

/// What a client says of a new subnet.
#[derive(Clone, Debug)]
pub struct NewSubnet {
    pub project_id: Option<String>,
    pub network_id: String,
    pub name: String,
    pub description: String,
    pub ip_version: i64,
    pub cidr: String,
    pub gateway: WantedGateway,
    pub enable_dhcp: bool,
    pub allocation_pools: Option<Vec<Pool>>,
    pub dns_nameservers: Vec<IpAddr>,
    pub host_routes: Vec<HostRoute>,
}

/// What a client changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    pub gateway: Option<WantedGateway>,
    pub enable_dhcp: Option<bool>,
    pub allocation_pools: Option<Vec<Pool>>,
    pub dns_nameservers: Option<Vec<IpAddr>>,
    pub host_routes: Option<Vec<HostRoute>>,
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<SubnetRow>> {
    let scope = caller.scope(verbs::SHOW_SUBNET)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<SubnetRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_SUBNET)?, Noun::Subnet.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::Subnet.missing(id))
}

fn gateway_of(cidr: ipnet::Ipv4Net, wanted: WantedGateway) -> Result<Option<Ipv4Addr>> {
    let gateway = match wanted {
        WantedGateway::None => return Ok(None),
        WantedGateway::First => Ipv4Addr::from(u32::from(cidr.network()) + 1),
        WantedGateway::Address(IpAddr::V4(address)) => address,
        WantedGateway::Address(IpAddr::V6(address)) => {
            return Err(invalid(format!("Gateway {address} is not an address of the subnet {cidr}.")));
        }
    };
    check_gateway(cidr, gateway)?;
    Ok(Some(gateway))
}

fn draft(cx: &Cx, new: &NewSubnet, network: &NetworkRow) -> Result<SubnetRow> {
    match new.ip_version {
        4 => {}
        6 => return Err(no_ipv6()),
        other => {
            return Err(invalid(format!(
                "Invalid input for ip_version. Reason: '{other}' is not in [4, 6]."
            )));
        }
    }
    let cidr = parse_cidr(&new.cidr)?;
    let gateway_ip = gateway_of(cidr, new.gateway)?;
    let allocation_pools = match &new.allocation_pools {
        Some(pools) => check_pools(cidr, gateway_ip, pools.clone())?,
        None => default_pools(cidr, gateway_ip),
    };
    let project = new.project_id.as_deref().unwrap_or(&network.standard.project_id);
    let row = SubnetRow {
        standard: standard(cx, project, &new.name, &new.description),
        network_id: network.standard.id,
        cidr,
        gateway_ip,
        enable_dhcp: new.enable_dhcp,
        allocation_pools,
        dns_nameservers: check_name_servers(&new.dns_nameservers)?,
        host_routes: check_routes(new.host_routes.clone())?,
    };
    check_texts(&row.standard)?;
    Ok(row)
}

pub async fn create(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    new: &[NewSubnet],
) -> Result<Vec<SubnetRow>> {
    let mut rows = Vec::new();
    for new in new {
        let parent = crate::networks::show(network, caller, &new.network_id).await?;
        let row = draft(cx, new, &parent)?;
        // Only the owner of a network gives it subnets, and only an admin gives them away.
        let target = Target::new(row.standard.id).in_project(&parent.standard.project_id);
        caller.authorize(cx, verbs::CREATE_SUBNET, target)?;
        rows.push(row);
    }
    let target = bulk_target(rows.iter().map(|row| &row.standard))?;
    let grant = &caller.authorize(cx, verbs::CREATE_SUBNET, target)?;
    let rows = &rows;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                for row in rows {
                    insert(tx, cx, grant, row).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(rows.clone())
}

/// Adds a checked subnet to its network, with the port of its DHCP service.
pub async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &SubnetRow) -> Result<()> {
    let id = row.network_id;
    let parent = networks::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Network.missing(id))?;
    for other in db::of_network(tx, id).await? {
        if overlap(other.cidr, row.cidr) {
            return Err(invalid(format!(
                "Requested subnet with cidr: {} for network: {id} overlaps with another subnet.",
                row.cidr
            )));
        }
    }
    claim(tx, &row.standard.project_id, Resource::Subnet, 1).await?;
    db::insert(tx, grant, row).await?;
    if row.enable_dhcp {
        add_service_port(tx, cx, grant, &parent, row).await?;
    }
    wake(tx, cx, NETWORKS, &id.to_string()).await
}

/// The address that the DHCP and metadata service of a subnet answers on. Taken from the pools; from outside of them
/// when they are full.
async fn add_service_port(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    parent: &NetworkRow,
    subnet: &SubnetRow,
) -> Result<()> {
    let address = match ports::claim::from_subnet(tx, subnet, &[]).await? {
        Some(address) => address,
        None => {
            let everywhere = SubnetRow {
                allocation_pools: default_pools(subnet.cidr, subnet.gateway_ip),
                ..subnet.clone()
            };
            let found = ports::claim::from_subnet(tx, &everywhere, &[]).await?;
            found.ok_or_else(|| ports::claim::exhausted(parent.standard.id))?
        }
    };
    let project = &parent.standard.project_id;
    let device = service_device(subnet.standard.id);
    let mut port = ports::draft(cx, cx.uuid(), project, parent.standard.id, owner::DHCP, &device);
    port.status = "ACTIVE".to_owned();
    let wish = ports::Wish {
        fixed_ips: Some(vec![WantedIp::exactly(subnet.standard.id, address)]),
        ..Default::default()
    };
    ports::place(tx, cx, grant, port, parent, &wish).await.map(drop)
}

/// `device_id` of the port of a subnet's DHCP service.
pub fn service_device(subnet: Uuid) -> String {
    format!("dhcp-{subnet}")
}

async fn remove_service_port(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, subnet: Uuid) -> Result<()> {
    for port in port_rows::of_device(tx, &service_device(subnet), owner::DHCP).await? {
        ports::remove(tx, cx, grant, &port).await?;
    }
    Ok(())
}

fn change_row(mut row: SubnetRow, change: &Change) -> Result<SubnetRow> {
    row.standard.name = change.name.clone().unwrap_or(row.standard.name);
    row.standard.description = change.description.clone().unwrap_or(row.standard.description);
    check_texts(&row.standard)?;
    if let Some(wanted) = change.gateway {
        row.gateway_ip = gateway_of(row.cidr, wanted)?;
    }
    if change.allocation_pools.is_some() || change.gateway.is_some() {
        let pools = change.allocation_pools.clone().unwrap_or(row.allocation_pools);
        row.allocation_pools = check_pools(row.cidr, row.gateway_ip, pools)?;
    }
    if let Some(servers) = &change.dns_nameservers {
        row.dns_nameservers = check_name_servers(servers)?;
    }
    if let Some(routes) = &change.host_routes {
        row.host_routes = check_routes(routes.clone())?;
    }
    row.enable_dhcp = change.enable_dhcp.unwrap_or(row.enable_dhcp);
    Ok(row)
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: &Change,
) -> Result<SubnetRow> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::UPDATE_SUBNET, target)?;
    let id = known.standard.id;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let missing = || Noun::Subnet.missing(id);
                let before = db::show(tx, &Scope::All, id).await?.ok_or_else(missing)?;
                let row = change_row(before.clone(), change)?;
                if let Some(old) = before.gateway_ip
                    && row.gateway_ip != before.gateway_ip
                    && let Some(holder) = db::holder(tx, id, old).await?
                    && port_rows::show(tx, &Scope::All, holder)
                        .await?
                        .is_some_and(|port| port.device_owner == owner::INTERFACE)
                {
                    return Err(conflict(
                        "GatewayIpInUse",
                        format!(
                            "Current gateway ip {old} already in use by port {holder}. Unable to update."
                        ),
                    ));
                }
                db::update(tx, cx, grant, &row).await?;
                if row.enable_dhcp != before.enable_dhcp {
                    let parent = networks::show(tx, &Scope::All, row.network_id).await?;
                    match parent.filter(|_| row.enable_dhcp) {
                        Some(parent) => add_service_port(tx, cx, grant, &parent, &row).await?,
                        None => remove_service_port(tx, cx, grant, id).await?,
                    }
                }
                wake(tx, cx, NETWORKS, &row.network_id.to_string()).await?;
                // The way out of routers leads over the gateway of an external subnet.
                for router in crate::db::routers::with_gateway_on(tx, row.network_id).await? {
                    wake(tx, cx, ROUTERS, &router.to_string()).await?;
                }
                db::show(tx, &Scope::All, id).await?.ok_or_else(missing)
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_SUBNET, target)?;
    let (id, parent) = (known.standard.id, known.network_id);
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::users(tx, id).await?.iter().any(|(_, device_owner)| device_owner != owner::DHCP) {
                    return Err(conflict(
                        "SubnetInUse",
                        format!("Unable to complete operation on subnet {id}: One or more ports have an IP allocation from this subnet."),
                    ));
                }
                remove_service_port(tx, cx, grant, id).await?;
                db::delete(tx, grant, id).await?;
                wake(tx, cx, NETWORKS, &parent.to_string()).await
            })
        })
        .await
}
