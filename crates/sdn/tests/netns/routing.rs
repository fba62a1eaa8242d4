//! Routers, source translation, floating IPs and the uplink.

use hanse_node::documents::{FloatingIp, Route};
use hanse_sdn::{Model, Sdn};

use crate::host::{eventually, on_host, on_host_with, run, try_run};
use crate::model::{id, mac, network, open_group, port, public_network, router};
use crate::workload::{Server, host_connects, host_is_denied, host_reaches};

#[test]
fn guests_reach_other_networks_and_the_host_and_the_host_reaches_floating_ips() {
    on_host(|host| async move {
        let mut model = Model::default();
        let public = public_network(&mut model, 1);
        let one = network(&mut model, 2, "10.0.1");
        let two = network(&mut model, 3, "10.0.2");
        let all = open_group(&mut model, 9);
        let a = port(&mut model, 10, one, "10.0.1.5", &[all]);
        let b = port(&mut model, 11, two, "10.0.2.5", &[all]);
        let c = port(&mut model, 12, one, "10.0.1.6", &[all]);
        let networks = [(one, "10.0.1"), (two, "10.0.2")];
        let gateway = Some((public, "172.24.4.20"));
        let r = router(&mut model, 20, &networks, gateway, &[("172.24.4.30", "10.0.1.5")]);
        let [a, b, c] = host.start(&model, [a, b, c]).await;
        a.routes("10.0.1.1", "10.0.1.2");
        b.routes("10.0.2.1", "10.0.2.2");
        c.routes("10.0.1.1", "10.0.1.2");
        let seen = |text: &str| Some(text.parse().unwrap());

        assert!(a.pings("10.0.2.5"), "between two networks");
        assert!(a.pings("172.24.4.1") && b.pings("172.24.4.1"), "the host");
        let on_host = Server::start(8080);
        assert_eq!(b.reaches("172.24.4.1", 8080), seen("172.24.4.20"), "under the gateway's address");
        assert_eq!(a.reaches("172.24.4.1", 8080), seen("172.24.4.30"), "under its floating IP");

        let in_a = a.serve(80);
        assert!(try_run("ping -c2 -W2 172.24.4.30").0);
        assert_eq!(host_reaches("172.24.4.30", 80), seen("172.24.4.1"));
        // From inside: another network, the same network, and the guest itself.
        assert!(b.reaches("172.24.4.30", 80).is_some());
        assert!(c.reaches("172.24.4.30", 80).is_some());
        assert_eq!(a.reaches("172.24.4.30", 80), seen("172.24.4.30"));

        // Nothing without translation: neither in, nor out where translation is off.
        run("ip route add 10.0.1.0/24 via 172.24.4.20");
        assert!(host_is_denied("10.0.1.5", 80));
        model.routers.get_mut(&r).unwrap().gateway.as_mut().unwrap().snat = false;
        host.apply(&model).await;
        assert!(b.is_denied("172.24.4.1", 8080));
        assert!(a.reaches("172.24.4.1", 8080).is_some());
        model.routers.get_mut(&r).unwrap().gateway.as_mut().unwrap().snat = true;

        // A floating IP moves to another guest, and its connections end.
        let mut connection = host_connects("172.24.4.30", 80);
        let mut outward = a.connects("172.24.4.1", 8080);
        assert!(connection.echoes() && outward.echoes());
        let moved = FloatingIp {
            id: id(200),
            floating: "172.24.4.30".parse().unwrap(),
            fixed: "10.0.2.5".parse().unwrap(),
        };
        model.routers.get_mut(&r).unwrap().floating_ips = vec![moved];
        host.apply(&model).await;
        assert!(!connection.echoes(), "the old connection goes on");
        assert!(!outward.echoes(), "so does one from the inside");
        assert!(host_is_denied("172.24.4.30", 80), "the old guest");
        let in_b = b.serve(80);
        assert_eq!(host_reaches("172.24.4.30", 80), seen("172.24.4.1"));
        assert_eq!(a.reaches("172.24.4.1", 8080), seen("172.24.4.20"));

        // A route of the router's own: 10.9.0.0/16 is behind guest c.
        let route =
            Route { destination: "10.9.0.0/16".parse().unwrap(), next_hop: "10.0.1.6".parse().unwrap() };
        model.routers.get_mut(&r).unwrap().routes = vec![route];
        let pair =
            hanse_node::documents::AddressPair { mac: mac(12), address: "10.9.0.0/16".parse().unwrap() };
        model.ports.get_mut(&id(12)).unwrap().allowed_pairs = vec![pair];
        host.apply(&model).await;
        c.ip("addr add 10.9.1.1/32 dev lo");
        assert!(b.pings("10.9.1.1"));
        assert!(c.exec("ping -c2 -W2 -I 10.9.1.1 172.24.4.1").0, "what is behind a route gets out, too");

        model.routers.get_mut(&r).unwrap().admin_up = false;
        host.apply(&model).await;
        assert!(a.ping_fails("10.0.2.5"), "a router that is switched off");
        drop((on_host, in_a, in_b));
    });
}

#[test]
fn a_floating_ip_that_moves_to_another_router_is_found_there_at_once() {
    on_host(|host| async move {
        let mut model = Model::default();
        let public = public_network(&mut model, 1);
        let one = network(&mut model, 2, "10.0.1");
        let two = network(&mut model, 3, "10.0.1");
        let all = open_group(&mut model, 9);
        let a = port(&mut model, 10, one, "10.0.1.5", &[all]);
        let b = port(&mut model, 11, two, "10.0.1.5", &[all]);
        let floating = ("172.24.4.30", "10.0.1.5");
        let first = router(&mut model, 20, &[(one, "10.0.1")], Some((public, "172.24.4.20")), &[floating]);
        let second = router(&mut model, 30, &[(two, "10.0.1")], Some((public, "172.24.4.21")), &[]);
        let [a, b] = host.start(&model, [a, b]).await;
        a.routes("10.0.1.1", "10.0.1.2");
        b.routes("10.0.1.1", "10.0.1.2");
        let (in_a, in_b) = (a.serve(80), b.serve(81));
        assert!(host_reaches("172.24.4.30", 80).is_some());
        // The host has just learnt its MAC address, and would go on believing in it for a while.
        let known = || run(&format!("ip neigh show 172.24.4.30 dev hn{}", host.cloud));
        assert!(known().contains(&mac(22).to_string()));
        let floating = std::mem::take(&mut model.routers.get_mut(&first).unwrap().floating_ips);
        model.routers.get_mut(&second).unwrap().floating_ips = floating;
        host.apply(&model).await;
        eventually("the host hears of the new one", || known().contains(&mac(32).to_string()));
        assert!(host_reaches("172.24.4.30", 81).is_some());
        drop((in_a, in_b));
    });
}

/// The world: a namespace behind the host's interface `up0`.
fn world(cloud: &str) -> String {
    let world = format!("wl-{cloud}-world");
    run(&format!("ip netns add {world}"));
    run(&format!("ip link add up0 type veth peer name eth0 netns {world}"));
    run("ip addr add 198.51.100.1/24 dev up0");
    run("ip link set up0 up");
    run(&format!("ip -n {world} addr add 198.51.100.2/24 dev eth0"));
    run(&format!("ip -n {world} link set eth0 up"));
    world
}

#[test]
fn public_addresses_leave_through_the_uplink_if_there_is_one_and_else_not() {
    on_host_with(Some("up0"), |host| async move {
        let world = world(&host.cloud);
        let mut model = Model::default();
        let public = public_network(&mut model, 1);
        let lan = network(&mut model, 2, "10.0.1");
        let all = open_group(&mut model, 9);
        let a = port(&mut model, 10, lan, "10.0.1.5", &[all]);
        router(&mut model, 20, &[(lan, "10.0.1")], Some((public, "172.24.4.20")), &[]);
        let [a] = host.start(&model, [a]).await;
        a.routes("10.0.1.1", "10.0.1.2");
        let server = crate::host::within(&world, || Server::start(80));
        assert_eq!(a.reaches("198.51.100.2", 80), Some("198.51.100.1".parse().unwrap()));

        let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/up0/forwarding").unwrap();
        assert_eq!(forwarding().trim(), "1");
        host.sdn.teardown().await.unwrap();
        assert_eq!(forwarding().trim(), "0", "the uplink is as it was");
        drop(server);
    });
    on_host(|host| async move {
        let world = world(&host.cloud);
        let mut model = Model::default();
        let public = public_network(&mut model, 1);
        let lan = network(&mut model, 2, "10.0.1");
        let all = open_group(&mut model, 9);
        let a = port(&mut model, 10, lan, "10.0.1.5", &[all]);
        router(&mut model, 20, &[(lan, "10.0.1")], Some((public, "172.24.4.20")), &[]);
        let [a] = host.start(&model, [a]).await;
        a.routes("10.0.1.1", "10.0.1.2");
        // Even on a host that forwards for others, with a world that knows the way back.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        run(&format!("ip -n {world} route add 172.24.4.0/24 via 198.51.100.1"));
        let server = crate::host::within(&world, || Server::start(80));
        eventually("the host is reached", || a.pings("172.24.4.1"));
        assert!(a.is_denied("198.51.100.2", 80));
        drop(server);
    });
}
