//! `xtask tidy`: the rules of the house that compilers and linters do not know.

mod layers;
mod sources;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Checks the repository and lists everything that is wrong; fails when something is.
pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = layers::check(&metadata(&root)?)?;
    for directory in ["crates", "tests", "xtask"] {
        walk(&root.join(directory), directory, &mut problems)?;
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("{} rules are broken", problems.len());
    }
    Ok(())
}

/// What cargo knows of the packages of this workspace, without their dependencies' own dependencies.
fn metadata(root: &Path) -> Result<serde_json::Value> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// Checks every Rust file below `directory`, which is called `name` in what is reported.
fn walk(directory: &Path, name: &str, problems: &mut Vec<String>) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{name}/{file}");
        if entry.file_type()?.is_dir() {
            // Build products of a crate that is built on its own.
            if file != "target" {
                walk(&entry.path(), &path, problems)?;
            }
        } else if file.ends_with(".rs") {
            problems.extend(sources::check(&path, &fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}
