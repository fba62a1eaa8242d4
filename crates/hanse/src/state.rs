//! The state directory: what lies where, whose it is, and who holds it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use hanse_core::{Context, Cx, Error, Result};
use hanse_crypto::secret_file;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

/// The version of the directory's layout. A newer one is refused; an older one is brought up to date by `hanse up`.
const LAYOUT: u32 = 1;

/// As much must be free to start, in bytes: for logs, small files and the database's write-ahead log.
const START_BYTES: u64 = 8 << 20;

/// What was decided when the cloud was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cloud {
    pub layout: u32,
    /// Six hexadecimal digits that tell this cloud's namespaces and interfaces from another's on the same host.
    pub id: String,
    /// Whether `hanse up` made the system user, so that `hanse reset` takes it back.
    pub made_user: bool,
}

/// Paths below the state directory.
#[derive(Clone, Debug)]
pub struct State(PathBuf);

impl State {
    pub fn at(path: &Path) -> State {
        State(path.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The control plane's own: database and keys. Nobody else reads it.
    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    pub fn database(&self) -> PathBuf {
        self.control().join("state.db")
    }

    pub fn master_key(&self) -> PathBuf {
        self.control().join("master.key")
    }

    pub fn token_keys(&self) -> PathBuf {
        self.control().join("token-keys")
    }

    /// There once signed tokens were asked for.
    pub fn signing_keys(&self) -> PathBuf {
        self.control().join("signing-keys")
    }

    pub fn authority(&self) -> PathBuf {
        self.control().join("ca")
    }

    /// What object storage keeps, unless the configuration names another place. Control planes of one cloud share
    /// `control`, and with it what lies beside: there are not two stores of one cloud.
    pub fn objects(&self) -> PathBuf {
        let control = self.control();
        let shared = if control.is_symlink() { std::fs::canonicalize(&control).ok() } else { None };
        shared.as_deref().and_then(Path::parent).unwrap_or(&self.0).join("objects")
    }

    pub fn agent_socket(&self) -> PathBuf {
        self.0.join("run/agent.sock")
    }

    /// By which the process that has the objects open is asked for a copy of them.
    pub fn objects_socket(&self) -> PathBuf {
        self.run().join("objects.sock")
    }

    /// What the agent keeps: guests, images and disks.
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What the operator needs: credentials and the CA's certificate.
    pub fn operator(&self) -> PathBuf {
        self.0.join("operator")
    }

    pub fn clouds_yaml(&self) -> PathBuf {
        self.operator().join("clouds.yaml")
    }

    pub fn ca_certificate(&self) -> PathBuf {
        self.operator().join("ca.crt")
    }

    pub fn admin_password(&self) -> PathBuf {
        self.operator().join("admin-password")
    }

    pub fn demo_password(&self) -> PathBuf {
        self.operator().join("demo-password")
    }

    pub fn cloud_file(&self) -> PathBuf {
        self.0.join("cloud.json")
    }

    /// Reads what was decided when the cloud was made; `None` if there is no cloud here.
    ///
    /// # Errors
    /// If the directory belongs to another release or to something else.
    pub fn cloud(&self) -> Result<Option<Cloud>> {
        let file = self.cloud_file();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::forbidden(format!("cannot read {}: run this as root", file.display())));
            }
            Err(error) => return Err(Error::unavailable(format!("cannot read {}: {error}", file.display()))),
        };
        let cloud: Cloud = serde_json::from_str(&text).map_err(|_| {
            Error::conflict(format!(
                "{} is damaged: restore it from a copy, or `hanse reset` to begin anew",
                file.display()
            ))
        })?;
        if cloud.layout > LAYOUT {
            return Err(Error::conflict(format!(
                "{} was written by a newer release (layout {}, this release knows {LAYOUT}): start the newer release",
                self.0.display(),
                cloud.layout
            )));
        }
        Ok(Some(cloud))
    }

    /// Makes the directories that are missing, that of the objects among them, and gives each to whom it belongs. Run
    /// again, it repairs.
    ///
    /// # Errors
    /// If a path is in use for something else, or the file system refuses.
    pub fn prepare(&self, cx: &Cx, objects: &Path, owner: Owner, made_user: bool) -> Result<Cloud> {
        let cloud = self.cloud()?;
        if cloud.is_none() {
            self.refuse_foreign()?;
        }
        crate::objects::refuse_foreign(objects)?;
        make(&self.0, 0o711, None)?;
        let cloud = match cloud {
            Some(cloud) => cloud,
            None => {
                let id = cx.hex_id().chars().take(6).collect();
                let cloud = Cloud { layout: LAYOUT, id, made_user };
                let text = serde_json::to_vec_pretty(&cloud).context("cannot write cloud.json")?;
                secret_file::write(&self.cloud_file(), 0o644, &text)?;
                cloud
            }
        };
        make(&self.control(), 0o700, Some(owner))?;
        make(&self.logs(), 0o750, Some(owner))?;
        make(&self.run(), 0o750, Some(owner))?;
        make(&self.agent(), 0o711, None)?;
        make(&self.operator(), 0o700, None)?;
        if let Some(above) = objects.parent() {
            // Its owner must get through.
            DirBuilder::new().recursive(true).create(above).context(what_fails(above))?;
        }
        make(objects, 0o700, Some(owner))?;
        Ok(cloud)
    }

    /// Refuses to start on a full disk, where one thing after the other would fail.
    ///
    /// # Errors
    /// 503 with what to do.
    pub fn check_space(&self) -> Result<()> {
        let there = self.0.ancestors().find(|path| path.exists()).unwrap_or(&self.0);
        let stat = nix::sys::statvfs::statvfs(there)
            .context(format!("cannot ask how full the disk of {} is", there.display()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free >= START_BYTES {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "the disk of {} is full ({} KiB are left): free at least {} MiB there, then run this again",
            self.0.display(),
            free >> 10,
            START_BYTES >> 20,
        )))
    }

    /// A directory with other things in it is not ours to fill.
    fn refuse_foreign(&self) -> Result<()> {
        let Ok(mut entries) = std::fs::read_dir(&self.0) else { return Ok(()) };
        match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::conflict(format!(
                "{} holds files but no cloud of ours: set another `state_dir`, or empty it",
                self.0.display()
            ))),
        }
    }

    /// A password that is made once and kept for the operator.
    ///
    /// # Errors
    /// If the file cannot be written or read.
    pub fn password(&self, cx: &Cx, file: &Path) -> Result<hanse_core::Secret<String>> {
        if !file.exists() {
            // 128 random bits; hexadecimal so that it can be pasted anywhere.
            secret_file::write(file, 0o600, cx.hex_id().as_bytes())?;
        }
        let mut text = String::new();
        File::open(file)
            .and_then(|mut open| open.read_to_string(&mut text))
            .context(format!("cannot read {}", file.display()))?;
        Ok(hanse_core::Secret::new(text.trim().to_owned()))
    }
}

/// Who a directory is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

fn what_fails(path: &Path) -> String {
    format!("cannot make the directory {}", path.display())
}

/// Makes a directory if it is not there, and gives it to its owner.
///
/// # Errors
/// If the file system refuses.
pub fn make(path: &Path, mode: u32, owner: Option<Owner>) -> Result<()> {
    let what = || what_fails(path);
    DirBuilder::new().recursive(true).mode(mode).create(path).context(what())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).context(what())?;
    if let Some(owner) = owner {
        chown(path, Some(owner.uid), Some(owner.gid)).context(what())?;
    }
    Ok(())
}

/// A socket that only root and our own user can open. Whoever listens there is alone, by a lock that it holds, so what
/// lies there is a dead process's.
///
/// # Errors
/// If it cannot be made.
pub fn private_socket(path: &Path) -> Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).context(format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .context("cannot close the socket to others")?;
    Ok(listener)
}

/// Holds a lock for as long as the process lives.
pub struct Held(#[expect(dead_code, reason = "dropping it releases the lock")] Flock<File>);

/// Takes the lock of a process on the state directory.
///
/// # Errors
/// 409 if another one holds it.
pub fn hold(path: &Path, who: &str) -> Result<Held> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .context(format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map(Held).map_err(|_| {
        Error::conflict(format!(
            "another {who} holds {}: `hanse status` tells which, `hanse down` stops it",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use hanse_testkit::context;

    use super::*;

    fn owner() -> Owner {
        Owner { uid: nix::unistd::getuid().as_raw(), gid: nix::unistd::getgid().as_raw() }
    }

    #[test]
    fn a_state_directory_is_made_once_and_keeps_its_id() {
        let (cx, _) = context();
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(&directory.path().join("hanse"));
        assert!(state.cloud().unwrap().is_none());
        let first = state.prepare(&cx, &state.objects(), owner(), true).unwrap();
        let second = state.prepare(&cx, &state.objects(), owner(), false).unwrap();
        assert_eq!((first.id.as_str(), second.made_user), (second.id.as_str(), true));
        let mode = std::fs::metadata(state.control()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let mode = std::fs::metadata(state.objects()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        let password = state.password(&cx, &state.admin_password()).unwrap();
        assert_eq!(&password, &state.password(&cx, &state.admin_password()).unwrap());
        let mode = std::fs::metadata(state.admin_password()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn state_directories_that_share_their_keys_share_their_objects() {
        let (cx, _) = context();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let [first, second] = ["a", "b"].map(|name| State::at(&root.join(name)));
        first.prepare(&cx, &first.objects(), owner(), false).unwrap();
        assert_eq!(first.objects(), root.join("a/objects"));
        std::fs::create_dir(second.path()).unwrap();
        std::os::unix::fs::symlink(first.control(), second.control()).unwrap();
        assert_eq!(second.objects(), first.objects());
    }

    #[test]
    fn a_directory_of_somebody_else_or_of_a_newer_release_is_refused() {
        let (cx, _) = context();
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        std::fs::write(directory.path().join("thesis.tex"), "x").unwrap();
        assert!(
            state
                .prepare(&cx, &state.objects(), owner(), false)
                .unwrap_err()
                .message()
                .contains("no cloud of ours")
        );
        std::fs::write(state.cloud_file(), r#"{"layout": 99, "id": "abcdef", "made_user": false}"#).unwrap();
        assert!(state.cloud().unwrap_err().message().contains("newer release"));
        std::fs::write(state.cloud_file(), "{").unwrap();
        assert!(state.cloud().unwrap_err().message().contains("damaged"));
    }

    #[test]
    fn two_processes_cannot_hold_the_same_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = hold(&path, "control plane").unwrap();
        assert!(hold(&path, "control plane").is_err());
        drop(held);
        hold(&path, "control plane").unwrap();
    }
}
