//! A guest's process: how it is spawned, found again and watched.
//!
//! The proof of life is a lock. Before the fork the driver locks `<guest>/lock`; the child keeps that open file
//! through exec and nobody else does, so *the lock is held exactly as long as the guest's QEMU lives*, whatever
//! became of the driver. (It is an open-file-description lock: unlike flock(2) it can be asked about without being
//! taken.) Who holds it is found in `/proc`, starting with the pid file as a hint; a pid alone is never trusted.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hanse_core::{Context, Error, Result, Uuid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::files::{self, Owner};

/// Held by the driver while it starts a guest, and by QEMU while it lives.
pub struct Lock(File);

impl Lock {
    /// Takes the lock; none if somebody has it.
    pub fn take(path: &Path) -> Result<Option<Lock>> {
        let what = || format!("cannot lock {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .context(what())?;
        match lock_call(&file, libc::F_OFD_SETLK) {
            Ok(_) => Ok(Some(Lock(file))),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(None),
            Err(error) => Err(error).context(what()),
        }
    }

    /// Whether somebody has it.
    pub fn is_held(path: &Path) -> Result<bool> {
        let what = || format!("cannot ask for the lock {}", path.display());
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context(what()),
            Ok(file) => Ok(lock_call(&file, libc::F_OFD_GETLK).context(what())? != libc::F_UNLCK),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Runs a lock command for the whole file and returns the type that the kernel left in the request.
fn lock_call(file: &File, command: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: an all-zero flock is a valid request for the whole file.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = libc::F_WRLCK as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open and the request outlives the call.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(libc::c_int::from(request.l_type)) }
}

/// What a child has besides its arguments.
pub struct Surroundings<'a> {
    /// Descriptors that it keeps, under their numbers; all others are closed.
    pub keep: Vec<RawFd>,
    pub directory: &'a Path,
    /// The network namespace that it enters.
    pub namespace: Option<&'a File>,
    /// The user that it becomes, with the groups that it needs (`/dev/kvm`).
    pub owner: Option<Owner>,
    pub groups: Vec<u32>,
    /// Both its standard output and its standard error.
    pub output: &'a File,
    /// Whether it goes when the driver does.
    pub dies_with_us: bool,
}

/// Prepares a command: its own session, nothing inherited but what is named, no way back to privileges.
///
/// # Errors
/// When the descriptors cannot be duplicated.
pub fn command(binary: &Path, arguments: Vec<OsString>, around: Surroundings<'_>) -> Result<Command> {
    let output = || around.output.try_clone().context("cannot duplicate the output of QEMU");
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(around.directory)
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?);
    let Surroundings { keep, owner, groups, dies_with_us, .. } = around;
    let namespace = around.namespace.map(|file| file.as_raw_fd());
    // SAFETY: between fork and exec only raw system calls are made, on memory that was allocated before.
    unsafe {
        command.pre_exec(move || {
            check(libc::setsid())?;
            if let Some(namespace) = namespace {
                check(libc::setns(namespace, libc::CLONE_NEWNET))?;
            }
            // Kernels before 5.11 do not know it; there the standard library's own close-on-exec has to do.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            for fd in &keep {
                check(libc::fcntl(*fd, libc::F_SETFD, 0))?;
            }
            libc::umask(0o077);
            // A core file would hold the guest's memory.
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            check(libc::setrlimit(libc::RLIMIT_CORE, &raw const none))?;
            if let Some(owner) = owner {
                check(libc::setgroups(groups.len(), groups.as_ptr()))?;
                check(libc::setresgid(owner.gid, owner.gid, owner.gid))?;
                check(libc::setresuid(owner.uid, owner.uid, owner.uid))?;
            }
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            if dies_with_us {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            }
            Ok(())
        });
    }
    Ok(command)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A process that cannot be mistaken for another: a pidfd.
pub struct Process {
    pub pid: u32,
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// # Errors
    /// When there is no such process.
    pub fn open(pid: u32) -> io::Result<Process> {
        // SAFETY: pidfd_open takes two integers and returns a new descriptor that nobody else owns.
        let fd = unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd as RawFd)
        };
        // SAFETY: the descriptor is valid and stays within this value, which never replaces or closes it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        Ok(Process { pid, fd })
    }

    /// The process of a guest: it holds the guest's lock, and its command line names the guest. (Both, because
    /// a child of the driver that has not come to its exec yet holds whatever the driver had open.)
    pub fn find(lock: &Path, pid_file: &Path, id: Uuid) -> Result<Option<Process>> {
        let Ok(metadata) = std::fs::metadata(lock) else { return Ok(None) };
        let lock = (metadata.dev(), metadata.ino());
        let hint = files::read(pid_file, 32)?
            .and_then(|text| String::from_utf8(text).ok())
            .and_then(|text| text.trim().parse().ok());
        if let Some(process) = hint.and_then(|pid| Process::if_guest(pid, lock, id)) {
            return Ok(Some(process));
        }
        let all = std::fs::read_dir("/proc").context("cannot read /proc")?;
        let mut pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(pids.find_map(|pid| Process::if_guest(pid, lock, id)))
    }

    fn if_guest(pid: u32, lock: (u64, u64), id: Uuid) -> Option<Process> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let command_line = std::fs::read(directory.join("cmdline")).ok()?;
        let id = id.to_string();
        let mut arguments = command_line.split(|byte| *byte == 0);
        arguments.find(|argument| *argument == b"-uuid")?;
        if arguments.next() != Some(id.as_bytes()) {
            return None;
        }
        // From here on the pid cannot be given to somebody else unnoticed.
        let process = Process::open(pid).ok()?;
        let holds = std::fs::read_dir(directory.join("fd")).ok()?.any(|entry| {
            let metadata = entry.and_then(|entry| std::fs::metadata(entry.path()));
            metadata.is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == lock)
        });
        (holds && !process.has_exited()).then_some(process)
    }

    pub fn has_exited(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call; a time limit of zero does not block.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }

    /// Returns when the process is gone, and reaps it if it was our child.
    pub async fn exited(&self) {
        while !self.has_exited() {
            match self.fd.readable().await {
                Ok(mut ready) if !self.has_exited() => ready.clear_ready(),
                Ok(_) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        // SAFETY: an all-zero siginfo is a valid place for the answer, which nobody looks at.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let fd = self.fd.as_raw_fd() as libc::id_t;
            libc::waitid(libc::P_PIDFD, fd, &raw mut info, libc::WEXITED | libc::WNOHANG);
        }
    }

    /// Whether it went within the limit.
    pub async fn exited_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.exited()).await.is_ok()
    }

    /// Pulls the plug and returns when the process is gone.
    pub async fn kill(&self) -> Result<()> {
        // SAFETY: the pidfd is open; a process that is gone already is reported as such and is no problem.
        unsafe {
            let none = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), libc::SIGKILL, none, 0);
        }
        match self.exited_within(Duration::from_secs(30)).await {
            true => Ok(()),
            false => Err(Error::unavailable(format!(
                "process {} does not go although it was killed: the host's disk may hang",
                self.pid
            ))),
        }
    }
}

/// A file in memory that takes `size` bytes and no more, whoever writes to it: what QEMU prints about itself.
pub fn bounded_output(size: usize) -> Result<File> {
    let what = "cannot make a file in memory";
    // SAFETY: the name is a C string; the descriptor is new and nobody else owns it.
    let file = unsafe {
        let fd = libc::memfd_create(c"qemu-output".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if fd < 0 {
            return Err(io::Error::last_os_error()).context(what);
        }
        File::from_raw_fd(fd)
    };
    file.set_len(size as u64).context(what)?;
    let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: the descriptor is open and the seals are flags.
    check(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_ADD_SEALS, seals) }).context(what)?;
    Ok(file)
}

/// What was written to a [`bounded_output`].
pub fn written(output: &File) -> String {
    use std::os::unix::fs::FileExt;
    let size = output.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    if output.read_exact_at(&mut bytes, 0).is_err() {
        return String::new();
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}
