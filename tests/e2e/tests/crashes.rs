//! Nothing that was acknowledged is lost, whenever the cloud's processes are killed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hanse_e2e::guests::{TCG, possible};
use hanse_e2e::{Cloud, ok};
use serde_json::Value;

const TWENTY: usize = 20;

/// The client's own log: it runs beside the kills.
struct Creators(Child, BufReader<std::process::ChildStdout>);

impl Creators {
    fn start(cloud: &Cloud, count: usize, network: Option<&str>) -> Creators {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/create-servers.py");
        let mut command = cloud.client_python("hanse");
        command.arg(script).args([&count.to_string(), "guest", "tiny"]).args(network);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Creators(child, out)
    }

    /// The ids that were acknowledged.
    fn finish(mut self) -> BTreeSet<String> {
        let mut text = String::new();
        self.1.read_to_string(&mut text).unwrap();
        assert!(self.0.wait().unwrap().success(), "{text}");
        let log: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(log["refused"], serde_json::json!([]), "{log}");
        log["acknowledged"].as_object().unwrap().keys().cloned().collect()
    }
}

/// All servers of the project, once none of them is on its way any more.
fn settled(cloud: &Cloud) -> Vec<Value> {
    let mut servers = Vec::new();
    for _ in 0..200 {
        servers = cloud.openstack_json("hanse", &["server", "list", "--long"]).as_array().unwrap().clone();
        if servers.iter().all(|server| server["Status"] != "BUILD") {
            return servers;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("servers are still being built: {servers:?}");
}

fn assert_all_active(cloud: &Cloud, acknowledged: &BTreeSet<String>) {
    let servers = settled(cloud);
    for server in &servers {
        assert_eq!(server["Status"], "ACTIVE", "{server}");
    }
    let there: BTreeSet<String> =
        servers.iter().map(|server| server["ID"].as_str().unwrap().to_owned()).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

fn delete_all(cloud: &Cloud) {
    let servers = cloud.openstack_json("hanse", &["server", "list"]);
    let ids: Vec<&str> =
        servers.as_array().unwrap().iter().map(|server| server["ID"].as_str().unwrap()).collect();
    if !ids.is_empty() {
        ok(cloud.openstack("hanse").args(["server", "delete", "--wait"]).args(ids));
    }
    cloud.assert_nothing_left();
}

/// Numbers that differ from run to run; the first is printed, so that a failure can be told apart.
fn random() -> impl FnMut(u64) -> u64 {
    let mut state = u64::from(std::process::id()) | 1;
    eprintln!("seed {state}");
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

#[test]
fn twenty_servers_become_active_although_the_processes_are_killed_ten_times() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("kill", TCG);
    cloud.hanse_ok(&["up"]);
    cloud.prepare();
    let mut random = random();
    let creators = Creators::start(&cloud, TWENTY, Some("inside"));
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(200 + random(2500)));
        match random(3) {
            0 => cloud.kill("control_plane"),
            1 => cloud.kill("agent"),
            _ => {
                cloud.kill("agent");
                cloud.kill("control_plane");
            }
        }
        cloud.hanse_ok(&["up"]);
    }
    let acknowledged = creators.finish();
    assert_eq!(acknowledged.len(), TWENTY);
    assert_all_active(&cloud, &acknowledged);
    let guests =
        ok(Command::new("pgrep").args(["-fc", &format!("qemu-system.*{}", cloud.state().display())]));
    let servers = cloud.openstack_json("hanse", &["server", "list"]).as_array().unwrap().len();
    assert_eq!(guests.trim(), servers.to_string(), "one process for each server, no more and no less");
    delete_all(&cloud);
}

#[test]
fn a_server_becomes_active_although_a_process_dies_at_a_crash_point() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("points", TCG);
    cloud.hanse_ok(&["up"]);
    cloud.prepare();
    for point in [
        "compute.ports_ensured",
        "compute.port_made",
        "compute.port_bound",
        "compute.disk_put",
        "compute.guest_put",
        "agent.disk_made",
        "agent.guest_started",
    ] {
        cloud.hanse_ok(&["down"]);
        ok(cloud.hanse().arg("up").env("HANSE_CRASH_POINT", point));
        let creators = Creators::start(&cloud, 1, Some("inside"));
        let victim = if point.starts_with("agent") { "agent" } else { "control_plane" };
        let died = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            cloud.status()[victim]["pid"].is_null()
        });
        assert!(died, "nothing passed {point}");
        cloud.hanse_ok(&["up"]);
        assert_all_active(&cloud, &creators.finish());
        delete_all(&cloud);
    }
}
