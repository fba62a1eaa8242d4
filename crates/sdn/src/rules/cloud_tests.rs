use super::*;

fn rule(edit: impl FnOnce(&mut Rule)) -> Option<String> {
    let mut rule = Rule {
        direction: RuleDirection::Ingress,
        ether_type: EtherType::Ipv4,
        protocol: None,
        port_min: None,
        port_max: None,
        remote: Remote::Any,
    };
    edit(&mut rule);
    rule_matches(&rule)
}

#[test]
fn a_rule_becomes_what_a_packet_must_match() {
    assert_eq!(rule(|_| {}).unwrap(), "");
    let web = rule(|it| (it.protocol, it.port_min, it.port_max) = (Some(6), Some(80), Some(90)));
    assert_eq!(web.unwrap(), "ip protocol 6 th dport 80-90 ");
    let ping = rule(|it| (it.protocol, it.port_min, it.port_max) = (Some(1), Some(8), Some(0)));
    assert_eq!(ping.unwrap(), "ip protocol 1 icmp type 8 icmp code 0 ");
    let prefix = rule(|it| {
        it.direction = RuleDirection::Egress;
        it.remote = Remote::Prefix("10.0.0.9/24".parse().unwrap());
    });
    assert_eq!(prefix.unwrap(), "ip daddr 10.0.0.0/24 ");
    let group = rule(|it| it.remote = Remote::Group(Uuid::nil()));
    assert_eq!(group.unwrap(), "ip saddr @members_00000000000000000000000000000000 ");
}

#[test]
fn a_rule_that_no_packet_can_satisfy_never_comes_out_wider() {
    assert_eq!(rule(|it| it.ether_type = EtherType::Ipv6), None);
    assert_eq!(rule(|it| it.remote = Remote::Prefix("fd00::/8".parse().unwrap())), None);
    assert_eq!(rule(|it| it.port_min = Some(80)), None, "ports without a protocol");
    assert_eq!(rule(|it| (it.protocol, it.port_min) = (Some(47), Some(80))), None, "GRE has no ports");
    let swapped = |it: &mut Rule| (it.protocol, it.port_min, it.port_max) = (Some(6), Some(9), Some(8));
    assert_eq!(rule(swapped), None);
    assert_eq!(rule(|it| (it.protocol, it.port_min) = (Some(1), Some(256))), None, "no such ICMP type");
    assert_eq!(rule(|it| (it.protocol, it.port_max) = (Some(1), Some(0))), None, "a code without a type");
}

fn port() -> PortPlan {
    PortPlan {
        switch_id: Uuid::nil(),
        bridge: "br0".to_owned(),
        tap: "tapa".to_owned(),
        mark: 0xa1,
        mtu: 1500,
        up: true,
        secured: true,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        addresses: vec![(Uuid::nil(), Ipv4Addr::new(10, 0, 0, 5))],
        pairs: vec![(MacAddress([2, 0, 0, 0, 0, 1]), "10.0.0.0/16".parse().unwrap())],
        groups: [Uuid::nil()].into(),
        guest_id: None,
        hostname: String::new(),
    }
}

#[test]
fn a_secured_port_sends_and_receives_under_its_own_addresses_only() {
    let mut text = String::new();
    secured_port(&mut text, &port());
    let expected = "  set mac_tapa { type ether_addr; elements = { 02:00:00:00:00:01 } }
  set arp_tapa { type ether_addr . ether_addr . ipv4_addr; flags interval; elements = { \
02:00:00:00:00:01 . 02:00:00:00:00:01 . 0.0.0.0/32, 02:00:00:00:00:01 . 02:00:00:00:00:01 . 10.0.0.0/16 } }
  set ip_tapa { type ether_addr . ipv4_addr; flags interval; elements = { 02:00:00:00:00:01 . 10.0.0.0/16 } }
  set own_tapa { type ether_addr . ipv4_addr; elements = { 02:00:00:00:00:01 . 10.0.0.5 } }
  chain from_tapa {
    ether saddr != @mac_tapa drop
    ether type arp ether saddr . arp saddr ether . arp saddr ip @arp_tapa accept
    ether type != ip drop
    udp sport 67 drop
    meta mark set 0x000000a1
    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
    ip daddr 169.254.169.254 ether saddr . ip saddr != @own_tapa drop
    ether saddr . ip saddr @ip_tapa accept
    drop
  }
  chain to_tapa {
    meta pkttype != { broadcast, multicast } ether daddr != @mac_tapa drop
    ether type arp accept
    ether type != ip drop
    iifname \"sv*\" accept
    meta mark set 0x000000a1
    accept
  }
";
    assert_eq!(text, expected);
}

#[test]
fn a_port_is_let_through_by_its_groups_and_else_refused() {
    let mut plan = Plan::default();
    plan.ports.insert(Uuid::nil(), port());
    plan.groups.insert(Uuid::nil(), GroupPlan::default());
    let text = compile(&plan, &BTreeMap::from([("br0".to_owned(), 7)]));
    for expected in [
        "flush ruleset\n",
        "  chain in_tapa {\n    jump in_00000000000000000000000000000000\n    goto refuse\n  }\n",
        "map out { type mark : verdict; elements = { 0x000000a1 : goto out_tapa } }",
        "map zones { typeof iifname : ct zone; elements = { \"br0\" : 7 } }",
        "map from { type ifname : verdict; elements = { \"tapa\" : goto from_tapa } }",
        "    iifname \"tap*\" drop\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }

    plan.ports.values_mut().for_each(|port| port.secured = false);
    let text = compile(&plan, &BTreeMap::new());
    assert!(text.contains("map to { type ifname : verdict; elements = { \"tapa\" : accept } }"));
    assert!(text.contains("map out { type mark : verdict;  }"), "no rules without port security");
    assert!(text.contains("ip daddr 169.254.169.254 ether saddr . ip saddr != @own_tapa drop"));
}
