//! The cloud's two processes: who runs, starting one, ending one.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hanse_core::{Context, Error, Result, Secret};
use hanse_crypto::secret_file;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Agent,
}

impl Role {
    pub const BOTH: [Role; 2] = [Role::ControlPlane, Role::Agent];

    /// The subcommand, and the name of its files.
    pub fn name(self) -> &'static str {
        match self {
            Role::ControlPlane => "serve",
            Role::Agent => "agent",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Role::ControlPlane => "control plane",
            Role::Agent => "agent",
        }
    }

    fn pid_file(self, state: &State) -> PathBuf {
        state.run().join(format!("{}.pid", self.name()))
    }

    pub fn lock_file(self, state: &State) -> PathBuf {
        state.run().join(format!("{}.lock", self.name()))
    }
}

/// A process, known by more than its number: numbers are used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub pid: i32,
    /// When it started, in clock ticks since the machine booted (`/proc/<pid>/stat`, field 22).
    pub started: u64,
}

impl Known {
    fn of(pid: i32) -> Option<Known> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the fields behind it do not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // A zombie has ended.
        (*fields.first()? != "Z").then_some(())?;
        Some(Known { pid, started: fields.get(19)?.parse().ok()? })
    }

    fn is_alive(&self) -> bool {
        Known::of(self.pid).as_ref() == Some(self)
    }
}

/// Notes this process as the one with `role`.
///
/// # Errors
/// If the file cannot be written.
pub fn note_self(state: &State, role: Role) -> Result<()> {
    let pid = i32::try_from(std::process::id()).map_err(|_| Error::internal("a pid that does not fit"))?;
    let known = Known::of(pid).ok_or_else(|| Error::internal("/proc does not show this process"))?;
    let text = serde_json::to_vec(&known).context("cannot write a pid file")?;
    secret_file::write(&role.pid_file(state), 0o644, &text)
}

/// The process with this role, if it runs.
pub fn running(state: &State, role: Role) -> Option<Known> {
    let text = std::fs::read(role.pid_file(state)).ok()?;
    serde_json::from_slice(&text).ok().filter(Known::is_alive)
}

/// What a process needs that may not stand in its arguments.
#[derive(Serialize, Deserialize)]
pub struct Errand {
    pub admin_password: Secret<String>,
    pub demo_password: Secret<String>,
}

/// What a process says once, when it is ready or cannot be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Ready,
    Failed(String),
}

/// Says it to the one who started us. Nobody may be listening.
pub fn say(word: &Word) {
    if let Ok(mut text) = serde_json::to_string(word) {
        text.push('\n');
        let _ = std::io::stdout().write_all(text.as_bytes());
        let _ = std::io::stdout().flush();
    }
}

/// Starts a process in a session of its own and waits until it says that it is ready.
///
/// # Errors
/// What it says if it cannot be.
pub fn start(state: &State, role: Role, config: Option<&Path>, errand: Option<&Errand>) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find our own program")?;
    let output = state.logs().join(format!("{}.out", role.name()));
    let output = File::create(&output).context(format!("cannot write {}", output.display()))?;
    let mut command = Command::new(program);
    if let Some(config) = config {
        // It works in another directory than we do.
        command.arg("--config").arg(std::path::absolute(config).context("cannot find the configuration")?);
    }
    command.arg(role.name()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(output).current_dir("/");
    // SAFETY: setsid is async-signal-safe and touches nothing of ours.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
    }
    let mut child = command.spawn().context(format!("cannot start the {}", role.title()))?;
    let mut stdin = child.stdin.take();
    if let (Some(errand), Some(stdin)) = (errand, &mut stdin) {
        let text = serde_json::to_vec(errand).context("cannot write an errand")?;
        // A process that ended at once says why on its other end.
        let _ = stdin.write_all(&text);
    }
    drop(stdin);
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    match serde_json::from_str(&line) {
        Ok(Word::Ready) => Ok(child),
        Ok(Word::Failed(reason)) => {
            let _ = child.wait();
            Err(Error::unavailable(reason))
        }
        Err(_) => {
            let _ = child.wait();
            Err(Error::unavailable(format!(
                "the {} ended before it was ready: see {}",
                role.title(),
                state.logs().display()
            )))
        }
    }
}

/// Asks the process to end and waits for it; after `patience` it is killed. Answers whether there was one.
///
/// # Errors
/// If it is still there after that.
pub fn end(state: &State, role: Role, patience: Duration) -> Result<bool> {
    let Some(known) = running(state, role) else { return Ok(false) };
    let pid = Pid::from_raw(known.pid);
    for (signal, patience) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, Duration::from_secs(5))] {
        if !known.is_alive() {
            break;
        }
        kill(pid, signal).context(format!("cannot signal the {}", role.title()))?;
        let step = Duration::from_millis(20);
        let mut left = patience;
        while known.is_alive() && !left.is_zero() {
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
    }
    if known.is_alive() {
        return Err(Error::unavailable(format!("the {} (process {}) does not end", role.title(), known.pid)));
    }
    let _ = std::fs::remove_file(role.pid_file(state));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_a_stranger_with_its_number_is_not_it() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let known = Known::of(pid).unwrap();
        assert!(known.is_alive());
        assert!(!Known { started: known.started + 1, ..known }.is_alive());
    }
}
