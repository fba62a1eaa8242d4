//! The cloud's two processes, and letting one die at a crash point.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{Cloud, ok};

/// Configuration of a cloud whose guests are simulated.
pub const SIM: &str = "[hypervisor]\ndriver = \"sim\"\n[compute]\ncpu_allocation_ratio = 64.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Agent,
}

impl Role {
    /// The process that passes a crash point, told by the crate that is named in it.
    pub fn passing(point: &str) -> Role {
        match point.split('.').next() {
            Some("agent" | "hypervisor" | "storage" | "sdn") => Role::Agent,
            _ => Role::ControlPlane,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Role::ControlPlane => "run/serve.pid",
            Role::Agent => "run/agent.pid",
        }
    }
}

impl Cloud {
    /// The number of a process, if it runs.
    pub fn pid(&self, role: Role) -> Option<u64> {
        let text = std::fs::read(self.state().join(role.file())).ok()?;
        let known: Value = serde_json::from_slice(&text).ok()?;
        let pid = known["pid"].as_u64()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // A zombie has ended, and a number may have been given to somebody else.
        let alive = fields.first() != Some(&"Z") && fields.get(19)?.parse().ok() == known["started"].as_u64();
        alive.then_some(pid)
    }

    /// Starts the process anew, so that it aborts as soon as it passes the crash point.
    pub fn arm(&self, point: &str) {
        let role = Role::passing(point);
        if let Some(pid) = self.pid(role) {
            ok(Command::new("kill").args(["-9", &pid.to_string()]));
            self.wait_for_death(role, "kill -9");
        }
        ok(self.hanse().arg("up").env("HANSE_CRASH_POINT", point));
    }

    /// Waits until the armed process has aborted at the point, and starts it again, unarmed.
    pub fn revive(&self, point: &str) {
        self.wait_for_death(Role::passing(point), point);
        self.hanse_ok(&["up"]);
    }

    fn wait_for_death(&self, role: Role, cause: &str) {
        let died = (0..3000).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            self.pid(role).is_none()
        });
        assert!(died, "the {role:?} did not die: nothing passed {cause}");
    }
}
