//! The store: what its threads share, and its public face.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hanse_core::{Context, Cx, Error, Result};
use tokio::sync::{Semaphore, oneshot};

use crate::backup::Copied;
use crate::disk::{Disk, DiskFile};
use crate::extent::Extents;
use crate::index::{SharedIndex, Stats};
use crate::keeper::{Chore, Chores, Grave};
use crate::log::Segments;
use crate::mark::Mark;
use crate::recover::{Damage, Lost};
use crate::view::Pins;
use crate::writer::{Closure, Frozen, Job, Message};
use crate::{
    Change, FAILED, IN_USE, Options, PayloadId, Seal, Staging, View, disk_error, full, keeper, lock, recover,
    writer,
};

/// How many writes may wait for the writer.
const WAITING: usize = 1024;
/// How long an answer of the file system about its free space holds.
const SPACE_HOLDS: Duration = Duration::from_millis(50);

/// What the threads share.
pub(crate) struct Core {
    pub cx: Cx,
    pub options: Options,
    pub directory: PathBuf,
    pub segments: Arc<Segments>,
    pub extents: Extents,
    pub index: SharedIndex,
    pub mark: Mark,
    /// For staged bytes.
    pub memory: Arc<Semaphore>,
    /// For what is read ahead.
    pub read_ahead: Arc<Semaphore>,
    /// Payloads that are staged and not committed.
    pub staged: Mutex<BTreeSet<PayloadId>>,
    pub stats: Mutex<Stats>,
    pub pins: Pins,
    /// What was freed and may still be read, by the generation that no longer names it.
    pub graves: Mutex<BTreeMap<u64, Vec<Grave>>>,
    pub chores: Chores,
    pub queue: std::sync::mpsc::Sender<Message>,
    slots: Semaphore,
    /// Why no more is written.
    failed: Mutex<Option<String>>,
    pub lost: Lost,
    pub damages: Vec<Damage>,
    pub ahead: Mutex<Ahead>,
    space: Mutex<Option<(Instant, u64)>>,
    pub stopping: AtomicBool,
    _lock: Held,
}

impl Core {
    pub(crate) fn failure(&self) -> Option<Error> {
        let why = lock(&self.failed).clone()?;
        Some(
            Error::unavailable("The storage takes no more writes until it is opened again.")
                .named(FAILED)
                .because(why),
        )
    }

    /// From now on every write fails.
    pub(crate) fn fail(&self, why: String) -> Error {
        tracing::error!(directory = %self.directory.display(), %why, "the storage takes no more writes");
        lock(&self.failed).get_or_insert(why);
        self.failure().unwrap_or_else(full)
    }

    /// How many bytes may still be written.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let mut space = lock(&self.space);
        if let Some((at, free)) = *space
            && at.elapsed() < SPACE_HOLDS
        {
            return Ok(free);
        }
        let found = self.options.disk.space(&self.directory);
        let free = found.map_err(|error| disk_error("ask for space", &self.directory, error))?.free;
        *space = Some((Instant::now(), free));
        Ok(free)
    }

    /// Tells that so much is about to be written, so that what was found free is not given out twice until the disk is asked again.
    pub(crate) fn spend(&self, bytes: u64) {
        if let Some((_, free)) = &mut *lock(&self.space) {
            *free = free.saturating_sub(bytes);
        }
    }

    /// Whether there is room beyond the reserve.
    pub(crate) fn check_room(&self) -> Result<()> {
        if self.free_bytes()? < self.options.reserve_bytes { Err(full()) } else { Ok(()) }
    }

    pub(crate) fn reap_later(&self) {
        if !lock(&self.graves).is_empty() {
            self.chores.send(Chore::Reap);
        }
    }

    /// Lays out what was freed; it goes once nobody can read it.
    pub(crate) fn bury(&self, graves: Vec<Grave>) {
        if !graves.is_empty() {
            let generation = self.pins.advance();
            lock(&self.graves).entry(generation).or_default().extend(graves);
            self.chores.send(Chore::Reap);
        }
    }

    /// Runs a job on the writer thread.
    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        // The writer ends after everybody who could send.
        let _ = self.queue.send(Message::Job(job));
    }

    /// Makes the index durable up to the end of the log, and gives the state of then.
    pub(crate) fn checkpoint(&self) -> Result<Frozen> {
        let (answer, done) = std::sync::mpsc::sync_channel(1);
        let _ = self.queue.send(Message::Checkpoint(answer));
        done.recv().context("the writer has ended")?
    }

    /// Takes down what the scrub found, instead of what it found before.
    pub(crate) fn note_damage(&self, found: BTreeMap<Vec<u8>, String>) -> Result<()> {
        let (answer, done) = std::sync::mpsc::sync_channel(1);
        let _ = self.queue.send(Message::Damage(found, answer));
        done.recv().context("the writer has ended")?
    }
}

/// The segment that is made ahead. Whoever makes or begins one holds the lock, so that no two do.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The newest segment that is written to.
    pub begun: u64,
    pub ready: Option<(u64, Arc<dyn DiskFile>)>,
}

/// A durable ordered map whose records own payloads. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Inner {
    fn stop(&self) {
        self.core.stopping.store(true, Ordering::SeqCst);
        self.core.chores.send(Chore::Stop);
        let _ = self.core.queue.send(Message::Stop);
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What shows that this process has the store.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

/// Takes the store for this process.
///
/// # Errors
/// 503 named [`IN_USE`] if another process has it.
pub(crate) fn hold(disk: &dyn Disk, directory: &Path) -> Result<Held> {
    let path = directory.join("lock");
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Error::unavailable("The storage is in use by another process.").named(IN_USE)
        }
        _ => disk_error("lock", &path, error),
    })
}

impl Store {
    /// Opens the store in this directory, or makes it; finishes what a crash has interrupted. Blocks while it reads what
    /// was written since the last checkpoint.
    ///
    /// # Errors
    /// 503 named [`IN_USE`] if another process has it open; 500 if the disk fails. Damage alone is no error: see [`Store::damaged`].
    pub fn open(cx: &Cx, directory: &Path, options: Options) -> Result<Store> {
        let disk = options.disk.clone();
        disk.create_directory(directory).map_err(|error| disk_error("make", directory, error))?;
        let held = hold(disk.as_ref(), directory)?;
        let segments = Arc::new(Segments::new(disk.clone(), directory));
        let extents = Extents::new(disk.clone(), directory);
        for needed in [segments.directory(), extents.directory()] {
            disk.create_directory(needed).map_err(|error| disk_error("make", needed, error))?;
        }
        let recovered = recover::recover(directory, &segments, &options)?;
        let (queue, messages) = std::sync::mpsc::channel();
        let (chores, waiting) = Chores::new();
        let core = Arc::new(Core {
            cx: cx.background("logstore"),
            directory: directory.to_owned(),
            memory: Arc::new(Semaphore::new(options.memory.min(Semaphore::MAX_PERMITS))),
            read_ahead: Arc::new(Semaphore::new(options.read_ahead.min(Semaphore::MAX_PERMITS))),
            staged: Mutex::default(),
            stats: Mutex::new(recovered.stats),
            pins: Pins::default(),
            graves: Mutex::default(),
            chores,
            queue,
            slots: Semaphore::new(WAITING),
            failed: Mutex::new(recovered.lost.is_any().then(|| "a part of the log is lost".to_owned())),
            lost: recovered.lost,
            damages: recovered.damages,
            ahead: Mutex::new(Ahead { begun: recovered.tail.position.segment, ready: None }),
            space: Mutex::default(),
            stopping: AtomicBool::new(false),
            segments,
            extents,
            index: Arc::new(recovered.index),
            mark: recovered.mark,
            options,
            _lock: held,
        });
        let threads = vec![
            writer::start(core.clone(), recovered.tail, recovered.replayed, messages)?,
            keeper::start(core.clone(), waiting)?,
        ];
        Ok(Store(Arc::new(Inner { core, threads: Mutex::new(threads) })))
    }

    /// Runs a change on the writer thread, after all that were asked for before. What it did is on the disk when this
    /// returns `Ok`; if it fails or panics, nothing has changed. Several changes share one sync of the disk.
    ///
    /// # Errors
    /// What the closure answers; 413 if the change does not fit into a segment; 503 named [`crate::FULL`] if the disk is
    /// full, or named [`FAILED`] if the disk fails: then it is not known whether the change will be there.
    pub async fn write<T, F>(&self, change: F) -> Result<T>
    where
        F: FnOnce(&mut Change<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let core = &self.0.core;
        if let Some(failure) = core.failure() {
            return Err(failure);
        }
        let _slot = core.slots.acquire().await.context("the writer has ended")?;
        let (answer, answered) = oneshot::channel();
        core.submit(Box::new(Closure::new(change, answer)));
        match answered.await {
            Ok(result) => result,
            Err(_) => {
                Err(core.failure().unwrap_or_else(|| Error::unavailable("The storage is being closed.")))
            }
        }
    }

    /// The state of now: it has everything that [`Store::write`] has answered.
    ///
    /// # Errors
    /// 500 if the index cannot be read.
    pub fn view(&self) -> Result<View> {
        View::new(&self.0.core)
    }

    /// A new payload on its way in, of which is kept what `seal` makes of it.
    pub fn stage(&self, seal: impl Seal + 'static) -> Staging {
        Staging::new(self.0.core.clone(), Box::new(seal))
    }

    /// What was found damaged, when the store was opened and by the scrub since.
    ///
    /// # Errors
    /// 500 if the index cannot be read.
    pub fn damaged(&self) -> Result<Vec<Damage>> {
        let mut all = self.0.core.damages.clone();
        all.extend(recover::noted(self.0.core.index.snapshot()?.as_ref())?);
        Ok(all)
    }

    /// Why no more is written, if that is so.
    pub fn failure(&self) -> Option<Error> {
        self.0.core.failure()
    }

    /// Compacts whatever should be, as happens by itself. Gives how many segments went.
    ///
    /// # Errors
    /// 500 if the disk fails, named [`crate::DAMAGED`] if something that should be moved is damaged.
    pub async fn compact(&self) -> Result<usize> {
        self.chore(Chore::Compact).await
    }

    /// Reads everything there is, as happens by itself, and takes down what is damaged. Gives how much is.
    ///
    /// # Errors
    /// 500 if the index cannot be read.
    pub async fn scrub(&self) -> Result<usize> {
        self.chore(Chore::Scrub).await
    }

    /// Writes a consistent copy to a directory, which must be empty or not there, while everything goes on.
    /// [`crate::restore`] puts it back.
    ///
    /// # Errors
    /// 409 if there is something in the directory; 500 if the disk fails, named [`crate::DAMAGED`] if a payload that
    /// should be copied is damaged; 503 if the store takes no more writes.
    pub async fn backup(&self, target: &Path) -> Result<Copied> {
        crate::backup::in_background(self.0.core.clone(), target.to_owned()).await
    }

    async fn chore(&self, chore: impl FnOnce(oneshot::Sender<Result<usize>>) -> Chore) -> Result<usize> {
        let (answer, done) = oneshot::channel();
        self.0.core.chores.send(chore(answer));
        done.await.map_err(|_| Error::unavailable("The storage is being closed."))?
    }

    /// Ends the store: what was asked for is done, the index is made durable. Other clones fail from then on.
    pub async fn close(self) {
        let inner = self.0;
        let _ = tokio::task::spawn_blocking(move || inner.stop()).await;
    }
}
