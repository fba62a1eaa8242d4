//! A cloud for one test: the real binary, in a network namespace of the test's own, and the real clients.
#![expect(clippy::panic, clippy::expect_used, reason = "a test that cannot go on fails")]

pub mod client;
pub mod crash;
pub mod crowd;
pub mod guests;
pub mod left_over;
pub mod objects;
pub mod plane;
pub mod postgres;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A cloud that is gone, with all that it made, when this is dropped.
pub struct Cloud {
    namespace: String,
    directory: TempDir,
    /// Whether the directory is a disk of its own.
    mounted: bool,
}

impl Cloud {
    /// Makes the namespace and the configuration; nothing runs yet. `extra` is appended to the configuration.
    pub fn new(name: &str, extra: &str) -> Cloud {
        Cloud::on_disk(name, extra, None)
    }

    /// The same on a disk of its own with so many MiB, which can be filled.
    pub fn on_small_disk(name: &str, extra: &str, mib: u32) -> Cloud {
        Cloud::on_disk(name, extra, Some(mib))
    }

    fn on_disk(name: &str, extra: &str, mib: Option<u32>) -> Cloud {
        let directory =
            tempfile::Builder::new().prefix("hanse-e2e-").tempdir().expect("a temporary directory");
        if let Some(mib) = mib {
            let size = format!("size={mib}m");
            ok(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()));
        }
        // The control plane is another user and must get through.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711))
            .expect("permissions");
        let namespace = format!("hanse-e2e-{name}-{}", std::process::id());
        let cloud = Cloud { namespace, directory, mounted: mib.is_some() };
        ok(Command::new("ip").args(["netns", "add", &cloud.namespace]));
        ok(cloud.inside("ip").args(["link", "set", "lo", "up"]));
        // A user that is there: tests run side by side, and would take each other's away.
        let user = if extra.contains("user = ") { "" } else { "user = \"nobody\"\n" };
        let config = format!("state_dir = \"{}\"\n{user}{extra}\n", cloud.state().display());
        std::fs::write(cloud.config(), config).expect("the configuration");
        cloud
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("hanse.toml")
    }

    /// A file that lasts as long as the cloud.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The cloud's network namespace, as a file that can be entered.
    pub fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// A program in the cloud's network namespace.
    pub fn inside(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace().display())).arg("--").arg(program.as_ref());
        command.stdin(Stdio::null());
        command
    }

    /// The binary under test, with the cloud's configuration.
    pub fn hanse(&self) -> Command {
        let mut command = self.inside(binary());
        command.arg("--config").arg(self.config());
        command
    }

    /// Runs `hanse` and expects it to succeed.
    pub fn hanse_ok(&self, arguments: &[&str]) -> String {
        ok(self.hanse().args(arguments))
    }

    /// Runs `hanse` and expects it to fail; returns what it says.
    pub fn hanse_fails(&self, arguments: &[&str]) -> String {
        fails(self.hanse().args(arguments))
    }

    /// The stock OpenStack client, unmodified.
    pub fn openstack(&self, cloud: &str) -> Command {
        self.client(cloud, "openstack")
    }

    fn client(&self, cloud: &str, program: &str) -> Command {
        let mut command = self.inside(tools().join(program));
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.directory.path());
        command.env("OS_CLIENT_CONFIG_FILE", self.state().join("operator/clouds.yaml"));
        command.env("OS_CLOUD", cloud);
        command
    }

    /// A Python program with OpenStack's library, as a user of the cloud.
    pub fn client_python(&self, cloud: &str) -> Command {
        self.client(cloud, "python3")
    }

    /// Runs the client and expects it to succeed; returns its JSON.
    pub fn openstack_json(&self, cloud: &str, arguments: &[&str]) -> Value {
        let text = ok(self.openstack(cloud).args(arguments).args(["-f", "json"]));
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("no JSON from {arguments:?}: {error}\n{text}"))
    }

    /// What `hanse status --json` says.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.hanse_ok(&["status", "--json"])).expect("JSON from hanse status")
    }

    /// Fails if one of these stands in a log, in the control plane's directory (the database among it), or in the
    /// arguments or the environment of a process of the cloud.
    pub fn assert_hidden(&self, secrets: &[String]) {
        let mut places = Vec::new();
        for directory in ["logs", "control"] {
            for entry in std::fs::read_dir(self.state().join(directory)).into_iter().flatten().flatten() {
                places.push((
                    entry.path().display().to_string(),
                    std::fs::read(entry.path()).unwrap_or_default(),
                ));
            }
        }
        assert!(places.iter().any(|(name, bytes)| name.ends_with("state.db") && !bytes.is_empty()));
        let mine = self.state().display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let arguments = read("cmdline");
            let name = entry.path().display().to_string();
            let config = self.config().display().to_string();
            let is_ours =
                |place: &str| arguments.windows(place.len()).any(|window| window == place.as_bytes());
            if is_ours(&mine) || is_ours(&config) {
                places.push((format!("{name}/environ"), read("environ")));
                places.push((format!("{name}/cmdline"), arguments));
            }
        }
        for (name, bytes) in places {
            for secret in secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "a secret stands in {name}");
            }
        }
    }

    /// Waits until a log of the cloud has a line with this text.
    pub fn eventually_logs(&self, log: &str, text: &str) {
        for _ in 0..600 {
            let lines = std::fs::read_to_string(self.state().join("logs").join(log)).unwrap_or_default();
            if lines.lines().any(|line| line.contains(text)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{log} never says {text}");
    }

    /// `kill -9` of a process of the cloud, by its role in the status.
    pub fn kill(&self, role: &str) {
        let pid = self.status()[role]["pid"].as_i64().unwrap_or_else(|| panic!("the {role} does not run"));
        ok(Command::new("kill").args(["-9", &pid.to_string()]));
        // It is gone when it is a zombie or no more: the kernel takes its time with a big process.
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z')) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["serve.out", "agent.out", "serve.log", "agent.log"] {
                let text = std::fs::read_to_string(self.state().join("logs").join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(30).collect();
                eprintln!("── the end of {log}");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        if self.state().exists() {
            let _ = self.hanse().args(["reset", "--yes"]).stdout(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).status();
        }
    }
}

/// Runs a command that must succeed and returns its standard output.
pub fn ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?} failed:\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must fail and returns what it says.
pub fn fails(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} should have failed:\n{}", text(&output.stdout));
    text(&output.stderr)
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The binary under test: `HANSE_BINARY`, or the one that this build made.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HANSE_BINARY") {
        return path.into();
    }
    let mut path = std::env::current_exe().expect("our own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("hanse")
}

/// Where `make` has installed the clients.
pub fn tools() -> PathBuf {
    std::env::var_os("HANSE_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin"), PathBuf::from)
}

/// Whether this machine can run these tests. Says that they are skipped if not, unless they are required.
pub fn possible() -> bool {
    let missing = if ok(Command::new("id").arg("-u")).trim() != "0" {
        "root"
    } else if !tools().join("openstack").exists() {
        "the OpenStack client (make tools)"
    } else if !binary().exists() {
        "the binary (cargo build)"
    } else {
        return true;
    };
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(
        !required.split(',').any(|area| area.trim() == "e2e"),
        "e2e is required, but {missing} is missing"
    );
    eprintln!("SKIPPED: {missing} is missing");
    false
}
