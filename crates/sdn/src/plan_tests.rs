use hanse_node::documents::PortAddress;

use super::*;

const MAC: MacAddress = MacAddress([0xfa, 0x16, 0x3e, 0, 0, 1]);

fn id(tail: u128) -> Uuid {
    Uuid::from_u128(tail << 96 | tail)
}

fn public() -> PublicRange {
    PublicRange { cidr: "172.24.4.0/24".parse().unwrap(), host_address: "172.24.4.1".parse().unwrap() }
}

fn switch(cidr: &str, external: bool) -> Switch {
    let subnet = Subnet {
        id: id(9),
        cidr: cidr.parse().unwrap(),
        gateway: None,
        dhcp: false,
        service_address: None,
        dns_servers: Vec::new(),
        host_routes: Vec::new(),
    };
    Switch { mtu: 1500, subnets: vec![subnet], external }
}

fn port(switch_id: Uuid, address: &str) -> Port {
    Port {
        switch_id,
        mac: MAC,
        addresses: vec![PortAddress { subnet_id: id(9), address: address.parse().unwrap() }],
        guest_id: None,
        hostname: "a".to_owned(),
        admin_up: true,
        port_security: true,
        groups: vec![id(7)],
        allowed_pairs: Vec::new(),
    }
}

fn plan(model: &Model) -> Plan {
    compile(model, &CloudNames::new("abcdef").unwrap(), &public())
}

fn reason(plan: &Plan, kind: Kind, id: Uuid) -> &str {
    match &plan.applied.states[&(kind, id)] {
        State::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_made_is_named_and_does_not_hold_up_the_rest() {
    let mut model = Model::default();
    model.switches.insert(id(1), switch("10.0.0.0/24", false));
    model.switches.insert(id(2), switch("fd00::/64", false));
    model.ports.insert(id(3), port(id(1), "10.0.0.5"));
    model.ports.insert(id(4), port(id(2), "10.0.0.5"));
    model.ports.insert(id(5), port(id(1), "fd00::5"));
    let plan = plan(&model);
    assert_eq!(plan.applied.states[&(Kind::Port, id(3))], State::Ready);
    assert!(reason(&plan, Kind::Switch, id(2)).contains("IPv6"));
    assert!(reason(&plan, Kind::Port, id(4)).contains("is not on this node"));
    assert!(reason(&plan, Kind::Port, id(5)).contains("IPv6"));
    assert_eq!(plan.ports.len(), 1);
}

#[test]
fn ids_that_would_share_a_name_or_a_mark_are_refused() {
    let mut model = Model::default();
    model.switches.insert(id(1), switch("10.0.0.0/24", false));
    let twin = Uuid::from_u128(id(3).as_u128() + 1);
    model.ports.insert(id(3), port(id(1), "10.0.0.5"));
    model.ports.insert(twin, port(id(1), "10.0.0.6"));
    model.ports.insert(Uuid::from_u128(5), port(id(1), "10.0.0.7"));
    let plan = plan(&model);
    assert_eq!(plan.ports.keys().collect::<Vec<_>>(), [&id(3)]);
    assert!(reason(&plan, Kind::Port, twin).contains("already has an id"));
    assert!(reason(&plan, Kind::Port, Uuid::from_u128(5)).contains("00000000"));
}

#[test]
fn only_the_first_network_with_the_public_range_joins_the_host() {
    let mut model = Model::default();
    model.switches.insert(id(1), switch("172.24.4.0/24", true));
    model.switches.insert(id(2), switch("172.24.4.0/24", true));
    model.switches.insert(id(3), switch("192.0.2.0/24", true));
    let plan = plan(&model);
    assert!(plan.switches[&id(1)].joins_host);
    assert!(reason(&plan, Kind::Switch, id(2)).contains("already belongs"));
    assert!(reason(&plan, Kind::Switch, id(3)).contains("public range"));
}

#[test]
fn an_unknown_group_allows_nothing_and_members_are_counted_over_all_networks() {
    let mut model = Model::default();
    model.switches.insert(id(1), switch("10.0.0.0/24", false));
    model.switches.insert(id(2), switch("10.0.0.0/24", false));
    model.ports.insert(id(3), port(id(1), "10.0.0.5"));
    model.ports.insert(id(4), port(id(2), "10.0.0.6"));
    let plan = plan(&model);
    assert!(plan.groups[&id(7)].rules.is_empty());
    model.port_groups.insert(id(7), Default::default());
    let members = &compile(&model, &CloudNames::new("abcdef").unwrap(), &public()).groups[&id(7)].members;
    assert_eq!(members.len(), 2);
}

#[test]
fn a_router_with_overlapping_networks_is_refused() {
    let mut model = Model::default();
    model.switches.insert(id(1), switch("10.0.0.0/24", false));
    let interface = |port: u128, address: &str| RouterInterface {
        port_id: id(port),
        switch_id: id(1),
        mac: MAC,
        address: address.parse().unwrap(),
    };
    let interfaces = vec![interface(3, "10.0.0.1/24"), interface(4, "10.0.0.129/25")];
    let mut router =
        Router { admin_up: true, interfaces, gateway: None, floating_ips: Vec::new(), routes: Vec::new() };
    model.routers.insert(id(5), router.clone());
    assert!(reason(&plan(&model), Kind::Router, id(5)).contains("overlap"));

    router.admin_up = false;
    model.routers.insert(id(5), router);
    let plan = plan(&model);
    assert!(
        plan.applied.is_complete() && plan.routers.is_empty(),
        "a router that is switched off is not there"
    );
}
