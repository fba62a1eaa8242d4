//! Running `qemu-img`: as QEMU's own user, without environment, within limits, and never probing a format.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanse_core::{Context, Error, Kind, Result, Uuid};
use hanse_node::documents::DiskFormat;
use serde_json::{Value, json};

use super::disks::Base;
use super::{Owner, no_space};

/// Of address space; a hostile image can make QEMU ask for tables of any size.
const MEMORY_BYTES: libc::rlim_t = 1 << 30;
const CPU_SECONDS: libc::rlim_t = 120;
const OPEN_FILES: libc::rlim_t = 64;
/// What is kept of its complaints.
const STDERR_BYTES: u64 = 4096;

pub(super) struct QemuImg {
    pub(super) program: PathBuf,
    pub(super) owner: Option<Owner>,
    pub(super) limit: Duration,
}

/// How it ended: the exit code unless a signal or our time limit ended it, and its complaints.
struct Outcome {
    code: Option<i32>,
    stderr: String,
}

impl QemuImg {
    /// Has QEMU walk through all tables of an image whose header was found sound.
    pub(super) fn check(&self, directory: &Path, name: &str) -> Result<()> {
        let outcome = self.run(directory, &["check", "-q", &node(name, None)])?;
        match outcome.code {
            // 3: some clusters are counted but not used, which wastes space and harms nobody.
            Some(0 | 3) => Ok(()),
            _ if outcome.says("Permission denied") => Err(outcome.fault("cannot check an image")),
            Some(2) => Err(outcome.refusal("its tables are damaged or it was cut short")),
            Some(_) => Err(outcome.refusal("QEMU cannot read it")),
            None => Err(outcome.refusal("reading its tables takes more time or memory than an image may")),
        }
    }

    /// Fills in an empty file. Clusters of 128 KiB with subclusters of 4 KiB: small tables, and a first write
    /// over the base copies little.
    pub(super) fn create(
        &self,
        directory: &Path,
        name: &str,
        base: Option<&Base>,
        size_bytes: u64,
    ) -> Result<()> {
        let size = size_bytes.to_string();
        let mut arguments = vec!["create", "-q", "-f", "qcow2", "-o", "cluster_size=128k,extended_l2=on"];
        if let Some(base) = base {
            arguments.extend(["-F", base.format().as_str(), "-b", base.name()]);
        }
        arguments.extend([name, &size]);
        let outcome = self.run(directory, &arguments)?;
        if outcome.code == Some(0) { Ok(()) } else { Err(outcome.fault("cannot make a disk")) }
    }

    pub(super) fn resize(
        &self,
        id: Uuid,
        directory: &Path,
        name: &str,
        base: Option<&Base>,
        size_bytes: u64,
    ) -> Result<()> {
        let outcome = self.run(directory, &["resize", "-q", &node(name, base), &size_bytes.to_string()])?;
        match outcome.code {
            Some(0) => Ok(()),
            _ if outcome.says(" lock") => Err(Error::conflict(format!(
                "A guest is running on disk {id}; stop it, or grow the disk through the guest."
            ))
            .because(outcome.stderr)),
            _ => Err(outcome.fault("cannot grow a disk")),
        }
    }

    /// Blocks until it has ended. Not through the async runtime, because the kernel ends the child with the
    /// *thread* that started it, and this one stays.
    fn run(&self, directory: &Path, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(Owner { uid, gid }) = self.owner {
            // Setting the uid drops the supplementary groups, too.
            command.gid(gid).uid(uid);
        }
        let parent = std::process::id();
        // SAFETY: between fork and exec the closure only makes system calls and allocates nothing.
        unsafe { command.pre_exec(move || confine(parent)) };
        let mut child = command.spawn().map_err(|error| {
            let error = format!("{} in {}: {error}", self.program.display(), directory.display());
            Error::unavailable("qemu-img cannot be started on this node; is it installed (qemu-utils)?")
                .because(error)
        })?;
        let stderr = child.stderr.take();
        let (mut kept, mut status) = (Vec::new(), Ok(None));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(mut stderr) = stderr {
                    // Read on to the end: a full pipe would stop the child. A read error is an end, too.
                    let _ = stderr.by_ref().take(STDERR_BYTES).read_to_end(&mut kept);
                    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                }
            });
            status = wait(&mut child, self.limit);
        });
        let mut stderr = String::from_utf8_lossy(&kept).trim().to_owned();
        let status = status.context("cannot wait for qemu-img")?;
        if status.is_none() {
            stderr = format!("took longer than {} s; {stderr}", self.limit.as_secs_f32());
        }
        Ok(Outcome { code: status.and_then(|status| status.code()), stderr })
    }
}

/// Nothing if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
    let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Runs in the child before `qemu-img` does.
fn confine(parent: u32) -> std::io::Result<()> {
    let limits = [
        (libc::RLIMIT_AS, MEMORY_BYTES),
        (libc::RLIMIT_CPU, CPU_SECONDS),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, value) in limits {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: `limit` is a valid rlimit for the length of the call.
        if unsafe { libc::setrlimit(resource, &limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // SAFETY: plain system calls on the calling process. If the agent dies, qemu-img must not go on writing into
    // a directory that the next agent sweeps; and it shall never gain what it was denied.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
            || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
    };
    if failed {
        return Err(std::io::Error::last_os_error());
    }
    // Whether it died before the line above.
    if std::os::unix::process::parent_id() != parent {
        return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// Describes a qcow2 file so that QEMU neither probes a format nor follows a name in the file's header.
fn node(name: &str, base: Option<&Base>) -> String {
    let file =
        |driver: &str, name: &str| json!({"driver": driver, "file": {"driver": "file", "filename": name}});
    let mut node = file("qcow2", name);
    node["backing"] = match base {
        Some(base) => {
            let mut below = file(base.format().as_str(), base.name());
            if base.format() == DiskFormat::Qcow2 {
                below["backing"] = Value::Null;
            }
            below
        }
        None => Value::Null,
    };
    format!("json:{node}")
}

impl Outcome {
    fn says(&self, text: &str) -> bool {
        self.stderr.contains(text)
    }

    /// The image is to blame.
    fn refusal(self, what: &str) -> Error {
        if self.says("No space left on device") {
            return no_space(self.stderr);
        }
        let message = format!("The image was declared as qcow2 but cannot be taken: {what}.");
        Error::new(Kind::BadRequest, message).because(format!("qemu-img: {}", self.stderr))
    }

    /// The node is to blame.
    fn fault(self, what: &str) -> Error {
        let detail = match self.code {
            Some(code) => format!("{what}: qemu-img ended with {code}: {}", self.stderr),
            None => format!("{what}: qemu-img was ended: {}", self.stderr),
        };
        if self.says("No space left on device") || self.says("Disk quota exceeded") {
            no_space(detail)
        } else if self.says("Permission denied") {
            Error::internal(format!(
                "{detail}; every directory above the storage must let QEMU's user pass (mode o+x)"
            ))
        } else {
            Error::internal(detail)
        }
    }
}
