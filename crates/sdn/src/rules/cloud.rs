//! The ruleset of a cloud's bridges: anti-spoofing, security groups and the separation of tenants.
//!
//! Bridge hooks know the interface but, on many kernels, not the connection; IP hooks (reached through
//! br_netfilter) know the connection but not the interface. So the bridge chains check addresses and put the
//! port's number into the packet's mark, first of the port it came from, later of the port it goes to, and the
//! IP chains look up the port's rules by that mark. Mark 0 is what no rules apply to: routers, services and
//! ports without port security.
//!
//! Every bridge has a conntrack zone of its own, so that equal addresses in two networks do not meet.
//!
//! Packets in the original direction of a connection are always checked against the rules of now; only replies
//! pass because of the connection. A packet that is refused sets the connection's mark, and replies of a marked
//! connection are refused too. So a removed rule or a lost group membership ends running connections with their
//! next packet, whatever crashed in between, and nothing needs to be flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

use hanse_core::Uuid;
use hanse_node::documents::{EtherType, MacAddress, Remote, Rule, RuleDirection};
use ipnet::{IpNet, Ipv4Net};

use super::elements;
use crate::plan::{GroupPlan, Plan, PortPlan};

const ICMP: u8 = 1;
/// Protocols whose header starts with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// The whole ruleset of the namespace of bridges and taps. `zones` maps bridges to conntrack zones.
pub fn compile(plan: &Plan, zones: &BTreeMap<String, u16>) -> String {
    let mut text = String::from("flush ruleset\n");
    bridge_table(&mut text, plan);
    ip_table(&mut text, plan, zones);
    text
}

fn bridge_table(text: &mut String, plan: &Plan) {
    text.push_str("table bridge hanse {\n");
    for port in plan.ports.values() {
        if port.secured { secured_port(text, port) } else { open_port(text, port) }
    }
    let from = elements(plan.ports.values().map(|port| format!("\"{0}\" : goto from_{0}", port.tap)));
    let to = elements(plan.ports.values().map(|port| match port.secured {
        true => format!("\"{0}\" : goto to_{0}", port.tap),
        false => format!("\"{}\" : accept", port.tap),
    }));
    let _ = writeln!(text, "  map from {{ type ifname : verdict; {from} }}");
    let _ = writeln!(text, "  map to {{ type ifname : verdict; {to} }}");
    // A tap that is not listed is one that is about to go: it has no rules any more, so nothing passes.
    text.push_str(
        "  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    meta mark set 0
    iifname vmap @from
    iifname \"tap*\" drop
  }
  chain forward {
    type filter hook forward priority -300; policy accept;
    meta mark set 0
    oifname vmap @to
    oifname \"tap*\" drop
  }
}
",
    );
}

fn secured_port(text: &mut String, port: &PortPlan) {
    let mut sources: BTreeMap<MacAddress, Vec<Ipv4Net>> = BTreeMap::new();
    let own = port.addresses.iter().map(|(_, address)| (port.mac, Ipv4Net::from(*address)));
    for (mac, network) in own.chain(port.pairs.iter().copied()) {
        sources.entry(mac).or_default().push(network);
    }
    let ip = elements(sources_of(&sources).map(|(mac, network)| format!("{mac} . {network}")));
    // An ARP probe asks whether an address is free and so has no sender address yet.
    sources.entry(port.mac).or_default().push(Ipv4Addr::UNSPECIFIED.into());
    let arp = elements(sources_of(&sources).map(|(mac, network)| format!("{mac} . {mac} . {network}")));
    let macs = elements(sources.keys());
    let own = own_addresses(port);
    let tap = &port.tap;
    let mark = port.mark;
    let _ = write!(
        text,
        "  set mac_{tap} {{ type ether_addr; {macs} }}
  set arp_{tap} {{ type ether_addr . ether_addr . ipv4_addr; flags interval; {arp} }}
  set ip_{tap} {{ type ether_addr . ipv4_addr; flags interval; {ip} }}
  set own_{tap} {{ type ether_addr . ipv4_addr; {own} }}
  chain from_{tap} {{
    ether saddr != @mac_{tap} drop
    ether type arp ether saddr . arp saddr ether . arp saddr ip @arp_{tap} accept
    ether type != ip drop
    udp sport 67 drop
    meta mark set {mark:#010x}
    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
    ip daddr 169.254.169.254 ether saddr . ip saddr != @own_{tap} drop
    ether saddr . ip saddr @ip_{tap} accept
    drop
  }}
  chain to_{tap} {{
    meta pkttype != {{ broadcast, multicast }} ether daddr != @mac_{tap} drop
    ether type arp accept
    ether type != ip drop
    iifname \"sv*\" accept
    meta mark set {mark:#010x}
    accept
  }}
"
    );
}

/// What lies within another network is left out: nft refuses elements that overlap.
fn sources_of(sources: &BTreeMap<MacAddress, Vec<Ipv4Net>>) -> impl Iterator<Item = (MacAddress, Ipv4Net)> {
    sources.iter().flat_map(|(mac, networks)| Ipv4Net::aggregate(networks).into_iter().map(|it| (*mac, it)))
}

/// The metadata service tells guests by their address, so only its owner may speak to it under an address:
/// neither one who may use it as a pair, nor one without port security.
fn own_addresses(port: &PortPlan) -> String {
    elements(port.addresses.iter().map(|(_, address)| format!("{} . {address}", port.mac)))
}

/// Without port security all else passes.
fn open_port(text: &mut String, port: &PortPlan) {
    let tap = &port.tap;
    let own = own_addresses(port);
    let _ = write!(
        text,
        "  set own_{tap} {{ type ether_addr . ipv4_addr; {own} }}
  chain from_{tap} {{
    ip daddr 169.254.169.254 ether saddr . ip saddr != @own_{tap} drop
    accept
  }}
"
    );
}

fn ip_table(text: &mut String, plan: &Plan, zones: &BTreeMap<String, u16>) {
    text.push_str("table ip hanse {\n");
    let dhcp = service_addresses(plan).chain([Ipv4Addr::BROADCAST]);
    let _ = writeln!(text, "  set dhcp {{ type ipv4_addr; {} }}", elements(dhcp));
    text.push_str(
        "  chain admit {
    ct mark 1 ct mark set 0
    accept
  }
  chain refuse {
    ct state established ct mark set 1
    drop
  }
",
    );
    for (id, group) in &plan.groups {
        security_group(text, *id, group);
    }
    let secured = || plan.ports.values().filter(|port| port.secured);
    for port in secured() {
        for direction in ["out", "in"] {
            let _ = writeln!(text, "  chain {direction}_{} {{", port.tap);
            for group in &port.groups {
                let _ = writeln!(text, "    jump {direction}_{}", group.simple());
            }
            text.push_str("    goto refuse\n  }\n");
        }
    }
    for direction in ["out", "in"] {
        let ports = elements(secured().map(|it| format!("{:#010x} : goto {direction}_{}", it.mark, it.tap)));
        let _ = writeln!(text, "  map {direction} {{ type mark : verdict; {ports} }}");
    }
    let zones = elements(zones.iter().map(|(bridge, zone)| format!("\"{bridge}\" : {zone}")));
    // The guest's own service is always reachable, as everywhere in OpenStack.
    let _ = write!(
        text,
        "  map zones {{ typeof iifname : ct zone; {zones} }}
  chain zone {{
    type filter hook prerouting priority -300; policy accept;
    ct zone set iifname map @zones
  }}
  chain egress {{
    type filter hook prerouting priority 0; policy accept;
    meta mark 0 accept
    udp sport 68 udp dport 67 ip daddr @dhcp accept
    ip daddr 169.254.169.254 tcp dport 80 accept
    ct state invalid drop
    ct state related ct mark 0 accept
    ct direction reply ct mark 0 accept
    ct state related drop
    ct direction reply drop
    meta mark vmap @out
    drop
  }}
  chain ingress {{
    type filter hook forward priority 0; policy accept;
    meta mark 0 accept
    ct state invalid drop
    ct state related ct mark 0 accept
    ct direction reply ct mark 0 accept
    ct state related drop
    ct direction reply drop
    meta mark vmap @in
    drop
  }}
}}
"
    );
}

fn security_group(text: &mut String, id: Uuid, group: &GroupPlan) {
    let id = id.simple();
    let members = elements(&group.members);
    let _ = writeln!(text, "  set members_{id} {{ type ipv4_addr; flags interval; auto-merge; {members} }}");
    for (chain, direction) in [("out", RuleDirection::Egress), ("in", RuleDirection::Ingress)] {
        let _ = writeln!(text, "  chain {chain}_{id} {{");
        for rule in group.rules.iter().filter(|rule| rule.direction == direction) {
            if let Some(matches) = rule_matches(rule) {
                let _ = writeln!(text, "    {matches}goto admit");
            }
        }
        text.push_str("  }\n");
    }
}

/// What a packet must match, ending in a space. A rule that no IPv4 packet can satisfy gives nothing: it must
/// never come out wider than it was meant.
fn rule_matches(rule: &Rule) -> Option<String> {
    if rule.ether_type == EtherType::Ipv6 {
        return None;
    }
    let mut text = String::new();
    if let Some(protocol) = rule.protocol {
        let _ = write!(text, "ip protocol {protocol} ");
    }
    match (rule.protocol, rule.port_min, rule.port_max) {
        (_, None, None) => {}
        (Some(ICMP), kind, code) => {
            let (kind, code) = (kind?, code.map(u8::try_from).transpose().ok()?);
            let _ = write!(text, "icmp type {} ", u8::try_from(kind).ok()?);
            if let Some(code) = code {
                let _ = write!(text, "icmp code {code} ");
            }
        }
        (Some(protocol), min, max) if WITH_PORTS.contains(&protocol) => {
            let (min, max) = (min.or(max)?, max.or(min)?);
            if min > max {
                return None;
            }
            let _ = write!(text, "th dport {min}-{max} ");
        }
        _ => return None,
    }
    let side = match rule.direction {
        RuleDirection::Ingress => "saddr",
        RuleDirection::Egress => "daddr",
    };
    match rule.remote {
        Remote::Any => {}
        Remote::Prefix(IpNet::V4(network)) if network.prefix_len() == 0 => {}
        Remote::Prefix(IpNet::V4(network)) => {
            let _ = write!(text, "ip {side} {} ", network.trunc());
        }
        Remote::Prefix(IpNet::V6(_)) => return None,
        Remote::Group(id) => {
            let _ = write!(text, "ip {side} @members_{} ", id.simple());
        }
    }
    Some(text)
}

fn service_addresses(plan: &Plan) -> impl Iterator<Item = Ipv4Addr> {
    let services = plan.switches.values().filter_map(|switch| switch.service.as_ref());
    let all: BTreeSet<Ipv4Addr> =
        services.flat_map(|service| service.subnets.values().map(|subnet| subnet.service_address)).collect();
    all.into_iter()
}

#[cfg(test)]
#[path = "cloud_tests.rs"]
mod tests;
