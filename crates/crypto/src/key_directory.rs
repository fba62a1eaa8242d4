//! Directories of the keys that make tokens, laid out and rotated as Keystone does it, whatever kind of key it is.

use std::fs::{self, File};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hanse_core::{Context, CrashPoints, Cx, Error, Result, Secret, Timestamp};

use crate::secret_file;

/// The key that becomes primary at the next rotation. Being there before it is used, it lets every process that
/// has read it accept the tokens of one that has already rotated.
const STAGED: u32 = 0;
/// Keystone's default for `[fernet_tokens] max_active_keys`.
const MAX_ACTIVE: usize = 3;
/// More keys than this are no rotation but an accident, and every unknown token would be tried against each.
const MAX_ACTIVE_LIMIT: usize = 100;

/// A kind of key that is kept in a [`KeyDirectory`].
pub trait KeyKind: Sized {
    /// What an error calls it.
    const NAME: &'static str;
    /// The largest file that can be one, in bytes.
    const FILE_MAX: usize;
    /// The crash points of a rotation: promoted, staged, dropped.
    const CRASH_POINTS: [&'static str; 3];

    /// The content of the file of a new key.
    ///
    /// # Errors
    /// Internal if the library fails.
    fn make(cx: &Cx) -> Result<Secret<Vec<u8>>>;

    /// `None` if the content is no such key.
    fn parse(content: &[u8]) -> Option<Self>;
}

/// A directory (0700) of key files (0600) named by numbers: 0 is the staged key, the highest is the primary one
/// that makes tokens, those between are still accepted.
///
/// The rules for whoever rotates: every process that makes or accepts tokens calls `keep_fresh` of its tokens, say
/// once a minute, with the same period; whichever finds a rotation due does it. The period is at least (life of a
/// token + interval of those calls) / (`max_active - 2`), or tokens end before their time; and it is longer than that
/// interval, so that every process has read a staged key before it becomes primary.
pub struct KeyDirectory<K> {
    dir: PathBuf,
    max_active: usize,
    crash: CrashPoints,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for KeyDirectory<K> {
    fn clone(&self) -> KeyDirectory<K> {
        let (dir, crash) = (self.dir.clone(), self.crash.clone());
        KeyDirectory { dir, max_active: self.max_active, crash, kind: PhantomData }
    }
}

impl<K: KeyKind> KeyDirectory<K> {
    /// Names the directory; touches nothing.
    pub fn new(dir: impl Into<PathBuf>) -> KeyDirectory<K> {
        let (dir, crash) = (dir.into(), CrashPoints::none());
        KeyDirectory { dir, max_active: MAX_ACTIVE, crash, kind: PhantomData }
    }

    /// How many keys, staged and primary included, a rotation leaves; 3 unless told. A token outlives
    /// `max_active - 2` rotations, so leave at least (life of a token) / (`max_active - 2`) between two of them.
    ///
    /// # Errors
    /// Internal unless it is between 2 and 100.
    pub fn with_max_active(mut self, max_active: usize) -> Result<KeyDirectory<K>> {
        if !(2..=MAX_ACTIVE_LIMIT).contains(&max_active) {
            return Err(Error::internal(format!(
                "max_active of the {}s is {max_active}; it must be between 2 and {MAX_ACTIVE_LIMIT}",
                K::NAME
            )));
        }
        self.max_active = max_active;
        Ok(self)
    }

    /// Calls `crash` between the steps of a rotation: `fernet.promoted`, `fernet.staged` and `fernet.dropped`, or
    /// `signing.…` for signing keys.
    #[must_use]
    pub fn with_crash_points(mut self, crash: CrashPoints) -> KeyDirectory<K> {
        self.crash = crash;
        self
    }

    /// Whether there is such a directory.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
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

    /// Makes the staged key the primary one, stages a new one, and drops the oldest beyond `max_active`. This is for
    /// whoever suspects that a key is known, which takes as many rotations as there are keys; otherwise use
    /// [`KeyDirectory::rotate_if_due`].
    ///
    /// After a crash at any point all keys that were in use are still there. Run again, it finishes the rotation
    /// that was interrupted instead of beginning another.
    ///
    /// # Errors
    /// Internal if there are no keys yet or the disk refuses.
    pub fn rotate(&self, cx: &Cx) -> Result<()> {
        secret_file::private_dir(&self.dir)?;
        let _lock = self.lock(File::lock)?;
        self.rotate_locked(cx)
    }

    /// Rotates if the last rotation was `every` ago or longer, or was interrupted, and tells whether it did. Of
    /// several processes that call it at once one rotates.
    ///
    /// The last rotation is the time of the staged key's file. One that lies in the future, because the clock was put
    /// back or the file came from elsewhere, is set to now: to rotate early would end tokens before their time.
    ///
    /// # Errors
    /// As for [`KeyDirectory::rotate`].
    pub fn rotate_if_due(&self, cx: &Cx, every: Duration) -> Result<bool> {
        secret_file::private_dir(&self.dir)?;
        let _lock = self.lock(File::lock)?;
        let (now, staged) = (cx.now(), self.path(STAGED));
        if fs::exists(&staged).context(format_args!("cannot see {}", staged.display()))? {
            let staged_at = modified(&staged)?;
            if staged_at > now {
                set_modified(&staged, now)?;
            }
            if staged_at > now || now.since(staged_at) < every {
                return Ok(false);
            }
        }
        self.rotate_locked(cx)?;
        Ok(true)
    }

    fn rotate_locked(&self, cx: &Cx) -> Result<()> {
        let [promoted, staged, _] = K::CRASH_POINTS;
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
            fs::rename(self.path(STAGED), self.path(next))
                .context(format_args!("cannot promote the staged {}", K::NAME))?;
            secret_file::sync_dir(&self.dir)?;
            self.crash.pass(promoted)?;
        }
        self.write_new(cx, STAGED)?;
        self.crash.pass(staged)?;
        self.drop_oldest()
    }

    /// All keys, the primary one first, the staged one last.
    fn load(&self) -> Result<Vec<K>> {
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
        let [_, _, dropped] = K::CRASH_POINTS;
        let numbers = self.numbers()?;
        let retired = numbers.iter().filter(|number| **number != STAGED);
        for number in retired.take(numbers.len().saturating_sub(self.max_active)) {
            let path = self.path(*number);
            fs::remove_file(&path).context(format_args!("cannot remove {}", path.display()))?;
            self.crash.pass(dropped)?;
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
        let path = self.path(number);
        if secret_file::create(&path, secret_file::PRIVATE, K::make(cx)?.expose())? {
            set_modified(&path, cx.now())?;
        }
        Ok(())
    }

    fn read(&self, number: u32) -> Result<K> {
        let path = self.path(number);
        let content = secret_file::read_checked(&path, K::FILE_MAX)?;
        content.as_ref().and_then(|content| K::parse(content.expose())).ok_or_else(|| {
            Error::internal(format!(
                "{} is not a {}: put it back from the backup or remove it",
                path.display(),
                K::NAME
            ))
        })
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(number.to_string())
    }

    fn no_primary(&self) -> Error {
        Error::internal(format!(
            "there is no primary {} in {}: put the keys back from the backup, or create new ones, which makes all \
             present tokens invalid",
            K::NAME,
            self.dir.display()
        ))
    }
}

/// The keys of a directory in memory, the primary one first, and read again when told.
pub(crate) struct KeyRing<K> {
    directory: KeyDirectory<K>,
    keys: RwLock<Arc<[K]>>,
}

impl<K: KeyKind> KeyRing<K> {
    pub(crate) fn load(directory: KeyDirectory<K>) -> Result<KeyRing<K>> {
        let keys = RwLock::new(directory.load()?.into());
        Ok(KeyRing { directory, keys })
    }

    pub(crate) fn reload(&self) -> Result<()> {
        let keys = self.directory.load()?.into();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    pub(crate) fn keep_fresh(&self, cx: &Cx, every: Duration) -> Result<bool> {
        let rotated = self.directory.rotate_if_due(cx, every);
        // Also if this process may not or cannot rotate: another may have.
        self.reload()?;
        rotated
    }

    /// As they are now; whoever holds them keeps them through a reload.
    pub(crate) fn keys(&self) -> Arc<[K]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn modified(path: &Path) -> Result<Timestamp> {
    let modified = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .context(format_args!("cannot look at {}", path.display()))?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp(0).plus(since))
}

/// The clock of `cx` decides, not that of the file system.
fn set_modified(path: &Path, time: Timestamp) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + time.since(Timestamp(0));
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .context(format_args!("cannot set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use hanse_core::{ManualClock, OsRandom};

    use super::*;
    use crate::{FernetKeys, FernetTokens, SigningKeys};

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

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
    fn a_rotation_is_due_after_its_period_and_not_before() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
        let (cx, keys) = (Cx::new(clock.clone(), Arc::new(OsRandom)), keys(&dir));
        keys.create(&cx).unwrap();
        assert!(!keys.rotate_if_due(&cx, HOUR).unwrap());
        clock.advance(HOUR);
        assert!(keys.rotate_if_due(&cx, HOUR).unwrap());
        assert!(!keys.rotate_if_due(&cx, HOUR).unwrap(), "the period begins anew");
        assert_eq!(keys.numbers().unwrap(), [0, 1, 2]);
        clock.advance(HOUR - Duration::from_secs(1));
        assert!(!keys.rotate_if_due(&cx, HOUR).unwrap());
    }

    #[test]
    fn a_rotation_that_was_interrupted_is_due_at_once() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = keys(&dir);
        keys.create(&cx).unwrap();
        fs::rename(keys.path(0), keys.path(2)).unwrap();
        assert!(keys.rotate_if_due(&cx, HOUR).unwrap());
        assert_eq!(keys.numbers().unwrap(), [0, 1, 2]);
        assert!(!keys.rotate_if_due(&cx, HOUR).unwrap());
    }

    #[test]
    fn a_key_from_the_future_counts_from_now() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
        let (cx, keys) = (Cx::new(clock.clone(), Arc::new(OsRandom)), keys(&dir));
        keys.create(&cx).unwrap();
        set_modified(&keys.path(STAGED), NOW.plus(1000 * HOUR)).unwrap();
        assert!(!keys.rotate_if_due(&cx, HOUR).unwrap());
        assert_eq!(modified(&keys.path(STAGED)).unwrap(), NOW);
        clock.advance(HOUR);
        assert!(keys.rotate_if_due(&cx, HOUR).unwrap());
    }

    #[test]
    fn of_several_processes_that_find_a_rotation_due_one_rotates_and_the_others_follow() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
        let (cx, keys) = (Cx::new(clock.clone(), Arc::new(OsRandom)), keys(&dir));
        keys.create(&cx).unwrap();
        // Each with its own view of the directory, as separate processes have.
        let processes: Vec<FernetTokens> =
            (0..6).map(|_| FernetTokens::load(keys.clone()).unwrap()).collect();
        let mut sealed = processes[0].seal(&cx, b"0").unwrap();
        for round in 1..=3_u8 {
            clock.advance(HOUR);
            let rotated: Vec<bool> = std::thread::scope(|scope| {
                let threads: Vec<_> = processes
                    .iter()
                    .map(|tokens| scope.spawn(|| tokens.keep_fresh(&cx, HOUR).unwrap()))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let rotated = rotated.into_iter().filter(|did| *did).count();
            assert_eq!(rotated, 1);
            assert_eq!(keys.numbers().unwrap().last(), Some(&(u32::from(round) + 1)));
            let newest = processes[usize::from(round)].seal(&cx, &[round]).unwrap();
            for process in &processes {
                process.open(&sealed).unwrap();
                assert_eq!(process.open(&newest).unwrap(), [round]);
            }
            sealed = newest;
        }
        assert_eq!(keys.numbers().unwrap(), [0, 3, 4], "three rotations and no more");
    }

    #[test]
    fn a_token_outlives_as_many_periods_as_there_are_keys_beside_staged_and_primary() {
        for max_active in 3..6 {
            let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
            let cx = Cx::new(clock.clone(), Arc::new(OsRandom));
            let keys = keys(&dir).with_max_active(max_active).unwrap();
            keys.create(&cx).unwrap();
            let tokens = FernetTokens::load(keys).unwrap();
            // Sealed at the worst moment, right before a rotation.
            clock.advance(HOUR);
            let token = tokens.seal(&cx, b"x").unwrap();
            assert!(tokens.keep_fresh(&cx, HOUR).unwrap());
            for _ in 0..max_active - 2 {
                tokens.open(&token).unwrap();
                clock.advance(HOUR);
                assert!(tokens.keep_fresh(&cx, HOUR).unwrap());
            }
            assert!(tokens.open(&token).is_err(), "with {max_active} keys");
        }
    }

    #[test]
    fn keys_that_another_process_rotated_are_used_even_if_this_one_cannot_rotate() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
        let (cx, keys) = (Cx::new(clock.clone(), Arc::new(OsRandom)), keys(&dir));
        keys.create(&cx).unwrap();
        let unable = keys.clone().with_crash_points(CrashPoints::new(|_| Err(Error::internal("planned"))));
        let unable = FernetTokens::load(unable).unwrap();
        keys.rotate(&cx).unwrap();
        keys.rotate(&cx).unwrap();
        let newest = FernetTokens::load(keys.clone()).unwrap().seal(&cx, b"x").unwrap();
        assert!(unable.open(&newest).is_err());
        clock.advance(HOUR);
        assert!(unable.keep_fresh(&cx, HOUR).is_err());
        assert_eq!(unable.open(&newest).unwrap(), b"x");
    }

    #[test]
    fn signing_keys_are_rotated_by_the_same_rules() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = SigningKeys::new(dir.path().join("signing"));
        keys.create(&cx).unwrap();
        let deadly = keys.clone().with_crash_points(CrashPoints::new(|name| {
            assert_ne!(name, "signing.promoted");
            Ok(())
        }));
        assert!(catch_unwind(AssertUnwindSafe(|| deadly.rotate(&cx))).is_err());
        assert_eq!(keys.numbers().unwrap(), [1, 2], "between two steps");
        assert_eq!(keys.load().unwrap().len(), 2);
        assert!(keys.rotate_if_due(&cx, HOUR).unwrap());
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
