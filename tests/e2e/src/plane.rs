//! A second control plane of the same cloud, set up as `docs/operating.md` tells an operator to.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Cloud, binary, ok};

/// Killed when this is dropped.
pub struct Plane {
    process: Child,
}

/// Where a second control plane listens.
pub const PORT: u16 = 8445;

impl Plane {
    /// Lays out a state directory beside the cloud's, with its keys, and starts the control plane in it. `extra` is
    /// appended to the configuration, which must name the database.
    pub fn start(cloud: &Cloud, extra: &str) -> Plane {
        let state = cloud.file("second");
        if !state.exists() {
            ok(Command::new("mkdir").args(["--mode", "711"]).arg(&state));
            ok(Command::new("cp").args(["--preserve"]).arg(cloud.state().join("cloud.json")).arg(&state));
            ok(Command::new("ln")
                .arg("--symbolic")
                .arg(cloud.state().join("control"))
                .arg(state.join("control")));
        }
        let config = cloud.file("second.toml");
        let text = format!(
            "state_dir = \"{}\"\nuser = \"nobody\"\n[api]\nlisten = \"127.0.0.1:{PORT}\"\n{extra}\n",
            state.display()
        );
        std::fs::write(&config, text).expect("the configuration");
        Plane::run(cloud, &config, &state)
    }

    fn run(cloud: &Cloud, config: &Path, state: &Path) -> Plane {
        let log: PathBuf = state.join("serve.err");
        let mut command = cloud.inside(binary());
        command.arg("--config").arg(config).arg("serve");
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).expect("a file"));
        let mut process = command.spawn().expect("hanse starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("standard output");
        let read = BufReader::new(out).read_line(&mut line);
        let plane = Plane { process };
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(read.is_ok() && line.contains("ready"), "the second control plane says {line:?} {said}");
        plane
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Takes its time away, or gives it back.
    pub fn signal(&self, signal: &str) {
        ok(Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]));
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.kill();
    }
}
