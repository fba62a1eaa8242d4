//! The guest image, built and booted under QEMU without hardware virtualisation.
//!
//! Nothing leaves the machine: the guest's network is QEMU's own, restricted, with one port forwarded from loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod machine;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use machine::{Machine, make_key};
use serde_json::json;

const ID: &str = "6f2e4c1a-8a55-4a8e-9d0f-3c1d5e7b9a10";

/// Whether the machine has what these tests run; says so when not, and fails where the tests are required.
fn can_run() -> bool {
    let missing: Vec<&str> = ["apt-get", "genisoimage", "qemu-system-x86_64", "ssh", "ssh-keygen"]
        .into_iter()
        .filter(|program| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            !std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(!required.split(',').any(|area| area.trim() == "qemu"), "missing: {missing:?}");
    eprintln!("SKIPPED: the guest image is not tested, for want of {missing:?}");
    false
}

fn work() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest")
}

/// Builds the image, or finds it built; returns its path and what the command said.
fn build() -> (PathBuf, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("guest-image").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (work().join("hanse-guest.qcow2"), said)
}

/// The files of an instance, as a config drive and the metadata service have them.
fn write_instance(directory: &Path, hostname: &str, keys: serde_json::Value, user_data: &str) {
    fs::create_dir_all(directory).unwrap();
    let meta_data = json!({ "uuid": ID, "hostname": hostname, "name": "n", "public_keys": keys });
    fs::write(directory.join("meta_data.json"), meta_data.to_string()).unwrap();
    fs::write(directory.join("user_data"), user_data).unwrap();
}

#[test]
fn a_guest_with_a_config_drive_becomes_its_instance_and_bears_the_life_of_a_server() {
    if !can_run() {
        return;
    }
    let (image, _) = build();
    let keys = tempfile::tempdir().unwrap();
    let (key, public) = make_key(keys.path(), "key");
    let (second, second_public) = make_key(keys.path(), "second");
    let (stranger, _) = make_key(keys.path(), "stranger");

    let mut guest = Machine::boot(&image, 128, |qemu, directory, port| {
        let drive = directory.join("drive");
        let user_data = "#!/bin/sh\necho \"user data of $(hostname)\"\necho kept >/mnt/kept\nsync\n";
        let keys = json!({ "one \"key\"": public, "another": second_public });
        write_instance(&drive.join("openstack/latest"), "lübeck.example", keys, user_data);
        let made = Command::new("genisoimage")
            .args(["-quiet", "-V", "config-2", "-R", "-J", "-o"])
            .arg(directory.join("drive.iso"))
            .arg(&drive)
            .status();
        assert!(made.unwrap().success());
        let iso = directory.join("drive.iso").display().to_string();
        qemu.args(["-drive", &format!("file={iso},format=raw,if=none,id=config,readonly=on")])
            .args(["-device", "virtio-blk-pci,drive=config"])
            .args([
                "-nic",
                &format!("user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            ])
            .args(["-netdev", "user,id=late,restrict=on,net=10.0.3.0/24"]);
    });

    guest.wait_for("hanse-guest: ready", 1);
    eprintln!("ready after {:.1} CPU seconds of QEMU", guest.cpu_seconds());
    for line in [&format!("instance {ID} from config drive /dev/vdb"), "hostname lübeck", "2 ssh keys"] {
        assert!(guest.console().contains(&format!("hanse-guest: {line}")), "{line}:\n{}", guest.console());
    }
    guest.wait_for("hanse-guest: eth0 10.0.2.15/24", 1);
    guest.wait_for("hanse-guest: user data ended with status 0", 1);
    assert!(guest.console().contains("user data of lübeck"));

    // Both keys open the door, a stranger's does not, and there is no password to guess.
    assert_eq!(guest.ssh(&key, "hostname; sudo -n id -u").trim(), "lübeck\n0");
    assert_eq!(guest.try_ssh(&second, "hanse", "true").status.code(), Some(0));
    let refused = guest.try_ssh(&stranger, "root", "true");
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied (publickey)"));

    // A disk comes and goes.
    let disk = guest.directory().join("disk.raw");
    fs::write(&disk, [b"hanseatic".as_slice(), &[0; 1_048_567]].concat()).unwrap();
    let disk = disk.display().to_string();
    guest.qmp(
        "blockdev-add",
        json!({ "driver": "raw", "node-name": "disk", "file": { "driver": "file", "filename": disk } }),
    );
    guest.qmp(
        "device_add",
        json!({ "driver": "virtio-blk-pci", "id": "plugged", "drive": "disk", "bus": "port1", "serial": "serial-42" }),
    );
    guest.wait_for("hanse-guest: disk vdc added, serial serial-42", 1);
    let seen = guest.ssh(&key, "cat /sys/block/vdc/serial; echo; head -c 9 /dev/vdc; echo; lsblk | grep vdc");
    assert_eq!(seen.lines().take(2).collect::<Vec<_>>(), ["serial-42", "hanseatic"]);
    assert!(seen.contains("1048576 0 disk"), "{seen}");
    guest.qmp("device_del", json!({ "id": "plugged" }));
    while guest.wait_for_event("DEVICE_DELETED")["data"]["device"] != "plugged" {}
    guest.wait_for("hanse-guest: disk vdc removed", 1);

    // A network interface comes late and gets its address.
    guest.qmp(
        "device_add",
        json!({ "driver": "virtio-net-pci", "id": "nic", "netdev": "late", "bus": "port2" }),
    );
    guest.wait_for("hanse-guest: eth1 10.0.3.15/24", 1);

    // A reset keeps what was written to the state partition, the host key and the mark of the user data. ssh itself
    // checks the host key against the one it saw first.
    guest.qmp("system_reset", json!({}));
    guest.wait_for("hanse-guest: ready", 2);
    assert_eq!(guest.ssh(&key, "cat /mnt/kept").trim(), "kept");
    assert_eq!(guest.console().matches("user data of").count(), 1, "{}", guest.console());

    // The power button ends it.
    guest.qmp("system_powerdown", json!({}));
    let event = guest.wait_for_event("SHUTDOWN");
    assert_eq!(event["data"]["guest"], true);
    guest.wait_for_end();
    assert!(guest.console().contains("hanse-guest: stopping"));
}

#[test]
fn a_guest_without_a_network_is_ready_and_asks_the_metadata_service_when_one_appears() {
    if !can_run() {
        return;
    }
    let (image, _) = build();
    let keys = tempfile::tempdir().unwrap();
    let (key, public) = make_key(keys.path(), "key");

    let mut guest = Machine::boot(&image, 96, |qemu, directory, port| {
        let files = directory.join("files");
        let user_data = "#!/bin/sh\necho \"user data of $(hostname)\"\n";
        write_instance(&files, "wismar.novalocal", json!({ "k": public }), user_data);
        // QEMU starts this for every connection that the guest makes to the metadata address.
        let server = directory.join("server");
        let script = format!(
            "#!/bin/sh\nread -r verb path rest\nfile={}/${{path##*/openstack/latest/}}\n\
             printf 'HTTP/1.0 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n' \"$(wc -c <\"$file\")\"\ncat \"$file\"\n",
            files.display()
        );
        fs::write(&server, script).unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        let network = "user,id=late,restrict=on,net=169.254.169.0/24";
        let metadata = format!("guestfwd=tcp:169.254.169.254:80-cmd:{}", server.display());
        qemu.args(["-netdev", &format!("{network},{metadata},hostfwd=tcp:127.0.0.1:{port}-:22")]);
    });

    guest.wait_for("hanse-guest: ready", 1);
    assert!(!guest.console().contains("eth0"));
    guest.qmp(
        "device_add",
        json!({ "driver": "virtio-net-pci", "id": "nic", "netdev": "late", "bus": "port1" }),
    );
    guest.wait_for("hanse-guest: eth0 169.254.169.15/24", 1);
    guest.wait_for(&format!("hanse-guest: metadata: {ID}"), 1);
    guest.wait_for("hanse-guest: user data ended with status 0", 1);
    assert!(
        guest.console().contains("hanse-guest: hostname wismar\n")
            || guest.console().contains("hostname wismar\r")
    );
    assert!(guest.console().contains("user data of wismar"));
    assert_eq!(guest.ssh(&key, "cat /mnt/.hanse/instance").trim(), ID);
}

#[test]
fn an_unchanged_image_is_not_built_again_and_is_small() {
    if !can_run() {
        return;
    }
    let (image, _) = build();
    let built = fs::metadata(&image).unwrap();
    let (_, said) = build();
    assert!(said.contains("up to date"), "{said}");
    assert_eq!(fs::metadata(&image).unwrap().modified().unwrap(), built.modified().unwrap());
    assert!(built.len() < 25 * 1024 * 1024, "{} bytes", built.len());
}

#[test]
fn the_guest_reads_json_with_escapes_nesting_and_several_lines_and_refuses_what_is_not_json() {
    if !can_run() {
        return;
    }
    build();
    let flatten = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("json");
        fs::write(&file, text).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guest_image/flatten.awk");
        let output = Command::new(work().join("packages/bin/busybox"))
            .args(["awk", "-f"])
            .args([&program, &file])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let text = r#" {"uuid":"u","keys":[{"data":"a\nb\u0041"},[]],"n\"m":{"x":-1.5e3,"y":null},"e":"","t":"\u00e4\/\t\\n","o":{}}"#;
    let expected = "uuid\tu\nkeys.0.data\ta\nkeys.0.data\tbA\nn\"m.x\t-1.5e3\nn\"m.y\tnull\ne\t\nt\tä/ \\n\n";
    assert_eq!(flatten(text).unwrap(), expected);
    let forged = flatten(r#"{"name":"x\nuuid\tother"}"#).unwrap();
    assert_eq!(forged, "name\tx\nname\tuuid other\n", "a value cannot pose as another member");
    for wrong in ["", "{", "[1,]", r#"{"a" 1}"#, r#"{"a":1} x"#, r#"{"a":"open}"#, "3", "<html>"] {
        assert!(flatten(wrong).is_none(), "{wrong} was taken for JSON");
    }
}
