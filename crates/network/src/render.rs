//! From rows to the documents that nodes act on: always the whole of one object.

use std::net::IpAddr;

use hanse_core::{Result, Uuid};
use hanse_node::documents::{
    AddressPair, EtherType as DocumentEtherType, FloatingIp, Gateway, Port, PortAddress, PortGroup, Remote,
    Route, Router, RouterInterface, Rule, RuleDirection, Spec, Subnet, Switch,
};
use hanse_policy::Scope;
use hanse_store::Conn;
use ipnet::{IpNet, Ipv4Net};

use crate::addresses::parse_network;
use crate::db;
use crate::model::{Direction, EtherType, FixedIp, HostRoute, PortRow, RuleRow, SubnetRow, owner};

fn routes(routes: &[HostRoute]) -> Vec<Route> {
    let route = |route: &HostRoute| Route { destination: route.destination, next_hop: route.nexthop.into() };
    routes.iter().map(route).collect()
}

fn port(value: Option<u32>) -> Option<u16> {
    value.and_then(|value| u16::try_from(value).ok())
}

pub async fn switch(conn: &mut Conn, id: Uuid) -> Result<Option<Spec>> {
    let Some(network) = db::networks::show(conn, &Scope::All, id).await? else { return Ok(None) };
    let mut subnets = Vec::new();
    let devices: Vec<String> =
        network.subnets.iter().map(|subnet| crate::subnets::service_device(*subnet)).collect();
    let services = db::ports::of_devices(conn, &devices).await?;
    for subnet in db::subnets::of_network(conn, id).await? {
        let service = services
            .iter()
            .filter(|port| port.device_owner == owner::DHCP)
            .flat_map(|port| &port.fixed_ips)
            .find(|fixed| fixed.subnet_id == subnet.standard.id);
        subnets.push(Subnet {
            id: subnet.standard.id,
            cidr: IpNet::V4(subnet.cidr),
            gateway: subnet.gateway_ip.map(IpAddr::V4),
            dhcp: subnet.enable_dhcp,
            service_address: service.map(|fixed| IpAddr::V4(fixed.ip_address)),
            dns_servers: subnet.dns_nameservers.iter().copied().map(IpAddr::V4).collect(),
            host_routes: routes(&subnet.host_routes),
        });
    }
    let mtu = u16::try_from(network.mtu).unwrap_or(u16::MAX);
    Ok(Some(Spec::Switch(Switch { mtu, subnets, external: network.external })))
}

/// The port that a guest is plugged into, and the node that it is on. Other ports are no document of their own.
pub async fn bound_port(conn: &mut Conn, id: Uuid) -> Result<Option<(String, Spec)>> {
    let Some(row) = db::ports::show(conn, &Scope::All, id).await? else { return Ok(None) };
    if row.guest_id.is_none() || row.host.is_empty() {
        return Ok(None);
    }
    let network = db::networks::show(conn, &Scope::All, row.network_id).await?;
    let network_up = network.is_some_and(|network| network.admin_state_up);
    let pairs = row.allowed_address_pairs.iter().filter_map(|pair| {
        Some(AddressPair { mac: pair.mac_address, address: parse_network(&pair.ip_address)? })
    });
    let address =
        |fixed: &FixedIp| PortAddress { subnet_id: fixed.subnet_id, address: fixed.ip_address.into() };
    let spec = Port {
        switch_id: row.network_id,
        mac: row.mac_address,
        addresses: row.fixed_ips.iter().map(address).collect(),
        guest_id: row.guest_id,
        hostname: row.hostname.clone(),
        admin_up: row.admin_state_up && network_up,
        port_security: row.port_security_enabled,
        groups: row.security_groups.clone(),
        allowed_pairs: pairs.collect(),
    };
    Ok(Some((row.host, Spec::Port(spec))))
}

/// An address with the prefix length of its subnet.
fn in_subnet(subnets: &[SubnetRow], fixed: &FixedIp) -> Option<IpNet> {
    let subnet = subnets.iter().find(|subnet| subnet.standard.id == fixed.subnet_id)?;
    Ipv4Net::new(fixed.ip_address, subnet.cidr.prefix_len()).ok().map(IpNet::V4)
}

pub async fn router(conn: &mut Conn, id: Uuid) -> Result<Option<Spec>> {
    let Some(row) = db::routers::show(conn, &Scope::All, id).await? else { return Ok(None) };
    let device = [id.to_string()];
    let ports: Vec<PortRow> = db::ports::of_devices(conn, &device).await?;
    let used: Vec<Uuid> =
        ports.iter().flat_map(|port| &port.fixed_ips).map(|fixed| fixed.subnet_id).collect();
    let subnets = db::subnets::by_ids(conn, &used).await?;
    let mut interfaces = Vec::new();
    let mut gateway = None;
    for port in &ports {
        let (port_id, switch_id, mac) = (port.standard.id, port.network_id, port.mac_address);
        for fixed in &port.fixed_ips {
            let Some(address) = in_subnet(&subnets, fixed) else { continue };
            if port.device_owner == owner::INTERFACE {
                interfaces.push(RouterInterface { port_id, switch_id, mac, address });
            } else if Some(port_id) == row.gateway_port_id && gateway.is_none() {
                let subnet = subnets.iter().find(|subnet| subnet.standard.id == fixed.subnet_id);
                let next_hop = subnet.and_then(|subnet| subnet.gateway_ip).map(IpAddr::V4);
                gateway = Some(Gateway { port_id, switch_id, mac, address, next_hop, snat: row.enable_snat });
            }
        }
    }
    let floating_ips = db::floating_ips::of_router(conn, id).await?;
    let floating_ips = floating_ips.iter().filter_map(|row| {
        let (id, floating) = (row.standard.id, IpAddr::V4(row.floating_ip_address));
        Some(FloatingIp { id, floating, fixed: row.fixed_ip_address?.into() })
    });
    Ok(Some(Spec::Router(Router {
        admin_up: row.admin_state_up,
        interfaces,
        gateway,
        floating_ips: floating_ips.collect(),
        routes: routes(&row.routes),
    })))
}

/// A group, as long as it guards a guest: nodes need not know of others.
pub async fn port_group(conn: &mut Conn, id: Uuid) -> Result<Option<Spec>> {
    if !db::security_groups::guards_guests(conn, id).await? {
        return Ok(None);
    }
    let Some(group) = db::security_groups::show(conn, &Scope::All, id).await? else { return Ok(None) };
    Ok(Some(Spec::PortGroup(PortGroup { rules: group.rules.iter().map(rule).collect() })))
}

fn rule(row: &RuleRow) -> Rule {
    Rule {
        direction: match row.direction {
            Direction::Ingress => RuleDirection::Ingress,
            Direction::Egress => RuleDirection::Egress,
        },
        ether_type: match row.ethertype {
            EtherType::Ipv4 => DocumentEtherType::Ipv4,
            EtherType::Ipv6 => DocumentEtherType::Ipv6,
        },
        protocol: row.protocol_number(),
        port_min: port(row.port_range_min),
        port_max: port(row.port_range_max),
        remote: match (row.remote_ip_prefix, row.remote_group_id) {
            (Some(prefix), _) => Remote::Prefix(prefix.trunc()),
            (None, Some(group)) => Remote::Group(group),
            (None, None) => Remote::Any,
        },
    }
}
