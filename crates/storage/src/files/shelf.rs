//! A directory of entries, each wholly there or not at all.
//!
//! The order is what makes it hold: everything in an entry is synced under a temporary name, then the entry is
//! renamed, then the directory that holds it is synced; only then does it count. Who looks an entry up syncs the
//! directory *after* having seen it, so that a rename whose own sync was cut off is never reported on trust.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hanse_core::{Error, Result, Uuid};

use super::{At, Owner};
use crate::claims::{Claim, Claims};
use hanse_core::CrashPoints;

/// On its way in.
const PARTIAL: &str = "partial";
/// On its way out.
const REMOVED: &str = "removed";

pub(crate) struct Shelf {
    directory: PathBuf,
    group: Option<u32>,
    pub(crate) claims: Claims,
}

impl Shelf {
    pub(crate) fn open(directory: PathBuf, group: Option<u32>) -> Result<Shelf> {
        make_directory(&directory, group)?;
        let shelf = Shelf { directory, group, claims: Claims::default() };
        for name in names(&shelf.directory)? {
            // Anything else was not put here by us (`lost+found`) and is left alone.
            if name.split_once('.').is_some_and(|(id, end)| is_id(id) && (end == PARTIAL || end == REMOVED)) {
                remove_tree(&shelf.directory.join(name))?;
            }
        }
        sync_directory(&shelf.directory)?;
        Ok(shelf)
    }

    pub(crate) fn entry(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// The entry's directory, if it is there to stay.
    pub(crate) fn find(&self, id: Uuid) -> Result<Option<PathBuf>> {
        let entry = self.entry(id);
        if !entry.try_exists().at("cannot look for", &entry)? {
            return Ok(None);
        }
        sync_directory(&self.directory)?;
        Ok(Some(entry))
    }

    /// All that is there to stay, in order.
    pub(crate) fn ids(&self) -> Result<Vec<Uuid>> {
        let names = names(&self.directory)?;
        sync_directory(&self.directory)?;
        let mut ids: Vec<Uuid> = names.iter().filter(|name| is_id(name)).flat_map(|id| id.parse()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Starts a new entry, which goes away again unless it is committed.
    pub(crate) fn start(&self, id: Uuid, claim: Claim) -> Result<Partial> {
        let path = self.directory.join(format!("{id}.{PARTIAL}"));
        remove_tree(&path)?;
        let partial = Partial {
            path,
            entry: self.entry(id),
            shelf: self.directory.clone(),
            over: false,
            _claim: claim,
        };
        make_directory(&partial.path, self.group)?;
        Ok(partial)
    }

    /// Puts other content into a file of an entry that is there.
    pub(crate) fn replace(&self, id: Uuid, name: &str, content: &[u8]) -> Result<()> {
        let (entry, fresh) = (self.entry(id), self.entry(id).join(format!("{name}.new")));
        File::create(&fresh)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .at("cannot write", &fresh)?;
        std::fs::rename(&fresh, entry.join(name)).at("cannot put in its place", &fresh)?;
        sync_directory(&entry)
    }

    /// Removes an entry, if it is there: in one step out of sight, then for good.
    pub(crate) fn remove(&self, id: Uuid, _claim: Claim, crash: &CrashPoints) -> Result<()> {
        let (entry, removed) = (self.entry(id), self.directory.join(format!("{id}.{REMOVED}")));
        remove_tree(&removed)?;
        match std::fs::rename(&entry, &removed) {
            Ok(()) => {}
            // A removal that was cut off before it was synced may be what hid it.
            Err(error) if error.kind() == ErrorKind::NotFound => return sync_directory(&self.directory),
            Err(error) => return Err(error).at("cannot remove", &entry),
        }
        crash.pass("storage.entry_hidden")?;
        sync_directory(&self.directory)?;
        crash.pass("storage.entry_removed")?;
        remove_tree(&removed)
    }
}

/// An entry in the making. Dropping it removes it.
pub(crate) struct Partial {
    path: PathBuf,
    entry: PathBuf,
    shelf: PathBuf,
    over: bool,
    _claim: Claim,
}

impl Partial {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new file in it, for nobody else yet.
    pub(crate) fn create(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .at("cannot create", &path)
    }

    /// A new file with that content, synced.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let mut file = self.create(name)?;
        let path = self.path.join(name);
        file.write_all(content).and_then(|()| file.sync_all()).at("cannot write", &path)
    }

    /// Makes it count. The files in it have been synced.
    pub(crate) fn commit(mut self, crash: &CrashPoints) -> Result<()> {
        sync_directory(&self.path)?;
        crash.pass("storage.entry_synced")?;
        std::fs::rename(&self.path, &self.entry).at("cannot put in its place", &self.path)?;
        crash.pass("storage.entry_renamed")?;
        if let Err(error) = sync_directory(&self.shelf) {
            // What cannot be kept must not be seen either; dropping it does the rest.
            std::fs::rename(&self.entry, &self.path).at("cannot take back", &self.entry)?;
            return Err(error);
        }
        self.over = true;
        crash.pass("storage.entry_committed")?;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.over {
            // The error that led here says more than one from cleaning up; `Shelf::open` tries again.
            let _ = remove_tree(&self.path);
        }
    }
}

/// Makes a directory that the group may pass through but not list. One that is there keeps its content.
pub(crate) fn make_directory(path: &Path, group: Option<u32>) -> Result<()> {
    let (mode, parents) = (if group.is_some() { 0o710 } else { 0o700 }, !path.exists());
    DirBuilder::new().mode(mode).recursive(true).create(path).at("cannot make", path)?;
    set_access(path, None, group, mode)?;
    match path.parent() {
        Some(parent) if parents && !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Gives a file to QEMU's user to write.
pub(crate) fn give(path: &Path, owner: Option<Owner>) -> Result<()> {
    set_access(path, owner.map(|owner| owner.uid), owner.map(|owner| owner.gid), 0o600)
}

/// Lets QEMU's group read a file, and nobody write it.
pub(crate) fn lend(path: &Path, owner: Option<Owner>) -> Result<()> {
    set_access(path, None, owner.map(|owner| owner.gid), 0o440)
}

fn set_access(path: &Path, user: Option<u32>, group: Option<u32>, mode: u32) -> Result<()> {
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group).at("cannot change the owner of", path)?;
    }
    // Explicit, because the mode that a file is created with is cut down by the umask.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .at("cannot change the mode of", path)
}

pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).at("cannot sync", path)
}

pub(crate) fn sync_file(path: &Path) -> Result<()> {
    // Without following links: the file belongs to a user that is not trusted.
    File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .and_then(|file| file.sync_all())
        .at("cannot sync", path)
}

/// Hard links do not reach across file systems.
pub(crate) fn check_one_file_system(one: &Shelf, other: &Shelf) -> Result<()> {
    let device = |shelf: &Shelf| {
        std::fs::metadata(&shelf.directory).map(|data| data.dev()).at("cannot look at", &shelf.directory)
    };
    if device(one)? != device(other)? {
        return Err(Error::internal(format!(
            "{} and {} must be on one file system, for disks share their images' files; mount it one level up",
            one.directory.display(),
            other.directory.display()
        )));
    }
    Ok(())
}

/// The names in a directory that are text.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    };
    read().at("cannot list", directory)
}

/// An id exactly as we write it, so that no second spelling names the same thing.
fn is_id(name: &str) -> bool {
    name.parse::<Uuid>().is_ok_and(|id| id.to_string() == name)
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at("cannot remove", path),
        _ => Ok(()),
    }
}
