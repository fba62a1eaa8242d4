//! What a guest must not do, and tenants that must not meet.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use hanse_node::documents::AddressPair;
use hanse_sdn::Model;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::host::{eventually, on_host, within};
use crate::model::{mac, network, open_group, port};
use crate::workload::Workload;

/// Sends from `sender`, then as itself with `marker`; returns what arrives first. A packet that is dropped thus
/// needs no waiting to be missed.
fn first_of(receiver: &UdpSocket, forged: impl FnOnce(), honest: impl Fn()) -> String {
    forged();
    honest();
    let mut buffer = [0; 64];
    let (length, _) = receiver.recv_from(&mut buffer).expect("not even the honest packet arrived");
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    if text == "forged" {
        let _ = receiver.recv_from(&mut buffer);
    }
    text
}

fn send(workload: &Workload, from: &str, to: &str, text: &str) {
    within(&workload.namespace, || {
        let socket = UdpSocket::bind(from).unwrap();
        socket.send_to(text.as_bytes(), to).unwrap();
    });
}

#[test]
fn a_guest_cannot_speak_under_an_address_that_is_not_its_own() {
    on_host(|host| async move {
        let mut model = Model::default();
        let lan = network(&mut model, 1, "10.0.0");
        let all = open_group(&mut model, 9);
        let a = port(&mut model, 10, lan, "10.0.0.5", &[all]);
        let b = port(&mut model, 11, lan, "10.0.0.6", &[all]);
        let [evil, victim] = host.start(&model, [a, b]).await;
        assert!(evil.pings("10.0.0.6"));
        // From here on nobody needs ARP, so that it is the packets that are judged.
        evil.ip(&format!("neigh replace 10.0.0.6 lladdr {} dev eth0", mac(11)));
        let receiver = victim.udp(9999);
        let honest = || send(&evil, "10.0.0.5:0", "10.0.0.6:9999", "honest");

        evil.ip("addr add 10.0.0.99/24 dev eth0");
        let forged_ip = || send(&evil, "10.0.0.99:0", "10.0.0.6:9999", "forged");
        assert_eq!(first_of(&receiver, forged_ip, honest), "honest", "source address");

        let forged_mac = || {
            evil.ip(&format!("link set eth0 address {}", mac(99)));
            send(&evil, "10.0.0.5:0", "10.0.0.6:9999", "forged");
            evil.ip(&format!("link set eth0 address {}", mac(10)));
            evil.ip(&format!("neigh replace 10.0.0.6 lladdr {} dev eth0", mac(11)));
        };
        assert_eq!(first_of(&receiver, forged_mac, honest), "honest", "MAC address");

        let client = victim.udp(68);
        let forged_dhcp = || send(&evil, "10.0.0.5:67", "10.0.0.6:68", "forged");
        let honest_to_68 = || send(&evil, "10.0.0.5:6767", "10.0.0.6:68", "honest");
        assert_eq!(first_of(&client, forged_dhcp, honest_to_68), "honest", "a DHCP server of its own");

        // A DHCP client has no address yet, but it has a MAC address.
        let server = victim.udp(67);
        evil.ip("addr flush dev eth0");
        evil.ip("route add default dev eth0");
        let discover = |text: &str| {
            let send = || {
                let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
                socket.set_broadcast(true).unwrap();
                socket.send_to(text.as_bytes(), "255.255.255.255:67").unwrap();
            };
            within(&evil.namespace, send);
        };
        let forged_client = || {
            evil.ip(&format!("link set eth0 address {}", mac(99)));
            discover("forged");
            evil.ip(&format!("link set eth0 address {}", mac(10)));
        };
        assert_eq!(first_of(&server, forged_client, || discover("honest")), "honest", "a DHCP client's MAC");
        evil.ip("route flush dev eth0");
        evil.ip("addr add 10.0.0.5/24 dev eth0");
        evil.ip("addr add 10.0.0.99/24 dev eth0");
        evil.ip(&format!("neigh replace 10.0.0.6 lladdr {} dev eth0", mac(11)));

        assert!(victim.ping_fails("10.0.0.99"), "an ARP answer for a foreign address");
        eventually("ARP gives up", || victim.ip("neigh show 10.0.0.99").contains("FAILED"));

        // An address that the port may use besides its own, and a port without any such checks.
        let pair = AddressPair { mac: mac(10), address: "10.0.0.99/32".parse().unwrap() };
        model.ports.get_mut(&a).unwrap().allowed_pairs = vec![pair];
        host.apply(&model).await;
        assert!(victim.pings("10.0.0.99"));
        assert_eq!(first_of(&receiver, forged_ip, honest), "forged");

        let port = model.ports.get_mut(&a).unwrap();
        port.allowed_pairs.clear();
        port.port_security = false;
        host.apply(&model).await;
        assert_eq!(first_of(&receiver, forged_ip, honest), "forged");

        model.ports.get_mut(&a).unwrap().admin_up = false;
        host.apply(&model).await;
        assert!(victim.ping_fails("10.0.0.5"), "a port that is switched off");
        model.ports.get_mut(&a).unwrap().admin_up = true;
        host.apply(&model).await;
        assert!(victim.pings("10.0.0.5"));
    });
}

#[test]
fn two_tenants_with_the_same_addresses_both_work_and_do_not_meet() {
    on_host(|host| async move {
        let mut model = Model::default();
        let one = network(&mut model, 1, "10.0.0");
        let two = network(&mut model, 2, "10.0.0");
        let all = open_group(&mut model, 9);
        let a1 = port(&mut model, 10, one, "10.0.0.5", &[all]);
        let b1 = port(&mut model, 11, one, "10.0.0.6", &[all]);
        let a2 = port(&mut model, 12, two, "10.0.0.5", &[all]);
        let b2 = port(&mut model, 13, two, "10.0.0.6", &[]);
        let c2 = port(&mut model, 14, two, "10.0.0.7", &[all]);
        let [a1, b1, a2, b2, c2] = host.start(&model, [a1, b1, a2, b2, c2]).await;

        // The bridge takes a moment to open its ports; what is sent before proves nothing.
        assert!(a1.pings("10.0.0.6") && c2.pings("10.0.0.5"));
        let in_one = b1.udp(9999);
        let in_two = b2.udp(9999);
        // The same ports at both ends too: but for its zone this is one connection.
        send(&a1, "10.0.0.5:1234", "10.0.0.6:9999", "from one");
        let mut buffer = [0; 64];
        let (length, _) = in_one.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"from one");
        // In the first network the answer is allowed because of the question, in the second there was none and
        // no rule allows it.
        let listening = a2.udp(1234);
        b2.ip(&format!("neigh replace 10.0.0.5 lladdr {} dev eth0", mac(12)));
        let no_answer = || assert_eq!(in_two.send_to(b"forged", "10.0.0.5:1234").unwrap(), 6);
        let honest = || send(&c2, "10.0.0.7:0", "10.0.0.5:1234", "honest");
        assert_eq!(first_of(&listening, no_answer, honest), "honest");

        // Nobody in the first network is at an address that only the second has.
        assert!(a1.ping_fails("10.0.0.7"));
        let servers = (b1.serve(80), c2.serve(80));
        eventually("both serve at once", || {
            a1.reaches("10.0.0.6", 80).is_some() && a2.reaches("10.0.0.7", 80).is_some()
        });
        assert!(a1.is_denied("10.0.0.7", 80));
        drop(servers);
    });
}

#[test]
fn a_guest_sees_no_frames_for_others_and_no_ipv6_passes() {
    on_host(|host| async move {
        let mut model = Model::default();
        let lan = network(&mut model, 1, "10.0.0");
        let all = open_group(&mut model, 9);
        let ports = [(10, "10.0.0.5"), (11, "10.0.0.6"), (12, "10.0.0.7")]
            .map(|(number, address)| port(&mut model, number, lan, address, &[all]));
        let [a, b, c] = host.start(&model, ports).await;
        // The bridge takes a moment to open its ports; what is sent before proves nothing.
        assert!(a.pings("10.0.0.6") && a.pings("10.0.0.7"));
        // To a MAC address that the bridge has never seen, so that it floods, and c takes every frame.
        let sniffer = within(&c.namespace, || {
            let all = SockProtocol::EthAll;
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), all).unwrap()
        });
        setsockopt(&sniffer, ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
        a.ip(&format!("neigh replace 10.0.0.66 lladdr {} dev eth0", mac(66)));
        send(&a, "10.0.0.5:0", "10.0.0.66:9999", "forged");
        send(&a, "10.0.0.5:0", "10.0.0.7:9999", "honest");
        let mut buffer = [0; 2048];
        loop {
            let length = recv(sniffer.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
            assert!(!buffer[..length].ends_with(b"forged"), "a frame for somebody else");
            if buffer[..length].ends_with(b"honest") {
                break;
            }
        }

        for (workload, address) in [(&a, "fd00::5"), (&b, "fd00::6")] {
            workload.ip(&format!("addr add {address}/64 dev eth0 nodad"));
        }
        let (passed, _) = a.exec("ping -6 -c1 -W1 fd00::6");
        assert!(!passed);
        assert!(a.pings("10.0.0.6"));
    });
}
