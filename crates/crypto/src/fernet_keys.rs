//! The keys of Fernet tokens on disk, laid out and rotated as Keystone does it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;
use hanse_core::{Context, CrashPoints, Cx, Error, Result, Secret};
use zeroize::Zeroizing;

use crate::secret_file;

/// The key that becomes primary at the next rotation. Being there before it is used, it lets every process that
/// has read it open the tokens of one that has already rotated.
const STAGED: u32 = 0;
/// Keystone's default for `[fernet_tokens] max_active_keys`.
const MAX_ACTIVE: usize = 3;
/// More keys than this are no rotation but an accident, and every unknown token would be tried against each.
const MAX_ACTIVE_LIMIT: usize = 100;
/// A key in base64 has 44 bytes; editors add a line break.
const KEY_FILE_MAX: usize = 64;

/// A directory (0700) of key files (0600) named by numbers: 0 is the staged key, the highest is the primary one
/// that seals, those between still open older tokens.
#[derive(Clone)]
pub struct FernetKeys {
    dir: PathBuf,
    max_active: usize,
    crash: CrashPoints,
}

impl FernetKeys {
    /// Names the directory; touches nothing.
    pub fn new(dir: impl Into<PathBuf>) -> FernetKeys {
        FernetKeys { dir: dir.into(), max_active: MAX_ACTIVE, crash: CrashPoints::none() }
    }

    /// How many keys, staged and primary included, a rotation leaves; 3 unless told. A token outlives
    /// `max_active - 2` rotations, so leave at least (life of a token) / (`max_active - 2`) between two of them.
    ///
    /// # Errors
    /// Internal unless it is between 2 and 100.
    pub fn with_max_active(mut self, max_active: usize) -> Result<FernetKeys> {
        if !(2..=MAX_ACTIVE_LIMIT).contains(&max_active) {
            return Err(Error::internal(format!(
                "max_active of the Fernet keys is {max_active}; it must be between 2 and {MAX_ACTIVE_LIMIT}"
            )));
        }
        self.max_active = max_active;
        Ok(self)
    }

    /// Calls `crash` with `fernet.promoted`, `fernet.staged` and `fernet.dropped` between the steps of a rotation.
    #[must_use]
    pub fn with_crash_points(mut self, crash: CrashPoints) -> FernetKeys {
        self.crash = crash;
        self
    }

    /// Makes the directory and what is missing of a staged and a primary key. May be run again at any time, and by
    /// several processes at once.
    ///
    /// # Errors
    /// Internal if the directory lets others in or the disk refuses.
    pub fn create(&self, cx: &Cx) -> Result<()> {
        secret_file::private_dir(&self.dir)?;
        let _lock = self.lock(File::lock)?;
        let primary = self.numbers()?.last().copied().unwrap_or(STAGED).max(1);
        self.write_new(cx, primary)?;
        self.write_new(cx, STAGED)
    }

    /// Makes the staged key the primary one, stages a new one, and drops the oldest beyond `max_active`.
    ///
    /// After a crash at any point all keys that were in use are still there. Run again, it finishes the rotation
    /// that was interrupted instead of beginning another.
    ///
    /// # Errors
    /// Internal if there are no keys yet or the disk refuses.
    pub fn rotate(&self, cx: &Cx) -> Result<()> {
        secret_file::private_dir(&self.dir)?;
        let _lock = self.lock(File::lock)?;
        let numbers = self.numbers()?;
        let primary = match numbers.last() {
            Some(primary) if *primary != STAGED => *primary,
            _ => return Err(self.no_primary()),
        };
        if numbers.contains(&STAGED) {
            let next = primary.checked_add(1).ok_or_else(|| {
                Error::internal(format!("no number is left after {}", self.path(primary).display()))
            })?;
            // Read first: a staged file that is no key must not become the primary one.
            self.read(STAGED)?;
            fs::rename(self.path(STAGED), self.path(next)).context("cannot promote the staged Fernet key")?;
            secret_file::sync_dir(&self.dir)?;
            self.crash.pass("fernet.promoted")?;
        }
        self.write_new(cx, STAGED)?;
        self.crash.pass("fernet.staged")?;
        self.drop_oldest()
    }

    /// All keys, the primary one first, the staged one last.
    pub(crate) fn load(&self) -> Result<Vec<Fernet>> {
        if !fs::exists(&self.dir).context(format_args!("cannot see {}", self.dir.display()))? {
            return Err(self.no_primary());
        }
        secret_file::private_dir(&self.dir)?;
        let _lock = self.lock(File::lock_shared)?;
        let numbers = self.numbers()?;
        if numbers.last().is_none_or(|primary| *primary == STAGED) {
            return Err(self.no_primary());
        }
        numbers.iter().rev().map(|number| self.read(*number)).collect()
    }

    fn drop_oldest(&self) -> Result<()> {
        let numbers = self.numbers()?;
        let retired = numbers.iter().filter(|number| **number != STAGED);
        for number in retired.take(numbers.len().saturating_sub(self.max_active)) {
            let path = self.path(*number);
            fs::remove_file(&path).context(format_args!("cannot remove {}", path.display()))?;
            self.crash.pass("fernet.dropped")?;
        }
        secret_file::sync_dir(&self.dir)
    }

    /// Taken on the directory itself, so that it needs no file and ends with the process.
    fn lock(&self, kind: fn(&File) -> std::io::Result<()>) -> Result<File> {
        let dir = File::open(&self.dir).context(format_args!("cannot open {}", self.dir.display()))?;
        kind(&dir).context(format_args!("cannot lock {}", self.dir.display()))?;
        Ok(dir)
    }

    /// The numbers of the keys that are there, ascending; other names (temporary files) are nobody's keys.
    fn numbers(&self) -> Result<Vec<u32>> {
        let listing = format!("cannot list {}", self.dir.display());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).context(&listing)? {
            let name = entry.context(&listing)?.file_name();
            let number =
                name.to_str().and_then(|name| name.parse::<u32>().ok().filter(|n| n.to_string() == name));
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn write_new(&self, cx: &Cx, number: u32) -> Result<()> {
        let key = Zeroizing::new(URL_SAFE.encode(Secret::new(cx.bytes::<32>()).expose()));
        secret_file::create(&self.path(number), secret_file::PRIVATE, key.as_bytes()).map(|_| ())
    }

    fn read(&self, number: u32) -> Result<Fernet> {
        let path = self.path(number);
        let content = secret_file::read_checked(&path, KEY_FILE_MAX)?;
        content
            .as_ref()
            .and_then(|content| std::str::from_utf8(content.expose()).ok())
            .and_then(|key| Fernet::new(key.trim_ascii_end()))
            .ok_or_else(|| not_a_key(&path))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(number.to_string())
    }

    fn no_primary(&self) -> Error {
        Error::internal(format!(
            "there is no primary Fernet key in {}: put the keys back from the backup, or create new ones, which makes \
             all present tokens invalid",
            self.dir.display()
        ))
    }
}

fn not_a_key(path: &Path) -> Error {
    Error::internal(format!(
        "{} is not a Fernet key (32 bytes in URL-safe base64): put it back from the backup or remove it",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::FernetTokens;

    fn keys(dir: &tempfile::TempDir) -> FernetKeys {
        FernetKeys::new(dir.path().join("fernet"))
    }

    #[test]
    fn new_keys_are_a_staged_and_a_primary_one_that_only_the_owner_reads() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        let before = [0, 1].map(|n| fs::read(keys.path(n)).unwrap());
        assert_ne!(before[0], before[1]);
        keys.create(&cx).unwrap();
        assert_eq!(before, [0, 1].map(|n| fs::read(keys.path(n)).unwrap()), "creating again changes nothing");
        assert_eq!(keys.numbers().unwrap(), [0, 1]);
        assert_eq!(fs::metadata(&keys.dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(keys.path(1)).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_creation_that_was_cut_short_is_finished_by_the_next() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        secret_file::private_dir(&keys.dir).unwrap();
        fs::write(keys.dir.join(".1.tmp"), "half a k").unwrap();
        keys.create(&cx).unwrap();
        fs::remove_file(keys.path(STAGED)).unwrap();
        assert_eq!(keys.load().unwrap().len(), 1);
        keys.create(&cx).unwrap();
        assert_eq!(keys.load().unwrap().len(), 2);
    }

    #[test]
    fn rotation_keeps_old_tokens_valid_and_drops_the_oldest_key() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        let tokens = FernetTokens::load(keys.clone()).unwrap();
        let old = tokens.seal(&cx, b"old").unwrap();
        let staged = fs::read(keys.path(STAGED)).unwrap();

        keys.rotate(&cx).unwrap();
        assert_eq!(keys.numbers().unwrap(), [0, 1, 2]);
        assert_eq!(fs::read(keys.path(2)).unwrap(), staged, "the staged key became the primary one");
        tokens.reload().unwrap();
        assert_eq!(tokens.open(&old).unwrap(), b"old");
        let new = tokens.seal(&cx, b"new").unwrap();

        keys.rotate(&cx).unwrap();
        assert_eq!(keys.numbers().unwrap(), [0, 2, 3]);
        tokens.reload().unwrap();
        assert!(tokens.open(&old).is_err(), "its key is gone");
        assert_eq!(tokens.open(&new).unwrap(), b"new");
    }

    #[test]
    fn a_process_that_has_not_reloaded_opens_the_tokens_of_one_that_rotated() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        let lagging = FernetTokens::load(keys.clone()).unwrap();
        keys.rotate(&cx).unwrap();
        let rotated = FernetTokens::load(keys).unwrap();
        assert_eq!(lagging.open(&rotated.seal(&cx, b"x").unwrap()).unwrap(), b"x");
    }

    #[test]
    fn more_keys_may_stay_active() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir).with_max_active(5).unwrap();
        keys.create(&cx).unwrap();
        for _ in 0..6 {
            keys.rotate(&cx).unwrap();
        }
        assert_eq!(keys.numbers().unwrap(), [0, 4, 5, 6, 7]);
        assert!(keys.with_max_active(1).is_err());
    }

    #[test]
    fn a_rotation_killed_at_any_point_is_finished_by_the_next_and_loses_no_token() {
        for point in ["fernet.promoted", "fernet.staged", "fernet.dropped"] {
            let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
            let keys = keys(&dir);
            keys.create(&cx).unwrap();
            keys.rotate(&cx).unwrap();
            let token = FernetTokens::load(keys.clone()).unwrap().seal(&cx, b"x").unwrap();
            let deadly = keys.clone().with_crash_points(CrashPoints::new(move |name| {
                assert_ne!(name, point);
                Ok(())
            }));
            assert!(catch_unwind(AssertUnwindSafe(|| deadly.rotate(&cx))).is_err(), "{point} was passed");

            let tokens = FernetTokens::load(keys.clone()).unwrap();
            assert_eq!(tokens.open(&token).unwrap(), b"x", "after {point}");
            let again = tokens.seal(&cx, b"y").unwrap();
            keys.rotate(&cx).unwrap();
            tokens.reload().unwrap();
            assert_eq!(tokens.open(&again).unwrap(), b"y", "after {point}");
            assert_eq!(keys.numbers().unwrap().len(), 3, "after {point}");
        }
    }

    #[test]
    fn an_interrupted_rotation_is_not_counted_twice() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        fs::rename(keys.path(0), keys.path(2)).unwrap();
        keys.rotate(&cx).unwrap();
        assert_eq!(keys.numbers().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn keys_that_others_may_read_are_refused() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        fs::set_permissions(keys.path(1), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(keys.load().err().unwrap().detail().contains("chmod 600"));
        fs::set_permissions(keys.path(1), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&keys.dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(keys.load().err().unwrap().detail().contains("chmod 700"));
    }

    #[test]
    fn no_keys_and_no_valid_key_are_said_plainly() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        assert!(keys.load().err().unwrap().detail().contains("no primary Fernet key"));
        assert!(!keys.dir.exists(), "reading creates nothing");
        keys.create(&cx).unwrap();
        fs::write(keys.path(STAGED), "secret").unwrap();
        assert!(keys.load().err().unwrap().detail().contains("is not a Fernet key"));
        assert!(keys.rotate(&cx).is_err(), "what is no key is not promoted");
        assert_eq!(keys.numbers().unwrap(), [0, 1]);
    }
}
