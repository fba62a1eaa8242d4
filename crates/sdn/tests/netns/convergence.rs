//! The same call again changes nothing, repairs what was broken, and comes to the same end after any crash.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex};

use hanse_core::CrashPoints;
use hanse_node::reports::State;
use hanse_sdn::{Model, PublicRange, Sdn, Sim};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::host::{Host, namespaces_of, on_host, run, within};
use crate::model::{id, mac, network, open_group, port, public_network, router};

fn everything() -> Model {
    let mut model = Model::default();
    let public = public_network(&mut model, 1);
    let lan = network(&mut model, 2, "10.0.1");
    let all = open_group(&mut model, 9);
    port(&mut model, 10, lan, "10.0.1.5", &[all]);
    router(
        &mut model,
        20,
        &[(lan, "10.0.1")],
        Some((public, "172.24.4.20")),
        &[("172.24.4.30", "10.0.1.5"), ("172.24.4.31", "10.0.1.6")],
    );
    model
}

/// What there is in a namespace, without what the kernel numbers or draws by lot.
fn snapshot_of(prefix: &str) -> String {
    let links = run(&format!("{prefix} ip -o link"));
    let links = links.lines().map(|line| {
        let name = line.split_whitespace().nth(1).unwrap_or_default();
        let after = |key: &str| {
            let mut words = line.split_whitespace().skip_while(|word| *word != key);
            words.nth(1).unwrap_or_default().to_owned()
        };
        let name = name.split('@').next().unwrap_or_default().trim_end_matches(':');
        let up = line.contains(",UP") || line.contains("<UP");
        let mac = if name.starts_with("in") || name.starts_with("gw") || name == "eth0" {
            after("link/ether")
        } else {
            String::new()
        };
        format!("{name} mtu {} master {} up {up} {mac}", after("mtu"), after("master"))
    });
    let mut links: Vec<String> = links.collect();
    links.sort();
    let addresses = run(&format!("{prefix} ip -o -4 addr"));
    let mut addresses: Vec<String> = addresses
        .lines()
        .map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    addresses.sort();
    let routes = run(&format!("{prefix} ip route"));
    let rules = run(&format!("{prefix} nft list ruleset"));
    format!("{}\n{}\n{routes}\n{rules}", links.join("\n"), addresses.join("\n"))
}

/// The host and all namespaces of the cloud.
fn snapshot(host: &Host) -> String {
    let mut text = snapshot_of("env");
    for namespace in namespaces_of(&host.cloud) {
        text.push_str(&format!("--- {namespace}\n"));
        text.push_str(&snapshot_of(&format!("ip netns exec {namespace}")));
    }
    text
}

#[test]
fn the_second_of_two_equal_calls_changes_nothing_and_strangers_are_removed() {
    on_host(|host| async move {
        let before = snapshot(&host);
        let model = everything();
        host.apply(&model).await;
        let numbered = || run(&format!("ip -n {} -o link", host.namespace())).lines().count();
        let (first, links) = (snapshot(&host), numbered());
        host.apply(&model).await;
        assert_eq!(snapshot(&host), first);
        // Also by a process that has just started.
        let restarted = host.restarted(None);
        drop(host.sdn);
        restarted.apply(&model).await;
        assert_eq!(snapshot(&restarted), first);
        let host = restarted;
        assert_eq!(run(&format!("ip -n {} -o link", host.namespace())).lines().count(), links);

        let cloud = host.namespace();
        let router = format!("{cloud}-r00000014000");
        run(&format!("ip -n {cloud} link add stranger type bridge"));
        run(&format!("ip netns add {cloud}-stranger"));
        run(&format!("ip -n {router} addr add 192.0.2.9/24 dev in00000015000"));
        run(&format!("ip -n {router} route add 192.0.2.128/25 via 10.0.1.77"));
        run(&format!("ip netns exec {router} nft add table ip stranger"));
        run(&format!("ip netns exec {cloud} nft flush ruleset"));
        run(&format!("ip -n {cloud} link set br00000002000 mtu 1300"));
        run(&format!("ip -n {cloud} link del sv00000002000"));
        run(&format!("ip -n {cloud} link del rp00000015000"));
        host.apply(&model).await;
        assert_eq!(snapshot(&host), first);

        host.apply(&Model::default()).await;
        let left: BTreeSet<String> = namespaces_of(&host.cloud);
        assert_eq!(left, BTreeSet::from([cloud.clone()]));
        assert_eq!(run(&format!("ip -n {cloud} -o link")).lines().count(), 1, "only the loopback is left");
        assert_eq!(snapshot_of("env"), before, "the host after an empty model");

        host.apply(&model).await;
        host.sdn.teardown().await.unwrap();
        assert_eq!(snapshot(&host), before, "the host after the end");
        host.sdn.teardown().await.unwrap();
    });
}

#[test]
fn the_tap_belongs_to_the_user_that_runs_guests_and_carries_frames() {
    on_host(|host| async move {
        host.apply(&everything()).await;
        let tap = host.sdn.tap_name(id(10));
        let details = run(&format!("ip -n {} -d link show {tap}", host.namespace()));
        for expected in ["tun type tap", "persist on", "vnet_hdr on", "mtu 1442", "master br00000002000"] {
            assert!(details.contains(expected), "{expected} is missing in {details}");
        }
        assert!(details.contains("user nobody") || details.contains("user 65534"), "{details}");

        // Where is 10.0.1.2? The network's service answers through the tap.
        let frame = arp_request(mac(10).0, [10, 0, 1, 5], [10, 0, 1, 2]);
        let answer = within(&host.namespace(), || exchange(&tap, &frame));
        assert_eq!(answer[20..22], [0, 2], "an ARP reply");
        assert_eq!(answer[28..32], [10, 0, 1, 2]);
    });
}

fn arp_request(mac: [u8; 6], from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let header: [&[u8]; 3] = [&[0xff; 6], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]];
    let body: [&[u8]; 4] = [&mac, &from, &[0; 6], &to];
    [header.concat(), body.concat()].concat()
}

/// Does what QEMU does with a tap: sends a frame and returns the first ARP frame that comes back.
fn exchange(tap: &str, frame: &[u8]) -> Vec<u8> {
    nix::ioctl_write_ptr!(attach, b'T', 202, nix::libc::c_int);
    let mut device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: ifreq is plain data, for which all zeros is a value.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(tap.bytes()) {
        *to = from as nix::libc::c_char;
    }
    let flags = nix::libc::IFF_TAP | nix::libc::IFF_NO_PI | nix::libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as i16;
    // SAFETY: the descriptor is open, and the ifreq outlives the call.
    unsafe { attach(device.as_raw_fd(), (&raw mut request).cast()) }.unwrap();
    let virtio_header = [0; 10];
    let mut buffer = [0; 2048];
    for _ in 0..100 {
        device.write_all(&[&virtio_header, frame].concat()).unwrap();
        let mut poll = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        while nix::poll::poll(&mut poll, PollTimeout::from(50u8)).unwrap() > 0 {
            let length = device.read(&mut buffer).unwrap();
            if buffer[22..24] == [8, 6] {
                return buffer[10..length].to_vec();
            }
            poll = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        }
    }
    panic!("nothing came back");
}

/// Panics at the `number`th step.
fn crash_at(number: usize) -> CrashPoints {
    let count = Mutex::new(0);
    CrashPoints::new(move |point| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == number + 1 {
            drop(count);
            panic!("crash at {point}");
        }
        Ok(())
    })
}

/// Runs the call in a new process, as it were, that dies at one step.
async fn crash(host: &Host, number: usize, model: Option<Model>) {
    let dying = host.restarted(Some(crash_at(number)));
    let call = tokio::spawn(async move {
        match model {
            Some(model) => drop(dying.sdn.apply(&model).await),
            None => drop(dying.sdn.teardown().await),
        }
    });
    assert!(call.await.is_err(), "step {number} was not reached");
}

/// All steps of a call, and of them the first and last of each name.
async fn steps(host: &Host, model: Option<&Model>) -> Vec<usize> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let watched = host.restarted(Some(CrashPoints::new(move |point| {
        log.lock().unwrap().push(point);
        Ok(())
    })));
    match model {
        Some(model) => watched.apply(model).await,
        None => watched.sdn.teardown().await.unwrap(),
    }
    let seen = seen.lock().unwrap();
    let of_name = |name: &&str| {
        let first = seen.iter().position(|point| point == name);
        let last = seen.iter().rposition(|point| point == name);
        first.into_iter().chain(last)
    };
    seen.iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .flat_map(of_name)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn a_crash_at_any_step_is_made_good_by_the_next_call() {
    on_host(|host| async move {
        let before = snapshot(&host);
        let model = everything();
        let making = steps(&host, Some(&model)).await;
        assert!(making.len() > 15, "{making:?}");
        let whole = snapshot(&host);
        let ending = steps(&host, None).await;
        assert_eq!(snapshot(&host), before);
        let empty = Model::default();
        host.restarted(None).apply(&model).await;
        let emptying = steps(&host, Some(&empty)).await;
        let nothing = snapshot(&host);

        for step in emptying {
            host.restarted(None).apply(&model).await;
            crash(&host, step, Some(empty.clone())).await;
            host.restarted(None).apply(&empty).await;
            assert_eq!(snapshot(&host), nothing, "after a crash at step {step} of the emptying");
        }
        host.sdn.teardown().await.unwrap();
        for step in making {
            crash(&host, step, Some(model.clone())).await;
            host.restarted(None).apply(&model).await;
            assert_eq!(snapshot(&host), whole, "after a crash at step {step}");
            host.sdn.teardown().await.unwrap();
        }
        for step in ending {
            host.restarted(None).apply(&model).await;
            crash(&host, step, None).await;
            host.sdn.teardown().await.unwrap();
            assert_eq!(snapshot(&host), before, "after a crash at step {step} of the teardown");
        }
    });
}

#[test]
fn one_object_that_cannot_be_made_does_not_hold_up_the_others() {
    on_host(|host| async move {
        let mut model = everything();
        let route = hanse_node::documents::Route {
            destination: "10.9.0.0/16".parse().unwrap(),
            next_hop: "203.0.113.1".parse().unwrap(),
        };
        model.routers.get_mut(&id(20)).unwrap().routes = vec![route];
        let applied = host.sdn.apply(&model).await.unwrap();
        let failed: Vec<_> = applied
            .states
            .iter()
            .filter(|(_, state)| **state != State::Ready)
            .map(|((kind, _), state)| format!("{kind:?} {state:?}"))
            .collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("10.9.0.0/16") && failed[0].contains("Router"), "{failed:?}");
        let host_side = run("ip -o -4 addr");
        assert!(host_side.contains("172.24.4.1/24"), "{host_side}");
    });
}

#[test]
fn the_simulator_says_of_each_object_what_the_real_engine_says() {
    on_host(|host| async move {
        let mut model = everything();
        let lost = port(&mut model, 30, id(99), "10.0.1.30", &[]);
        model.switches.get_mut(&id(1)).unwrap().subnets[0].cidr = "192.0.2.0/24".parse().unwrap();
        let range = PublicRange {
            cidr: "172.24.4.0/24".parse().unwrap(),
            host_address: "172.24.4.1".parse().unwrap(),
        };
        let sim = Sim::new(&host.cloud, range).unwrap();
        let real = host.sdn.apply(&model).await.unwrap();
        assert_eq!(sim.apply(&model).await.unwrap(), real);
        assert_eq!(real.states.values().filter(|state| **state != State::Ready).count(), 3, "{real:?}");
        assert_eq!(sim.tap_name(lost), host.sdn.tap_name(lost));
        assert_eq!(sim.capabilities(), host.sdn.capabilities());
    });
}
