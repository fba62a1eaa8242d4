//! From documents to devices: checks a [`Model`] and names everything that the node must have.
//!
//! Pure, so that the real and the simulated engine refuse the same things. What is refused does not get into the
//! [`Plan`]; it is reported as failed with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use hanse_core::Uuid;
use hanse_node::documents::{
    Gateway, Kind, MacAddress, Port, Remote, Router, RouterInterface, Rule, Subnet, Switch,
};
use hanse_node::reports::State;
use ipnet::{IpNet, Ipv4Net};

use crate::names::{self, CloudNames};
use crate::{Applied, Model};

/// The addresses under which a cloud is reachable from its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicRange {
    /// Such as 172.24.4.0/24: floating IPs and router gateways come from it.
    pub cidr: Ipv4Net,
    /// The host's own address in it, which external subnets name as their gateway.
    pub host_address: Ipv4Addr,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub switches: BTreeMap<Uuid, SwitchPlan>,
    pub ports: BTreeMap<Uuid, PortPlan>,
    pub routers: BTreeMap<Uuid, RouterPlan>,
    pub groups: BTreeMap<Uuid, GroupPlan>,
    pub applied: Applied,
}

#[derive(Debug)]
pub struct SwitchPlan {
    pub bridge: String,
    pub mtu: u16,
    /// Whether the host's veth is plugged in here.
    pub joins_host: bool,
    pub service: Option<ServicePlan>,
}

/// The DHCP and metadata service of one network.
#[derive(Debug)]
pub struct ServicePlan {
    pub namespace: String,
    pub outer: String,
    pub mac: MacAddress,
    pub subnets: BTreeMap<Uuid, SubnetPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetPlan {
    pub service_address: Ipv4Addr,
    pub cidr: Ipv4Net,
    pub dhcp: bool,
    pub gateway: Option<Ipv4Addr>,
    pub dns_servers: Vec<Ipv4Addr>,
    pub host_routes: Vec<(Ipv4Net, Ipv4Addr)>,
}

#[derive(Debug)]
pub struct PortPlan {
    pub switch_id: Uuid,
    pub bridge: String,
    pub tap: String,
    pub mark: u32,
    pub mtu: u16,
    pub up: bool,
    pub secured: bool,
    pub mac: MacAddress,
    pub addresses: Vec<(Uuid, Ipv4Addr)>,
    pub pairs: Vec<(MacAddress, Ipv4Net)>,
    pub groups: BTreeSet<Uuid>,
    pub guest_id: Option<Uuid>,
    pub hostname: String,
}

#[derive(Debug)]
pub struct RouterPlan {
    pub namespace: String,
    pub legs: Vec<Leg>,
    pub gateway: Option<GatewayPlan>,
    /// From floating to fixed address; only those that a gateway can serve.
    pub floating: BTreeMap<Ipv4Addr, Ipv4Addr>,
    pub routes: BTreeMap<Ipv4Net, Ipv4Addr>,
}

/// A veth from a bridge into a router.
#[derive(Debug)]
pub struct Leg {
    pub outer: String,
    pub inner: String,
    pub bridge: String,
    pub mtu: u16,
    pub mac: MacAddress,
    pub address: Ipv4Net,
}

#[derive(Debug)]
pub struct GatewayPlan {
    pub leg: Leg,
    pub next_hop: Option<Ipv4Addr>,
    pub snat: bool,
}

#[derive(Debug, Default)]
pub struct GroupPlan {
    pub members: BTreeSet<Ipv4Net>,
    pub rules: Vec<Rule>,
}

const NO_IPV6: &str = "the linux engine does not carry IPv6 yet; remove the IPv6 address";

/// Checks the model and lays out what the node must have.
pub fn compile(model: &Model, names: &CloudNames, public: &PublicRange) -> Plan {
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    let mut joined = None;
    for (id, switch) in &model.switches {
        let made = unique(&mut seen, *id).and_then(|()| plan_switch(*id, switch, names)).and_then(|made| {
            if switch.external { join(*id, made, switch, public, &mut joined) } else { Ok(made) }
        });
        settle(&mut plan.applied, Kind::Switch, *id, made, &mut plan.switches);
    }

    seen.clear();
    for (id, port) in &model.ports {
        let made = unique_mark(&mut seen, *id).and_then(|()| plan_port(*id, port, &plan.switches));
        settle(&mut plan.applied, Kind::Port, *id, made, &mut plan.ports);
    }

    let (mut routers, mut legs) = (BTreeSet::new(), BTreeSet::new());
    for (id, router) in &model.routers {
        if !router.admin_up {
            plan.applied.states.insert((Kind::Router, *id), State::Ready);
            continue;
        }
        let made = unique(&mut routers, *id)
            .and_then(|()| plan_router(names.router(*id), router, &plan.switches, &mut legs));
        settle(&mut plan.applied, Kind::Router, *id, made, &mut plan.routers);
    }

    for (id, group) in &model.port_groups {
        let members =
            plan.ports.values().filter(|port| port.groups.contains(id)).flat_map(PortPlan::networks);
        let made = GroupPlan { members: members.collect(), rules: group.rules.clone() };
        settle(&mut plan.applied, Kind::PortGroup, *id, Ok(made), &mut plan.groups);
    }
    // A group that is named but not known (yet) allows nothing and has no members.
    let named = plan.ports.values().flat_map(|port| port.groups.iter().copied());
    let remote =
        model.port_groups.values().flat_map(|group| &group.rules).filter_map(|rule| match rule.remote {
            Remote::Group(id) => Some(id),
            _ => None,
        });
    for id in named.chain(remote).collect::<BTreeSet<_>>() {
        plan.groups.entry(id).or_default();
    }
    plan
}

impl PortPlan {
    /// All addresses that the port may use as source.
    fn networks(&self) -> impl Iterator<Item = Ipv4Net> {
        let own = self.addresses.iter().map(|(_, address)| Ipv4Net::from(*address));
        own.chain(self.pairs.iter().map(|(_, network)| *network))
    }
}

/// Files what was made, or the reason why it was not.
fn settle<T>(
    applied: &mut Applied,
    kind: Kind,
    id: Uuid,
    made: Result<T, String>,
    into: &mut BTreeMap<Uuid, T>,
) {
    match made {
        Ok(made) => {
            applied.states.insert((kind, id), State::Ready);
            into.insert(id, made);
        }
        Err(reason) => applied.fail(kind, id, reason),
    }
}

fn unique(seen: &mut BTreeSet<String>, id: Uuid) -> Result<(), String> {
    let short = names::short(id);
    match seen.insert(short.clone()) {
        true => Ok(()),
        false => Err(format!("another object of this node already has an id that starts with {short}")),
    }
}

fn unique_mark(seen: &mut BTreeSet<String>, id: Uuid) -> Result<(), String> {
    let mark = names::mark(id);
    match mark != 0 && seen.insert(mark.to_string()) {
        true => Ok(()),
        false => Err(format!("another port of this node already has an id that starts with {mark:08x}")),
    }
}

fn v4(address: IpAddr) -> Result<Ipv4Addr, String> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(NO_IPV6.to_owned()),
    }
}

fn v4_net(network: IpNet) -> Result<Ipv4Net, String> {
    match network {
        IpNet::V4(network) => Ok(network),
        IpNet::V6(_) => Err(NO_IPV6.to_owned()),
    }
}

/// The kernel's own limits for a bridge that carries IPv4.
fn check_mtu(mtu: u16) -> Result<u16, String> {
    if mtu < 576 { Err(format!("an MTU of {mtu} is below 576, the least that IPv4 needs")) } else { Ok(mtu) }
}

fn plan_switch(id: Uuid, switch: &Switch, names: &CloudNames) -> Result<SwitchPlan, String> {
    let mut subnets = BTreeMap::new();
    for subnet in &switch.subnets {
        if let Some(plan) = plan_subnet(subnet)? {
            subnets.insert(subnet.id, plan);
        }
    }
    let service = (!subnets.is_empty()).then(|| ServicePlan {
        namespace: names.service(id),
        outer: names::service(id),
        mac: names::service_mac(id),
        subnets,
    });
    Ok(SwitchPlan { bridge: names::bridge(id), mtu: check_mtu(switch.mtu)?, joins_host: false, service })
}

fn plan_subnet(subnet: &Subnet) -> Result<Option<SubnetPlan>, String> {
    let cidr = v4_net(subnet.cidr)?;
    let Some(service_address) = subnet.service_address else {
        return match subnet.dhcp {
            true => Err(format!("subnet {} has DHCP but no service address", subnet.id)),
            false => Ok(None),
        };
    };
    let service_address = v4(service_address)?;
    if !cidr.contains(&service_address) {
        return Err(format!("the service address {service_address} is not in the subnet {cidr}"));
    }
    let host_routes =
        subnet.host_routes.iter().map(|route| Ok((v4_net(route.destination)?, v4(route.next_hop)?)));
    Ok(Some(SubnetPlan {
        service_address,
        cidr,
        dhcp: subnet.dhcp,
        gateway: subnet.gateway.map(v4).transpose()?,
        dns_servers: subnet.dns_servers.iter().copied().map(v4).collect::<Result<_, String>>()?,
        host_routes: host_routes.collect::<Result<_, String>>()?,
    }))
}

/// The one external network whose addresses are the public range is plugged into the host.
fn join(
    id: Uuid,
    mut made: SwitchPlan,
    switch: &Switch,
    public: &PublicRange,
    joined: &mut Option<Uuid>,
) -> Result<SwitchPlan, String> {
    if !switch.subnets.iter().any(|subnet| subnet.cidr == IpNet::V4(public.cidr.trunc())) {
        return Err(format!(
            "no subnet of this external network is {}, this node's public range",
            public.cidr
        ));
    }
    if let Some(other) = joined.replace(id) {
        return Err(format!("the public range {} already belongs to network {other}", public.cidr));
    }
    made.joins_host = true;
    Ok(made)
}

fn plan_port(id: Uuid, port: &Port, switches: &BTreeMap<Uuid, SwitchPlan>) -> Result<PortPlan, String> {
    let switch = known_switch(switches, port.switch_id)?;
    let addresses = port.addresses.iter().map(|it| Ok((it.subnet_id, v4(it.address)?)));
    let pairs = port.allowed_pairs.iter().map(|pair| Ok((pair.mac, v4_net(pair.address)?)));
    Ok(PortPlan {
        switch_id: port.switch_id,
        bridge: switch.bridge.clone(),
        tap: names::tap_name(id),
        mark: names::mark(id),
        mtu: switch.mtu,
        up: port.admin_up,
        secured: port.port_security,
        mac: unicast(port.mac)?,
        addresses: addresses.collect::<Result<_, String>>()?,
        pairs: pairs.collect::<Result<_, String>>()?,
        groups: port.groups.iter().copied().collect(),
        guest_id: port.guest_id,
        hostname: port.hostname.clone(),
    })
}

fn known_switch(switches: &BTreeMap<Uuid, SwitchPlan>, id: Uuid) -> Result<&SwitchPlan, String> {
    switches.get(&id).ok_or_else(|| format!("its network {id} is not on this node or has failed"))
}

fn unicast(mac: MacAddress) -> Result<MacAddress, String> {
    match mac.0[0] & 1 == 0 && mac.0 != [0; 6] {
        true => Ok(mac),
        false => Err(format!("{mac} is not the address of one interface")),
    }
}

fn plan_router(
    namespace: String,
    router: &Router,
    switches: &BTreeMap<Uuid, SwitchPlan>,
    seen: &mut BTreeSet<String>,
) -> Result<RouterPlan, String> {
    let mut legs: Vec<Leg> = Vec::new();
    for RouterInterface { port_id, switch_id, mac, address } in &router.interfaces {
        unique(seen, *port_id)?;
        let leg = plan_leg(*port_id, *switch_id, *mac, *address, false, switches)?;
        let network = leg.address.trunc();
        let clash = legs.iter().map(|other| other.address.trunc()).find(|other| overlap(*other, network));
        if let Some(other) = clash {
            return Err(format!("its interfaces overlap: {network} and {other}"));
        }
        legs.push(leg);
    }
    let gateway = match &router.gateway {
        None => None,
        Some(Gateway { port_id, switch_id, mac, address, next_hop, snat }) => {
            unique(seen, *port_id)?;
            let leg = plan_leg(*port_id, *switch_id, *mac, *address, true, switches)?;
            Some(GatewayPlan { leg, next_hop: next_hop.map(v4).transpose()?, snat: *snat })
        }
    };
    let mut floating = BTreeMap::new();
    for entry in &router.floating_ips {
        if gateway.is_none() {
            return Err(format!("floating IP {} needs a gateway", entry.floating));
        }
        floating.insert(v4(entry.floating)?, v4(entry.fixed)?);
    }
    let routes =
        router.routes.iter().map(|route| Ok((v4_net(route.destination)?.trunc(), v4(route.next_hop)?)));
    Ok(RouterPlan { namespace, legs, gateway, floating, routes: routes.collect::<Result<_, String>>()? })
}

fn plan_leg(
    port_id: Uuid,
    switch_id: Uuid,
    mac: MacAddress,
    address: IpNet,
    gateway: bool,
    switches: &BTreeMap<Uuid, SwitchPlan>,
) -> Result<Leg, String> {
    let switch = known_switch(switches, switch_id)?;
    let (outer, inner) = names::leg(port_id, gateway);
    Ok(Leg {
        outer,
        inner,
        bridge: switch.bridge.clone(),
        mtu: switch.mtu,
        mac: unicast(mac)?,
        address: v4_net(address)?,
    })
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
