//! The guest's root file system: busybox, an ssh server, the kernel modules and our scripts in one archive, which
//! the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::command;
use super::cpio::Archive;
use super::kernel::Kernel;

/// A text file of ours in the guest.
pub struct Script {
    /// Where it lies in the guest.
    path: &'static str,
    permissions: u32,
    pub text: &'static str,
}

const fn script(path: &'static str, text: &'static str) -> Script {
    Script { path, permissions: 0o755, text }
}

const fn data(path: &'static str, text: &'static str) -> Script {
    Script { path, permissions: 0o644, text }
}

/// Every text file of the guest.
pub const SCRIPTS: &[Script] = &[
    script("/etc/rc", include_str!("init.sh")),
    script("/etc/acpi/PWRF/00000080", include_str!("power.sh")),
    script("/lib/hanse/hotplug", include_str!("hotplug.sh")),
    script("/lib/hanse/lease", include_str!("lease.sh")),
    script("/lib/hanse/metadata", include_str!("metadata.sh")),
    script("/lib/hanse/nic", include_str!("nic.sh")),
    script("/lib/hanse/stop", include_str!("stop.sh")),
    script("/bin/lsblk", include_str!("lsblk.sh")),
    script("/bin/sudo", include_str!("sudo.sh")),
    script("/sbin/mkfs", include_str!("mkfs.sh")),
    data("/etc/inittab", include_str!("inittab")),
    data("/lib/hanse/flatten.awk", include_str!("flatten.awk")),
    data("/lib/hanse/instance.sh", include_str!("instance.sh")),
    // `hanse` is another name of root, for tools that insist on an ordinary user with sudo. No password fits "*".
    data("/etc/passwd", "root:*:0:0:root:/root:/bin/sh\nhanse:*:0:0:hanse:/root:/bin/sh\n"),
    data("/etc/group", "root:x:0:\n"),
    data("/etc/shells", "/bin/sh\n"),
    data("/etc/hosts", "127.0.0.1 localhost hanse-guest\n"),
];

const DIRECTORIES: &[&str] = &[
    "/bin",
    "/dev",
    "/etc",
    "/etc/acpi",
    "/etc/acpi/PWRF",
    "/lib",
    "/lib/hanse",
    "/lib/modules",
    "/lib64",
    "/mnt",
    "/proc",
    "/run",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/sbin",
    "/var",
];

/// Programs taken from packages as they are, with the libraries they need.
const PROGRAMS: &[&str] = &["usr/sbin/dropbear", "usr/bin/dropbearkey"];

/// The dynamic loader: where its package has it (a link leads there from the path that programs name).
const LOADER: &str = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
/// And the path which is fixed in every dynamically linked program.
const LOADER_IN_GUEST: &str = "/lib64/ld-linux-x86-64.so.2";

/// Builds the archive from the packages unpacked at `root`.
pub fn build(root: &Path, kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory, 0o755);
    }
    archive.directory("/root", 0o700);
    archive.directory("/root/.ssh", 0o700);
    archive.directory("/tmp", 0o1777);
    archive.symlink("/sbin", "bin");
    archive.symlink("/var/run", "/run");
    archive.symlink("/etc/mtab", "/proc/mounts");
    // The kernel opens the console for process 1 before anything could mount /dev.
    archive.character_device("/dev/console", 0o600, 5, 1);

    add_busybox(root, &mut archive)?;
    add_programs(root, &mut archive)?;
    add_modules(kernel, &mut archive);
    for script in SCRIPTS {
        archive.file(script.path, script.permissions, script.text.as_bytes());
    }
    Ok(archive.finish())
}

/// busybox under the names of all it can do, except those which a script of ours serves.
fn add_busybox(root: &Path, archive: &mut Archive) -> Result<()> {
    let busybox = root.join("bin/busybox");
    archive.file("/bin/busybox", 0o755, &read(&busybox)?);
    archive.symlink("/init", "/bin/busybox");
    let taken: BTreeSet<&str> = SCRIPTS.iter().filter_map(|script| script.path.rsplit('/').next()).collect();
    let applets = command::run(&busybox.to_string_lossy(), |c| c.arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox" && !taken.contains(applet)) {
        archive.symlink(&format!("/bin/{applet}"), "busybox");
    }
    Ok(())
}

fn add_programs(root: &Path, archive: &mut Archive) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        archive.file(&format!("/{program}"), 0o755, &read(&root.join(program))?);
        let name = program.rsplit('/').next().unwrap_or(program);
        archive.symlink(&format!("/bin/{name}"), &format!("/{program}"));
        libraries.extend(libraries_of(root, program)?);
    }
    archive.file(LOADER_IN_GUEST, 0o755, &read(&root.join(LOADER))?);
    for library in libraries {
        let name = library.file_name().context("a library without a name")?.to_string_lossy().into_owned();
        archive.file(&format!("/lib/{name}"), 0o755, &read(&library)?);
    }
    Ok(())
}

/// Asks the unpacked dynamic loader itself which libraries a program needs, so that what is copied is what is found
/// in the guest, whatever the building machine has installed.
fn libraries_of(root: &Path, program: &str) -> Result<Vec<PathBuf>> {
    let search: Vec<String> = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
        .iter()
        .map(|directory| root.join(directory).to_string_lossy().into_owned())
        .collect();
    let loader = root.join(LOADER);
    let list = command::run(&loader.to_string_lossy(), |c| {
        c.arg("--library-path").arg(search.join(":")).arg("--list").arg(root.join(program))
    })?;
    let mut libraries = Vec::new();
    for line in list.lines() {
        // "libz.so.1 => /path/libz.so.1 (0x...)"; the kernel's vdso has no arrow, and the loader is named by its path.
        let Some((name, found)) = line.trim().split_once(" => ") else { continue };
        if name.starts_with('/') {
            continue;
        }
        let path = PathBuf::from(found.split_whitespace().next().unwrap_or_default());
        if !path.starts_with(root) {
            bail!("{program} needs {name}, which no downloaded package holds");
        }
        libraries.push(path);
    }
    Ok(libraries)
}

/// The modules with the two files that `modprobe` and `/etc/rc` read.
fn add_modules(kernel: &Kernel, archive: &mut Archive) {
    let directory = format!("/lib/modules/{}", kernel.release);
    archive.directory(&directory, 0o755);
    let mut dependencies = String::new();
    let mut order = String::new();
    for module in &kernel.modules {
        archive.file(&format!("{directory}/{}.ko", module.name), 0o644, &module.content);
        let needs: String = module.needs.iter().map(|need| format!(" {need}.ko")).collect();
        dependencies.push_str(&format!("{}.ko:{needs}\n", module.name));
        order.push_str(&format!("{}\n", module.name));
    }
    archive.file(&format!("{directory}/modules.dep"), 0o644, dependencies.as_bytes());
    archive.file("/etc/modules", 0o644, order.as_bytes());
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
