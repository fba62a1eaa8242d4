//! Files that hold secrets: written durably or not at all, read only if nobody else can.
//!
//! These functions block on the disk: call them at start-up or from a blocking task.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hanse_core::{Context, Error, Result, Secret};
use zeroize::Zeroize;

/// Only the owner reads and writes: keys.
pub const PRIVATE: u32 = 0o600;
/// Everybody reads, the owner writes: certificates.
pub const PUBLIC: u32 = 0o644;

/// Replaces the content of `path` by `bytes` so that after a crash at any point the old or the new content is
/// there in full, and after a return without error it is the new one.
///
/// The bytes go to `.<name>.tmp` in the same directory (created with mode 0600, so never readable by others, then
/// given `mode`), are fsynced and renamed over `path`; then the directory is fsynced. A temporary file that a
/// crash left behind is reused by the next write of the same path and harms nobody. Writers of the same path, also
/// in other processes, take turns: the temporary file is locked while it is written.
///
/// # Errors
/// Internal, with the path, if the disk refuses; `path` is then untouched unless only the last fsync failed.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    place(path, mode, bytes, Existing::Replace, &|_| {}).map(|_| ())
}

/// Like [`write`], but leaves an existing file alone and then returns false. Of several processes that create
/// the same path at once exactly one gets true; the others should read what it wrote.
///
/// # Errors
/// Internal, with the path, if the disk refuses.
pub fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<bool> {
    place(path, mode, bytes, Existing::Keep, &|_| {})
}

/// Reads a file that only its owner may read; `None` if there is no such file.
///
/// `max` is the largest content in bytes that makes sense; more is refused before it is read.
///
/// # Errors
/// Internal, with path and remedy, if group or others have any permission, if it is not a regular file, if it is
/// larger than `max`, or if the disk refuses.
pub fn read_checked(path: &Path, max: usize) -> Result<Option<Secret<Vec<u8>>>> {
    read(path, max, 0o077).map(|content| content.map(Secret::new))
}

/// Reads a file that others may read but not write, such as a certificate; `None` if there is no such file.
///
/// # Errors
/// As for [`read_checked`], except that only write permission for group or others is refused.
pub fn read_public(path: &Path, max: usize) -> Result<Option<Vec<u8>>> {
    read(path, max, 0o022)
}

/// Reads the file, or makes its content and creates it if it is missing: what is returned is what the disk keeps
/// for good, also if two processes start at once or an earlier one was killed half-way.
///
/// A `mode` of [`PRIVATE`] demands that others may not read an existing file, [`PUBLIC`] that they may not write.
///
/// # Errors
/// As for [`create`] and [`read_checked`], and whatever `make` fails with.
pub fn read_or_create(
    path: &Path,
    mode: u32,
    max: usize,
    make: impl FnOnce() -> Result<Secret<Vec<u8>>>,
) -> Result<Secret<Vec<u8>>> {
    let forbidden = if mode == PRIVATE { 0o077 } else { 0o022 };
    if let Some(content) = read(path, max, forbidden)? {
        sync_dir(parent(path)?)?;
        return Ok(Secret::new(content));
    }
    create(path, mode, make()?.expose())?;
    let content = read(path, max, forbidden)?.map(Secret::new);
    content.ok_or_else(|| Error::internal(format!("{} vanished while it was created", path.display())))
}

/// Makes sure that `path` is a directory that only its owner may enter (0700), creating it if it is missing.
///
/// # Errors
/// Internal, with path and remedy, if it is something else or lets others in.
pub fn private_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).context(format_args!("cannot create directory {}", path.display())),
    }
    let metadata = fs::metadata(path).context(format_args!("cannot look at {}", path.display()))?;
    if !metadata.is_dir() {
        return Err(Error::internal(format!("{} is not a directory; move it away", path.display())));
    }
    refuse_wider(path, metadata.mode(), 0o077, "700")?;
    // Also when it was there before: whoever made it may have been killed before this line.
    sync_dir(parent(path)?)
}

/// Makes what was created, renamed or removed in the directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .context(format_args!("cannot fsync directory {}", path.display()))
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

/// The one way a file gets its place. Crash points: `secret_file.written`, `secret_file.renamed`.
pub(crate) fn place(
    path: &Path,
    mode: u32,
    bytes: &[u8],
    existing: Existing,
    crash: &dyn Fn(&'static str),
) -> Result<bool> {
    let parent = parent(path)?;
    let temporary = temporary(path)?;
    let mut file = lock_temporary(&temporary)
        .context(format_args!("cannot create temporary file {}", temporary.display()))?;
    // Looked at under the lock, so no other creator can be between its look and its rename.
    if existing == Existing::Keep
        && fs::exists(path).context(format_args!("cannot see {}", path.display()))?
    {
        fs::remove_file(&temporary).context(format_args!("cannot remove {}", temporary.display()))?;
        // Whoever made it may have been killed before this.
        sync_dir(parent)?;
        return Ok(false);
    }
    file.set_len(0)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .context(format_args!("cannot write {}", temporary.display()))?;
    crash("secret_file.written");
    fs::rename(&temporary, path).context(format_args!("cannot rename to {}", path.display()))?;
    crash("secret_file.renamed");
    sync_dir(parent)?;
    Ok(true)
}

/// Opens and locks the temporary file, whoever may have left it there.
fn lock_temporary(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        file.lock()?;
        // While we waited for the lock, its holder may have renamed this very file to its place: writing to it now
        // would corrupt what is already valid.
        let ours = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                // Left over with another mode by a crash: closed before any byte is written.
                file.set_permissions(Permissions::from_mode(PRIVATE))?;
                return Ok(file);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn read(path: &Path, max: usize, forbidden: u32) -> Result<Option<Vec<u8>>> {
    let reading = format_args!("cannot read {}", path.display()).to_string();
    // O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(reading),
    };
    // Asked of the open file, not of the path, so that nobody swaps it in between.
    let metadata = file.metadata().context(&reading)?;
    if !metadata.is_file() {
        return Err(Error::internal(format!("{reading}: it is not a regular file")));
    }
    refuse_wider(path, metadata.mode(), forbidden, if forbidden == 0o077 { "600" } else { "644" })?;
    // Room for everything at once: a vector that grows leaves copies of the secret in freed memory.
    let mut content = Vec::with_capacity(max.saturating_add(1));
    let outcome = file.take(max as u64 + 1).read_to_end(&mut content).context(&reading);
    if outcome.is_err() || content.len() > max {
        content.zeroize();
        outcome?;
        return Err(Error::internal(format!(
            "{reading}: it is larger than {max} bytes; is it the right file?"
        )));
    }
    Ok(Some(content))
}

fn refuse_wider(path: &Path, mode: u32, forbidden: u32, remedy: &str) -> Result<()> {
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(Error::internal(format!(
        "{path} has mode {mode:04o}, so others than its owner may use it: if nobody has, `chmod {remedy} {path}`; \
         otherwise replace the secret",
        path = path.display(),
        mode = mode & 0o7777,
    )))
}

fn parent(path: &Path) -> Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(Error::internal(format!("{} is not the path of a file", path.display()))),
    }
}

fn temporary(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::internal(format!("{} is not the path of a file", path.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_has_the_content_and_mode_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, PRIVATE, b"one").unwrap();
        write(&path, PRIVATE, b"2").unwrap();
        assert_eq!(read_checked(&path, 10).unwrap().unwrap().expose(), b"2");
        assert_eq!(mode(&path), 0o600);
        write(&path, PUBLIC, b"three").unwrap();
        assert_eq!(mode(&path), 0o644);
        assert_eq!(read_public(&path, 10).unwrap().unwrap(), b"three");
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    fn creating_leaves_an_existing_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(create(&path, PRIVATE, b"first").unwrap());
        assert!(!create(&path, PRIVATE, b"second").unwrap());
        assert_eq!(read_checked(&path, 10).unwrap().unwrap().expose(), b"first");
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    fn of_many_creators_exactly_one_wins_and_the_file_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let winners = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..8_u8 {
                let (path, winners) = (&path, &winners);
                scope.spawn(move || {
                    if create(path, PRIVATE, &[n; 64]).unwrap() {
                        winners.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
        let content = read_checked(&path, 64).unwrap().unwrap();
        assert!(
            content.expose().len() == 64 && content.expose().iter().all(|byte| *byte == content.expose()[0])
        );
    }

    #[test]
    fn a_crash_on_either_side_of_the_rename_leaves_the_old_or_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, PRIVATE, b"old and longer").unwrap();
        for (point, expected) in
            [("secret_file.written", &b"old and longer"[..]), ("secret_file.renamed", &b"new"[..])]
        {
            let crash = |name: &'static str| assert_ne!(name, point, "the planned crash");
            let crashed =
                catch_unwind(AssertUnwindSafe(|| place(&path, PRIVATE, b"new", Existing::Replace, &crash)));
            assert!(crashed.is_err());
            assert_eq!(read_checked(&path, 64).unwrap().unwrap().expose(), expected);
        }
    }

    #[test]
    fn a_temporary_file_left_over_by_a_crash_is_reused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let temporary = dir.path().join(".key.tmp");
        fs::write(&temporary, b"half of something much longer").unwrap();
        fs::set_permissions(&temporary, Permissions::from_mode(0o666)).unwrap();
        assert!(create(&path, PRIVATE, b"new").unwrap());
        assert_eq!(read_checked(&path, 64).unwrap().unwrap().expose(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), ["key"]);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for wide in [0o640, 0o604, 0o620, 0o601] {
            write(&path, wide, b"x").unwrap();
            let detail = read_checked(&path, 10).unwrap_err().detail();
            assert!(detail.contains("chmod 600"), "{detail}");
        }
        write(&path, 0o400, b"x").unwrap();
        assert!(read_checked(&path, 10).unwrap().is_some());
    }

    #[test]
    fn what_is_missing_too_large_or_no_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(read_checked(&path, 10).unwrap().is_none());
        write(&path, PRIVATE, &[0; 11]).unwrap();
        assert!(read_checked(&path, 10).unwrap_err().detail().contains("larger than 10 bytes"));
        assert!(read_public(dir.path(), 10).unwrap_err().detail().contains("not a regular file"));
    }

    #[test]
    fn a_private_directory_is_made_once_and_refused_when_it_lets_others_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        private_dir(&path).unwrap();
        private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(private_dir(&path).unwrap_err().detail().contains("chmod 700"));
    }
}
