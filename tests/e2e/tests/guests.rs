//! Real guests through the stock OpenStack client: what a new user does.

use hanse_e2e::guests::{TCG, possible};
use hanse_e2e::{Cloud, fails, ok};

#[test]
fn a_member_boots_a_guest_and_reaches_it_through_a_floating_ip() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("guest", TCG);
    cloud.hanse_ok(&["up"]);
    cloud.prepare();
    let script = cloud.file("user-data");
    std::fs::write(&script, "#!/bin/sh\n# MARK-of-user-data\necho it ran > /root/marker\n")
        .unwrap_or_default();
    let server = cloud.boot("web", &["--network", "inside", "--user-data", &script.display().to_string()]);
    let id = server["id"].as_str().unwrap_or_default();
    let floating = cloud.openstack_json("hanse", &["floating", "ip", "create", "public"]);
    let address = floating["floating_ip_address"].as_str().unwrap_or_default();
    ok(cloud.openstack("hanse").args(["server", "add", "floating", "ip", "web", address]));

    // What the user has told the guest is nobody else's business, plain or in base64.
    cloud.assert_hidden(&["MARK-of-user-data".to_owned(), "TUFSSy1vZi11c2VyLWRhdG".to_owned()]);

    // Its name, its user data, its address, its identity by the metadata service.
    assert_eq!(cloud.ssh_ok(address, "hostname").trim(), "web");
    assert_eq!(cloud.ssh_ok(address, "cat /root/marker").trim(), "it ran");
    let meta = cloud.ssh_ok(address, "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json");
    assert!(meta.contains(id), "{meta}");
    let console = ok(cloud.openstack("hanse").args(["console", "log", "show", "web"]));
    assert!(console.contains("hanse-guest: ready"), "{console}");

    // A port is closed until a rule opens it; that it opens shows that somebody listened all the time.
    cloud.ssh_ok(address, "nc -l -p 8080 -e true </dev/null >/dev/null 2>&1 &");
    let reaches = || {
        let connect = format!("exec 3<>/dev/tcp/{address}/8080");
        cloud
            .inside("timeout")
            .args(["3", "bash", "-c", &connect])
            .status()
            .is_ok_and(|status| status.success())
    };
    assert!(!reaches(), "port 8080 is open although no rule says so");
    let rule = ["security", "group", "rule", "create", "--proto", "tcp", "--dst-port", "8080", "default"];
    ok(cloud.openstack("hanse").args(rule));
    assert!((0..20).any(|_| reaches()), "port 8080 does not open");

    // Guests run on while the cloud's processes die and come back.
    let boot = cloud.ssh_ok(address, "cat /proc/sys/kernel/random/boot_id");
    for role in ["agent", "control_plane"] {
        cloud.kill(role);
        cloud.hanse_ok(&["up"]);
    }
    assert_eq!(cloud.ssh_ok(address, "cat /proc/sys/kernel/random/boot_id"), boot);
    cloud.hanse_ok(&["down"]);
    assert_eq!(cloud.ssh_ok(address, "cat /proc/sys/kernel/random/boot_id"), boot);
    cloud.hanse_ok(&["up"]);

    // Stop, start, reboot.
    ok(cloud.openstack("hanse").args(["server", "stop", "web"]));
    cloud.wait_for("web", "SHUTOFF");
    ok(cloud.openstack("hanse").args(["server", "start", "web"]));
    cloud.wait_for("web", "ACTIVE");
    let second = cloud.ssh_ok(address, "cat /proc/sys/kernel/random/boot_id");
    assert_ne!(second, boot);
    ok(cloud.openstack("hanse").args(["server", "reboot", "--soft", "--wait", "web"]));
    assert_ne!(cloud.ssh_ok(address, "cat /proc/sys/kernel/random/boot_id"), second);

    // A stranger sees none of it.
    ok(cloud.openstack("hanse-admin").args(["project", "create", "other"]));
    ok(cloud.openstack("hanse-admin").args(["user", "create", "--password", "f4r-Away-Pass", "eve"]));
    ok(cloud.openstack("hanse-admin").args(["role", "add", "--project", "other", "--user", "eve", "member"]));
    let as_eve = || {
        let mut command = cloud.openstack("hanse");
        command.args([
            "--os-username",
            "eve",
            "--os-password",
            "f4r-Away-Pass",
            "--os-project-name",
            "other",
        ]);
        command
    };
    for what in ["server", "image", "network", "router", "floating ip", "keypair"] {
        let list = ok(as_eve().args(what.split(' ')).args(["list", "-f", "value"]));
        let list: Vec<&str> = list.lines().filter(|line| !line.contains("public")).collect();
        assert!(list.is_empty(), "eve sees a {what}: {list:?}");
    }
    assert!(fails(as_eve().args(["server", "show", id])).contains("No Server found"));

    // After the last is deleted, nothing is left on the host.
    ok(cloud.openstack("hanse").args(["server", "delete", "--wait", "web"]));
    cloud.assert_nothing_left();
}

#[test]
fn a_volume_keeps_its_bytes_on_the_way_from_guest_to_guest() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("volume", TCG);
    cloud.hanse_ok(&["up"]);
    cloud.prepare();
    let volume = cloud.openstack_json("hanse", &["volume", "create", "--size", "1", "data"]);
    let serial: String = volume["id"].as_str().unwrap_or_default().chars().take(20).collect();
    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        cloud.boot(name, &["--network", "inside"]);
        let floating = cloud.openstack_json("hanse", &["floating", "ip", "create", "public"]);
        let address = floating["floating_ip_address"].as_str().unwrap_or_default().to_owned();
        ok(cloud.openstack("hanse").args(["server", "add", "floating", "ip", name, &address]));
        addresses.push(address);
    }
    let read = "for _ in $(seq 100); do [ -b /dev/vdb ] && break; sleep 0.1; done
        cat /sys/block/vdb/serial; echo; dd if=/dev/vdb bs=1M count=4 2>/dev/null | sha256sum";
    cloud.ssh_ok(&addresses[0], "hostname");
    ok(cloud.openstack("hanse").args(["server", "add", "volume", "one", "data"]));
    cloud.ssh_ok(
        &addresses[0],
        "for _ in $(seq 100); do [ -b /dev/vdb ] && break; sleep 0.1; done; dd if=/dev/urandom of=/dev/vdb bs=1M count=4 && sync",
    );
    let written = cloud.ssh_ok(&addresses[0], read);
    assert!(written.contains(&serial), "{written}");
    ok(cloud.openstack("hanse").args(["server", "remove", "volume", "one", "data"]));
    cloud.wait_for_volume("data", "available");
    ok(cloud.openstack("hanse").args(["server", "add", "volume", "two", "data"]));
    assert_eq!(cloud.ssh_ok(&addresses[1], read), written);

    // What is in use is not deleted; with its server it becomes free again.
    assert!(fails(cloud.openstack("hanse").args(["volume", "delete", "data"])).contains("400"));
    ok(cloud.openstack("hanse").args(["server", "delete", "--wait", "one", "two"]));
    cloud.wait_for_volume("data", "available");
    ok(cloud.openstack("hanse").args(["volume", "delete", "data"]));
    cloud.assert_nothing_left();
}
