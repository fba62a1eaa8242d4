//! What a test with real guests needs: an image, a flavor, a key, a network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{Cloud, ok};

/// Configuration of a cloud whose guests really run, whatever the machine.
pub const TCG: &str = "[hypervisor]\naccelerator = \"tcg\"\n[compute]\ncpu_allocation_ratio = 16.0";

/// The disk image that `cargo xtask guest-image` builds.
pub fn image() -> PathBuf {
    std::env::var_os("HANSE_GUEST_IMAGE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest/hanse-guest.qcow2"),
        PathBuf::from,
    )
}

/// Whether the image is there. Says that the test is skipped if not, unless it is required.
pub fn possible() -> bool {
    if !crate::possible() {
        return false;
    }
    if image().exists() {
        return true;
    }
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(
        !required.split(',').any(|area| area.trim() == "e2e"),
        "e2e is required, but the guest image is missing"
    );
    eprintln!("SKIPPED: the guest image is missing (cargo xtask guest-image)");
    false
}

impl Cloud {
    /// As the demo user and the admin: an image `guest`, a flavor `tiny`, a key pair `key`, a network `inside` behind
    /// the router `way-out`, and a default security group that lets ssh and ping in.
    pub fn prepare(&self) {
        let key = self.key();
        ok(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let public = key.with_extension("pub");
        let image = image();
        let steps: &[&[&str]] = &[
            &[
                "image",
                "create",
                "--disk-format",
                "qcow2",
                "--container-format",
                "bare",
                "--file",
                &text(&image),
                "guest",
            ],
            &["keypair", "create", "--public-key", &text(&public), "key"],
            &["network", "create", "inside"],
            &["subnet", "create", "--network", "inside", "--subnet-range", "10.7.0.0/24", "inside"],
            &["router", "create", "way-out"],
            &["router", "set", "--external-gateway", "public", "way-out"],
            &["router", "add", "subnet", "way-out", "inside"],
            &["security", "group", "rule", "create", "--proto", "tcp", "--dst-port", "22", "default"],
            &["security", "group", "rule", "create", "--proto", "icmp", "default"],
        ];
        ok(self
            .openstack("hanse-admin")
            .args(["flavor", "create", "--vcpus", "1", "--ram", "128", "--disk", "1", "tiny"]));
        for step in steps {
            ok(self.openstack("hanse").args(*step));
        }
    }

    fn key(&self) -> PathBuf {
        self.file("key")
    }

    /// Creates a server of the prepared kind and waits until it is ACTIVE.
    pub fn boot(&self, name: &str, more: &[&str]) -> Value {
        let base =
            ["server", "create", "--image", "guest", "--flavor", "tiny", "--key-name", "key", "--wait", name];
        let server = self.openstack_json("hanse", &[&base[..], more].concat());
        assert_eq!(server["status"], "ACTIVE", "{server}");
        server
    }

    /// The command that runs a shell line in a guest.
    pub fn ssh(&self, address: &str, line: &str) -> Command {
        let mut command = self.inside("ssh");
        for option in
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5"]
        {
            command.args(["-o", option]);
        }
        command.arg("-i").arg(self.key()).arg(format!("root@{address}")).arg(line);
        command
    }

    /// Runs a shell line in a guest as soon as it answers.
    pub fn ssh_ok(&self, address: &str, line: &str) -> String {
        let mut said = String::new();
        for _ in 0..60 {
            match self.ssh(address, line).output() {
                Ok(output) if output.status.success() => {
                    return String::from_utf8_lossy(&output.stdout).into_owned();
                }
                Ok(output) => said = String::from_utf8_lossy(&output.stderr).into_owned(),
                Err(error) => said = error.to_string(),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        panic!("{address} does not answer ssh: {said}");
    }

    /// Waits until a server has this status.
    pub fn wait_for(&self, server: &str, status: &str) {
        self.wait_for_object("server", server, status);
    }

    /// Waits until a volume has this status.
    pub fn wait_for_volume(&self, volume: &str, status: &str) {
        self.wait_for_object("volume", volume, status);
    }

    fn wait_for_object(&self, kind: &str, name: &str, status: &str) {
        let mut seen = Value::Null;
        for _ in 0..120 {
            seen = self.openstack_json("hanse", &[kind, "show", name]);
            if seen["status"] == status {
                return;
            }
            assert!(seen["status"] != "ERROR", "{name} failed: {seen}");
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("{name} never became {status}: {seen}");
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
