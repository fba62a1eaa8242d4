//! What a guest has on the host's disk, except its disks.
//!
//! `<base>/<id>/` belongs to root and nothing in it can be written by QEMU: its monitor socket is made by the
//! driver and handed over, its console stays in QEMU's memory until the driver fetches it. So a guest that has
//! taken over its QEMU finds no file of the agent's to lead astray.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hanse_core::{Context, Error, Result, Uuid};
use hanse_node::documents::Reboots;
use serde::{Deserialize, Serialize};

use crate::files::{self, Owner};
use crate::{Accelerator, Ended};

/// The format of `guest.json` that this release writes. It reads every older one.
pub const FORMAT: u32 = 1;
const RECORD_MAX: u64 = 1 << 20;

/// `guest.json`: what the process was started with. Written before the process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    pub id: Uuid,
    /// The versioned machine type, kept for the guest's life so that its hardware never changes under it.
    pub machine: String,
    pub accelerator: Accelerator,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub reboots: Reboots,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Clone, Debug)]
pub struct Directory {
    pub id: Uuid,
    pub path: PathBuf,
}

impl Directory {
    pub fn new(base: &Path, id: Uuid) -> Directory {
        Directory { id, path: base.join(id.to_string()) }
    }

    /// All guests that have a directory.
    pub fn list(base: &Path) -> Result<Vec<Uuid>> {
        let entries = std::fs::read_dir(base).context(format!("cannot read {}", base.display()))?;
        let mut ids: Vec<Uuid> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory durable. QEMU's user may pass through it but not list it.
    pub fn create(&self) -> Result<()> {
        let what = || format!("cannot create {}", self.path.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.path).context(what())?;
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(&self.path, mode).context(what())?;
        files::sync_parent(&self.path)
    }

    /// Removes everything; what is gone is removed already.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(format!("cannot remove {}", self.path.display()))
            }
            _ => files::sync_parent(&self.path),
        }
    }

    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path.join("qemu.pid")
    }

    pub fn config_drive(&self) -> PathBuf {
        self.path.join(CONFIG_DRIVE)
    }

    /// What QEMU printed about itself in its last run.
    pub fn output(&self) -> PathBuf {
        self.path.join("qemu.log")
    }

    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.path.join("guest.json");
        let Some(text) = files::read(&path, RECORD_MAX)? else { return Ok(None) };
        let damaged = || format!("{} is damaged", path.display());
        let Format { format } = serde_json::from_slice(&text).context(damaged())?;
        if format > FORMAT {
            return Err(Error::internal(format!(
                "{} has format {format}, this release knows formats up to {FORMAT}: run the newer release",
                path.display()
            )));
        }
        serde_json::from_slice(&text).map(Some).context(damaged())
    }

    pub fn write_record(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec_pretty(record).context("cannot encode a guest's record")?;
        files::write(&self.path.join("guest.json"), &text, None)
    }

    /// How the last run ended, as far as anybody noted it.
    pub fn ended(&self) -> Result<Option<Ended>> {
        let text = files::read(&self.path.join("ended.json"), RECORD_MAX)?;
        text.map(|text| serde_json::from_slice(&text).context("ended.json is damaged")).transpose()
    }

    pub fn write_ended(&self, ended: Option<Ended>) -> Result<()> {
        let path = self.path.join("ended.json");
        match ended {
            None => files::remove(&path),
            Some(ended) => {
                let text = serde_json::to_vec(&ended).context("cannot encode how a guest ended")?;
                files::write(&path, &text, None)
            }
        }
    }

    pub fn write_config_drive(&self, image: &[u8], owner: Option<Owner>) -> Result<()> {
        files::write(&self.config_drive(), image, owner)
    }

    /// A listening monitor socket, to be handed to QEMU. Call it with the guest's lock held.
    pub fn listen(&self) -> Result<OwnedFd> {
        files::remove(&self.path.join(MONITOR))?;
        let (_directory, path) = self.short(MONITOR)?;
        let listener = UnixListener::bind(path)
            .context(format!("cannot make a monitor socket in {}", self.path.display()))?;
        Ok(listener.into())
    }

    /// The path of the monitor socket in a spelling that fits a socket address (107 bytes) however long the base
    /// directory's is. It is good as long as the file returned with it is open.
    pub fn monitor(&self) -> Result<(File, PathBuf)> {
        self.short(MONITOR)
    }

    fn short(&self, name: &str) -> Result<(File, PathBuf)> {
        let directory = File::open(&self.path).context(format!("cannot open {}", self.path.display()))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()));
        Ok((directory, path))
    }
}

/// Relative to the guest's directory, which is the working directory of its QEMU.
pub const CONFIG_DRIVE: &str = "config-drive.img";
const MONITOR: &str = "qmp.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_newer_release_is_refused_and_not_misread() {
        let base = tempfile::tempdir().unwrap();
        let directory = Directory::new(base.path(), Uuid::from_u128(1));
        directory.create().unwrap();
        assert_eq!(directory.record().unwrap(), None);
        let record = Record {
            format: FORMAT,
            id: directory.id,
            machine: "pc-q35-7.2".to_owned(),
            accelerator: Accelerator::Tcg,
            vcpus: 1,
            memory_mib: 32,
            reboots: Reboots::default(),
        };
        directory.write_record(&record).unwrap();
        assert_eq!(directory.record().unwrap(), Some(record));
        std::fs::write(directory.path.join("guest.json"), br#"{"format":2,"shape":"unknown"}"#).unwrap();
        assert!(directory.record().unwrap_err().detail().contains("format 2"));
    }
}
