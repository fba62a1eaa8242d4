//! Files that are there whole or not at all, also after a power cut.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::Path;

use hanse_core::{Context, Error, Result};

/// Owner of a file: user and group id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Writes a file of mode 0600: under a temporary name, synced, renamed, and the directory synced.
pub(crate) fn write(path: &Path, content: &[u8], owner: Option<Owner>) -> Result<()> {
    let mut temporary = OsString::from(path);
    temporary.push(".new");
    let what = || format!("cannot write {}", path.display());
    // What a crash has left behind may have another owner or mode.
    remove(Path::new(&temporary))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).context(what())?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid), Some(owner.gid)).context(what())?;
    }
    file.write_all(content).context(what())?;
    file.sync_all().context(what())?;
    std::fs::rename(&temporary, path).context(what())?;
    sync_parent(path)
}

/// Reads a file of at most `max` bytes; none if it is not there.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let what = || format!("cannot read {}", path.display());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(what()),
        Ok(metadata) if metadata.len() > max => {
            return Err(Error::internal(format!("{} is longer than {max} bytes", path.display())));
        }
        Ok(_) => {}
    }
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).context(what()),
    }
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a new name, or the loss of one, in `path`'s directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .context(format!("cannot sync {}", parent.display()))
}
