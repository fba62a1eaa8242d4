//! The ruleset of one router: address translation, and nothing between inside and outside without it.

use std::fmt::Write;

use super::elements;
use crate::plan::RouterPlan;

/// The whole ruleset of the router's namespace.
///
/// Connections under a floating IP are checked against the pairs of now with every packet, so that taking a
/// floating IP away ends them. A guest that speaks to another one's floating IP gets a translated source too
/// (its own floating IP, or the gateway's address), so that the answer comes back through the router.
pub fn compile(router: &RouterPlan) -> String {
    let mut text = String::from("flush ruleset\ntable ip hanse {\n");
    let inside = elements(router.legs.iter().map(|leg| leg.address.trunc()));
    let to_fixed = elements(router.floating.iter().map(|(floating, fixed)| format!("{floating} : {fixed}")));
    let pairs = elements(router.floating.iter().map(|(floating, fixed)| format!("{floating} . {fixed}")));
    // One fixed address may have several floating ones; it leaves under the first.
    let mut sources = router.floating.iter().collect::<Vec<_>>();
    sources.sort_by_key(|(_, fixed)| **fixed);
    sources.dedup_by_key(|(_, fixed)| **fixed);
    let to_floating = elements(sources.iter().map(|(floating, fixed)| format!("{fixed} : {floating}")));
    let _ = write!(
        text,
        "  set inside {{ type ipv4_addr; flags interval; {inside} }}
  map to_fixed {{ type ipv4_addr : ipv4_addr; {to_fixed} }}
  map to_floating {{ type ipv4_addr : ipv4_addr; {to_floating} }}
  set pairs {{ type ipv4_addr . ipv4_addr; {pairs} }}
  chain input {{
    type filter hook input priority 0; policy drop;
    ip protocol icmp accept
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    ip daddr 169.254.0.0/16 drop
    ct state invalid drop
"
    );
    let Some(gateway) = &router.gateway else {
        text.push_str("    accept\n  }\n}\n");
        return text;
    };
    let (out, address) = (&gateway.leg.inner, gateway.leg.address.addr());
    let _ = write!(
        text,
        "    ct status dnat ct original ip daddr . ct reply ip saddr != @pairs drop
    ct status snat ct reply ip daddr . ct original ip saddr != @pairs ct reply ip daddr != {address} drop
    ct state established,related accept
    iifname \"{out}\" ct status dnat accept
    iifname \"{out}\" drop
    oifname != \"{out}\" accept
    ip saddr @floating_sources accept
"
    );
    if gateway.snat {
        text.push_str("    accept\n");
    }
    let _ = write!(
        text,
        "  }}
  chain inbound {{
    type nat hook prerouting priority -100; policy accept;
    dnat to ip daddr map @to_fixed
  }}
  chain outbound {{
    type nat hook postrouting priority 100; policy accept;
    oifname \"{out}\" snat to ip saddr map @to_floating
    ct status dnat ip saddr @inside snat to ip saddr map @to_floating
"
    );
    if gateway.snat {
        let _ = write!(
            text,
            "    oifname \"{out}\" snat to {address}
    ct status dnat ip saddr @inside snat to {address}
"
        );
    }
    text.push_str("  }\n}\n");
    let fixed = elements(sources.iter().map(|(_, fixed)| fixed));
    text.replacen(
        "  chain input",
        &format!("  set floating_sources {{ type ipv4_addr; {fixed} }}\n  chain input"),
        1,
    )
}

#[cfg(test)]
mod tests {
    use hanse_node::documents::MacAddress;

    use super::*;
    use crate::plan::{GatewayPlan, Leg};

    fn leg(inner: &str, address: &str) -> Leg {
        Leg {
            outer: String::new(),
            inner: inner.to_owned(),
            bridge: String::new(),
            mtu: 1500,
            mac: MacAddress([2; 6]),
            address: address.parse().unwrap(),
        }
    }

    fn router(snat: bool) -> RouterPlan {
        let address = |text: &str| text.parse().unwrap();
        RouterPlan {
            namespace: String::new(),
            legs: vec![leg("in1", "10.0.0.1/24")],
            gateway: Some(GatewayPlan { leg: leg("gw1", "172.24.4.5/24"), next_hop: None, snat }),
            floating: [(address("172.24.4.9"), address("10.0.0.7"))].into(),
            routes: Default::default(),
        }
    }

    #[test]
    fn floating_ips_translate_both_ways_and_the_rest_leaves_under_the_gateway() {
        let text = compile(&router(true));
        for expected in [
            "map to_fixed { type ipv4_addr : ipv4_addr; elements = { 172.24.4.9 : 10.0.0.7 } }",
            "map to_floating { type ipv4_addr : ipv4_addr; elements = { 10.0.0.7 : 172.24.4.9 } }",
            "oifname \"gw1\" snat to 172.24.4.5",
            "ct status dnat ip saddr @inside snat to 172.24.4.5",
            "set inside { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 } }",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn without_source_translation_only_floating_ips_get_out() {
        let text = compile(&router(false));
        assert!(!text.contains("snat to 172.24.4.5"));
        assert!(text.contains("    ip saddr @floating_sources accept\n  }\n"));
        assert!(text.contains("policy drop"));
    }

    #[test]
    fn a_router_without_gateway_connects_its_networks() {
        let mut router = router(true);
        router.gateway = None;
        router.floating.clear();
        let text = compile(&router);
        assert!(text.contains("    accept\n") && !text.contains("nat hook"));
    }
}
