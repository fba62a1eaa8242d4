//! The Debian packages that the guest is made of: resolved to versions, downloaded and unpacked, never installed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{command, step};

/// The package that always depends on the newest kernel made for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// What else the guest needs: its programs with their libraries, and the boot loader with the tool that installs it.
const REQUIRED: &[&str] = &[
    "busybox-static",
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
    "mtools",
    "syslinux",
    "syslinux-common",
];

/// The packages of one build, each with its exact version.
pub struct Packages {
    work: PathBuf,
    list: Vec<Package>,
}

struct Package {
    name: String,
    version: String,
}

impl Packages {
    /// Asks apt which versions a build would use now.
    pub fn resolve(work: &Path) -> Result<Self> {
        let kernel = match concrete_kernel() {
            Ok(name) => name,
            // A fresh machine has no package lists yet. Only root can fetch them; apt says so itself.
            Err(_) => {
                step("fetching the package lists");
                command::run("apt-get", |c| c.args(["update", "-q"]))?;
                concrete_kernel()?
            }
        };
        let mut names = vec![kernel.as_str()];
        names.extend_from_slice(REQUIRED);
        // One question about all of them, because apt reads its whole cache for each.
        let policy = command::run("apt-cache", |c| c.arg("policy").args(&names))?;
        let list = names.iter().map(|name| candidate(&policy, name)).collect::<Result<_>>()?;
        Ok(Self { work: work.to_owned(), list })
    }

    /// One line per package, for the record of what an image was made of.
    pub fn versions(&self) -> String {
        let mut text = String::new();
        for Package { name, version } in &self.list {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {version}");
        }
        text
    }

    /// Downloads what is not there yet and unpacks everything into one tree, whose path is returned.
    pub fn unpack(&self) -> Result<PathBuf> {
        let root = self.work.join("packages");
        let record = root.join("versions");
        if fs::read_to_string(&record).is_ok_and(|seen| seen == self.versions()) {
            return Ok(root);
        }
        let debs = self.work.join("debs");
        fs::create_dir_all(&debs)?;
        let fresh = self.work.join("packages.new");
        remove_tree(&fresh)?;
        fs::create_dir_all(&fresh)?;
        for package in &self.list {
            let deb = package.download(&debs)?;
            command::run("dpkg-deb", |c| c.arg("--extract").arg(&deb).arg(&fresh))?;
        }
        // The record is written last and the tree renamed after it: a tree that is there is complete.
        fs::write(fresh.join("versions"), self.versions())?;
        remove_tree(&root)?;
        fs::rename(&fresh, &root)?;
        Ok(root)
    }
}

impl Package {
    /// The path of the downloaded package; apt checks what it downloads against its signed lists.
    fn download(&self, debs: &Path) -> Result<PathBuf> {
        // apt writes the epoch's colon as an escape in file names.
        let prefix = format!("{}_{}_", self.name, self.version.replace(':', "%3a"));
        if let Some(path) = find_with_prefix(debs, &prefix)? {
            return Ok(path);
        }
        step(&format!("downloading {} {}", self.name, self.version));
        // Downloaded beside and moved, so that an interrupted download is never taken for a package. As root, apt
        // would otherwise switch to a user who may not write here.
        let fresh = debs.join("new");
        remove_tree(&fresh)?;
        fs::create_dir_all(&fresh)?;
        command::run("apt-get", |c| {
            c.args(["download", "-q", "-o", "APT::Sandbox::User=root"])
                .arg(format!("{}={}", self.name, self.version))
                .current_dir(&fresh)
        })?;
        let Some(path) = find_with_prefix(&fresh, &prefix)? else {
            bail!("apt-get download {} did not leave a file named {prefix}*", self.name);
        };
        let place = debs.join(path.file_name().context("a file without a name")?);
        fs::rename(&path, &place)?;
        Ok(place)
    }
}

/// The versioned package behind [`KERNEL`].
fn concrete_kernel() -> Result<String> {
    let depends = command::run("apt-cache", |c| c.args(["depends", KERNEL]))?;
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-") && name.ends_with("-cloud-amd64"))
        .map(str::to_owned)
        .with_context(|| format!("{KERNEL} depends on no kernel; this needs an amd64 Debian"))
}

/// Finds the version that apt would install in what `apt-cache policy` printed: a line "name:" per package, followed
/// by indented lines about it.
fn candidate(policy: &str, name: &str) -> Result<Package> {
    policy
        .lines()
        .skip_while(|line| line.strip_suffix(':') != Some(name))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .map(|version| Package { name: name.to_owned(), version: version.to_owned() })
        .with_context(|| format!("apt knows no package {name}; run `apt-get update` as root"))
}

fn find_with_prefix(directory: &Path, prefix: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_from_the_right_package() {
        let policy = "mtools:\n  Installed: (none)\n  Candidate: 4.0-1\n  Version table:\n     4.0-1 500\n\
                      syslinux:\n  Installed: 3:6\n  Candidate: 3:7\nold:\n  Candidate: (none)\n";
        assert_eq!(candidate(policy, "mtools").unwrap().version, "4.0-1");
        assert_eq!(candidate(policy, "syslinux").unwrap().version, "3:7");
        assert!(candidate(policy, "old").is_err());
        assert!(candidate(policy, "sys").is_err());
    }
}
