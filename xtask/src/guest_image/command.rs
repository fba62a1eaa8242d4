//! Running other programs, with errors that show what they said.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `program` and returns its standard output; fails with its standard error when it fails.
pub fn run(program: &str, arrange: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(program);
    // The output of several tools is parsed, so it must not be translated.
    arrange(command.stdin(Stdio::null()).env("LC_ALL", "C"));
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed ({}): {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sees to it that `program` is installed: installs `package` when we are root, otherwise says what to install.
pub fn ensure_tool(program: &str, package: &str) -> Result<()> {
    if found(program) {
        return Ok(());
    }
    let uid = run("id", |c| c.arg("-u"))?;
    if uid.trim() != "0" {
        bail!("{program} is missing: run `apt-get install {package}` as root");
    }
    super::step(&format!("installing {package}"));
    run("apt-get", |c| {
        c.args(["install", "-y", "-q", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive")
    })?;
    Ok(())
}

fn found(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
