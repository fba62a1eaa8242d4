//! Network namespaces with names, kept where `ip netns` keeps them, so that an operator can look in.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanse_core::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};
use tokio::sync::oneshot;

const DIRECTORY: &str = "/run/netns";
/// What a file of the kernel's namespace file system says of itself (`NSFS_MAGIC`).
const NSFS: FsType = FsType(0x6e73_6673);

/// An open network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    file: Arc<File>,
}

impl Namespace {
    /// The one that the calling thread is in.
    pub fn current() -> Result<Namespace> {
        let file = File::open("/proc/thread-self/ns/net").context("cannot open the own network namespace")?;
        Ok(Namespace { name: "the host".to_owned(), file: Arc::new(file) })
    }

    /// Opens the namespace of this name and makes it first where it is missing.
    pub async fn ensure(name: &str) -> Result<Namespace> {
        if let Some(found) = Namespace::open(name)? {
            return Ok(found);
        }
        let path = path(name);
        on_thread(move || create(&path)).await?;
        Namespace::open(name)?.ok_or_else(|| Error::internal(format!("namespace {name} vanished when made")))
    }

    /// None if there is no such namespace; a file that a crash left without its mount counts as none.
    pub fn open(name: &str) -> Result<Option<Namespace>> {
        let file = match File::open(path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.context(format_args!("cannot open network namespace {name}"))?,
        };
        let kind = fstatfs(&file).context("cannot look at a namespace file")?.filesystem_type();
        Ok((kind == NSFS).then(|| Namespace { name: name.to_owned(), file: Arc::new(file) }))
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Tells a namespace from a later one of the same name.
    pub fn identity(&self) -> Result<u64> {
        Ok(self.file.metadata().context("cannot look at a namespace file")?.ino())
    }

    /// Runs `work` on a thread of its own inside the namespace; sockets and children that it makes stay there.
    /// The caller's thread never leaves its namespace.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Namespace { name, file } = self.clone();
        on_thread(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET).context(format_args!("cannot enter {name}"))?;
            work()
        })
        .await
    }

    /// Writes kernel parameters of this namespace; names are relative to `/proc/sys/net`.
    pub async fn sysctl(&self, settings: Vec<(String, &'static str)>) -> Result<()> {
        self.run(move || {
            settings.iter().try_for_each(|(name, value)| {
                let path = format!("/proc/sys/net/{name}");
                match fs::write(&path, value) {
                    // A kernel without IPv6 needs no telling that it is off.
                    Err(error) if error.kind() == ErrorKind::NotFound && name.starts_with("ipv6/") => Ok(()),
                    other => other.context(format_args!("cannot write {path}")),
                }
            })
        })
        .await
    }
}

/// Where the namespace of this name can be opened.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The names of all namespaces that `owns` says are ours, also half-made ones.
pub fn list(owns: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context("cannot list the network namespaces")?,
    };
    let names = entries.map(|entry| {
        let entry = entry.context("cannot list the network namespaces")?;
        Ok(entry.file_name().into_string().ok())
    });
    let names = names.filter_map(Result::transpose).collect::<Result<Vec<String>>>()?;
    Ok(names.into_iter().filter(|name| owns(name)).collect())
}

/// Takes the name away; the kernel ends the namespace when its last process and socket are gone.
pub fn remove(name: &str) -> Result<()> {
    let path = path(name);
    loop {
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(error) => return Err(error).context(format_args!("cannot unmount namespace {name}")),
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.context(format_args!("cannot remove namespace {name}")),
    }
}

/// Runs on a thread that ends afterwards, because `setns` and `unshare` change the thread that calls them.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("netns".to_owned());
    thread
        .spawn(move || {
            let _inside = runtime.enter();
            // The receiver is gone only if the caller was cancelled; then nobody wants the result.
            let _ = done.send(work());
        })
        .context("cannot start a thread")?;
    result.await.context("the thread in the namespace died")?
}

fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(DIRECTORY).context("cannot make /run/netns")?;
    // `ip netns` makes the directory a shared mount; two who do that at once would hide each other's mounts.
    let directory = File::open(DIRECTORY).context("cannot open /run/netns")?;
    let lock = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("cannot lock /run/netns")?;
    share_directory()?;
    drop(lock);
    File::create(path).context("cannot make a namespace file")?;
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (are you root?)")?;
    mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("cannot give a network namespace its name")
}

fn share_directory() -> Result<()> {
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, DIRECTORY, None::<&str>, flags, None::<&str>)
    };
    if share() == Err(Errno::EINVAL) {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(DIRECTORY), DIRECTORY, None::<&str>, flags, None::<&str>)
            .context("cannot mount /run/netns")?;
        share().context("cannot share /run/netns")?;
    }
    Ok(())
}
