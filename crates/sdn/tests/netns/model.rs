//! Models for tests, in few words.

use hanse_core::{Secret, Uuid};
use hanse_node::documents::{
    EtherType, FloatingIp, Gateway, GuestIdentity, MacAddress, Port, PortAddress, PortGroup, Remote, Router,
    RouterInterface, Rule, RuleDirection, Subnet, Switch,
};
use hanse_sdn::Model;

pub const TCP: u8 = 6;

/// Ids that differ in their first digits, as random ones do.
pub fn id(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) << 96 | u128::from(number))
}

pub fn mac(number: u8) -> MacAddress {
    MacAddress([0xfa, 0x16, 0x3e, 0, 0, number])
}

/// A network `10.0.x.0/24` with router `.1` and service `.2`, all ids from one number.
pub fn network(model: &mut Model, number: u8, prefix: &str) -> Uuid {
    let at = |tail: u8| format!("{prefix}.{tail}").parse().unwrap();
    let subnet = Subnet {
        id: id(number),
        cidr: format!("{prefix}.0/24").parse().unwrap(),
        gateway: Some(at(1)),
        dhcp: true,
        service_address: Some(at(2)),
        dns_servers: vec!["192.0.2.53".parse().unwrap()],
        host_routes: Vec::new(),
    };
    model.switches.insert(id(number), Switch { mtu: 1442, subnets: vec![subnet], external: false });
    id(number)
}

pub fn public_network(model: &mut Model, number: u8) -> Uuid {
    let id = network(model, number, "172.24.4");
    let switch = model.switches.get_mut(&id).unwrap();
    switch.external = true;
    switch.mtu = 1500;
    switch.subnets[0].dhcp = false;
    switch.subnets[0].service_address = None;
    id
}

/// A port with a guest of the same id behind it, in the groups given.
pub fn port(model: &mut Model, number: u8, switch_id: Uuid, address: &str, groups: &[Uuid]) -> Uuid {
    let port = Port {
        switch_id,
        mac: mac(number),
        addresses: vec![PortAddress { subnet_id: switch_id, address: address.parse().unwrap() }],
        guest_id: Some(id(number)),
        hostname: format!("guest-{number}"),
        admin_up: true,
        port_security: true,
        groups: groups.to_vec(),
        allowed_pairs: Vec::new(),
    };
    model.ports.insert(id(number), port);
    let guest = GuestIdentity {
        name: format!("guest-{number}"),
        hostname: format!("guest-{number}"),
        project_id: "p".to_owned(),
        availability_zone: "nova".to_owned(),
        flavor: "small".to_owned(),
        public_keys: Default::default(),
        metadata: Default::default(),
        user_data: Some(Secret::new(format!("secret of {number}").into_bytes())),
        network_data: "{}".to_owned(),
    };
    model.guests.insert(id(number), guest);
    id(number)
}

pub fn rule(direction: RuleDirection, protocol: Option<u8>, port: Option<u16>, remote: Remote) -> Rule {
    Rule { direction, ether_type: EtherType::Ipv4, protocol, port_min: port, port_max: port, remote }
}

pub fn ingress(protocol: Option<u8>, port: Option<u16>) -> Rule {
    rule(RuleDirection::Ingress, protocol, port, Remote::Any)
}

pub fn egress() -> Rule {
    rule(RuleDirection::Egress, None, None, Remote::Any)
}

pub fn group(model: &mut Model, number: u8, rules: Vec<Rule>) -> Uuid {
    model.port_groups.insert(id(number), PortGroup { rules });
    id(number)
}

/// A group that allows everything.
pub fn open_group(model: &mut Model, number: u8) -> Uuid {
    group(model, number, vec![egress(), ingress(None, None)])
}

/// A router at `.1` of each network, with a gateway on the public one if there is one.
pub fn router(
    model: &mut Model,
    number: u8,
    networks: &[(Uuid, &str)],
    public: Option<(Uuid, &str)>,
    floating: &[(&str, &str)],
) -> Uuid {
    let port = |index: usize| id(number + 1 + u8::try_from(index).unwrap());
    let mac = |index: usize| mac(number + 1 + u8::try_from(index).unwrap());
    let interface = |(index, (switch_id, prefix)): (usize, &(Uuid, &str))| RouterInterface {
        port_id: port(index),
        switch_id: *switch_id,
        mac: mac(index),
        address: format!("{prefix}.1/24").parse().unwrap(),
    };
    let gateway = public.map(|(switch_id, address)| Gateway {
        port_id: port(networks.len()),
        switch_id,
        mac: mac(networks.len()),
        address: format!("{address}/24").parse().unwrap(),
        next_hop: Some("172.24.4.1".parse().unwrap()),
        snat: true,
    });
    let floating = floating.iter().enumerate().map(|(index, (floating, fixed))| FloatingIp {
        id: id(200 + u8::try_from(index).unwrap()),
        floating: floating.parse().unwrap(),
        fixed: fixed.parse().unwrap(),
    });
    let router = Router {
        admin_up: true,
        interfaces: networks.iter().enumerate().map(interface).collect(),
        gateway,
        floating_ips: floating.collect(),
        routes: Vec::new(),
    };
    model.routers.insert(id(number), router);
    id(number)
}
