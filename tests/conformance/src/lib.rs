//! Programs of others against the real binary: Tempest, which judges it, and Keystone, which it is compared with.
//!
//! Each runs in a Python environment of its own, in the network namespace of a cloud that is made for it.

pub mod bench;
mod client;
pub mod keystone;
pub mod tempest;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// No guests.
pub const CONFIG: &str = "[hypervisor]\ndriver = \"sim\"";

/// A file of this package's.
fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A Python environment that `make` installed: the clients', or the one of this name beside them.
fn environment(name: &str) -> PathBuf {
    let clients = std::env::var_os("HANSE_TOOLS").map_or_else(|| ours("../../.tools/bin"), PathBuf::from);
    match name {
        "" => clients,
        name => clients.join("..").join(name).join("bin"),
    }
}

/// Whether this machine can run these tests. Says that they are skipped if not, unless they are required.
///
/// # Panics
/// If `HANSE_REQUIRED_TESTS` names `conformance` and an environment is missing.
#[expect(clippy::panic, reason = "a test that cannot go on fails")]
pub fn possible() -> bool {
    if !hanse_e2e::possible() {
        return false;
    }
    let missing = ["tempest", "keystone"].into_iter().find(|name| !environment(name).join("python").exists());
    let Some(missing) = missing else { return true };
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    if required.split(',').any(|area| area.trim() == "conformance") {
        panic!("conformance is required, but {missing} is missing (make conformance-tools)");
    }
    eprintln!("SKIPPED: {missing} is missing (make conformance-tools)");
    false
}

/// Runs a program to its end; what it says if it fails is the error.
fn finish(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|bytes| tail(&String::from_utf8_lossy(&bytes)));
        bail!("{command:?} failed with {}:\n{}\n{}", output.status, said[0], said[1]);
    }
    Ok(output)
}

/// The last lines of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
