//! Background work, on one thread: freed payloads go, the next segment is made, orphans are swept, segments are compacted
//! and scrubbed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hanse_core::{Context, Error, Result, Timestamp};
use tokio::sync::oneshot;

use crate::disk::Access;
use crate::index::Lookup;
use crate::store::Core;
use crate::{PayloadId, disk_error, lock};

/// The name of the file that keeps room.
const RESERVE: &str = "reserve";
/// How often it looks whether something should be compacted.
const LOOK: Duration = Duration::from_secs(1);
/// So long after a failure nothing is tried by itself.
const REST: Duration = Duration::from_secs(30);

pub(crate) enum Chore {
    /// A staged payload that nobody wants.
    Discard(PayloadId),
    /// Something freed may go.
    Reap,
    /// A segment will be needed, with all its blocks written or not.
    Prepare(u64, bool),
    Compact(oneshot::Sender<Result<usize>>),
    Scrub(oneshot::Sender<Result<usize>>),
    Stop,
}

/// Freed, and not yet gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grave {
    Extent(PayloadId),
    Segment(u64),
}

pub(crate) struct Chores(Sender<Chore>);

impl Chores {
    pub(crate) fn new() -> (Chores, Receiver<Chore>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Chores(sender), receiver)
    }

    pub(crate) fn send(&self, chore: Chore) {
        // When the keeper has ended, the next start does it.
        let _ = self.0.send(chore);
    }
}

pub(crate) fn start(core: Arc<Core>, chores: Receiver<Chore>) -> Result<JoinHandle<()>> {
    let scrubbed = core.scrubbed_at();
    let mut keeper = Keeper { core, chores, waiting: Vec::new(), spoilt: BTreeSet::new(), scrubbed };
    let thread = std::thread::Builder::new().name("logstore-keeper".to_owned());
    thread.spawn(move || keeper.run()).context("cannot start the keeper")
}

pub(crate) struct Keeper {
    pub core: Arc<Core>,
    chores: Receiver<Chore>,
    /// What takes long, and has to wait for the end of something else that does.
    waiting: Vec<Chore>,
    /// Segments that cannot be compacted since something in them is damaged.
    pub spoilt: BTreeSet<u64>,
    /// When the last scrub ended.
    scrubbed: Timestamp,
}

impl Keeper {
    fn run(&mut self) {
        let upkeep = self.core.options.upkeep.clone();
        if upkeep.automatic && self.core.failure().is_none() {
            self.told("sweep orphans", self.sweep());
        }
        let newest = lock(&self.core.ahead).begun;
        self.prepare(newest + 1, true);
        let mut compact_at = Instant::now() + LOOK;
        while self.pause(LOOK) {
            match self.waiting.pop() {
                Some(Chore::Compact(answer)) => {
                    let _ = answer.send(self.compact_all());
                }
                Some(Chore::Scrub(answer)) => {
                    let _ = answer.send(self.scrub(0));
                }
                _ => {}
            }
            if upkeep.automatic {
                self.told("keep the reserve", self.keep_reserve());
            }
            if upkeep.automatic && Instant::now() >= compact_at {
                let done = self.compact_all();
                compact_at = Instant::now() + if done.is_ok() { LOOK } else { REST };
                self.told("compact the log", done);
            }
            let rate = upkeep.scrub_bytes_per_second;
            if upkeep.automatic && rate > 0 && self.core.cx.now().since(self.scrubbed) >= upkeep.scrub_every {
                let done = self.scrub(rate);
                self.scrubbed = self.core.note_scrub(self.core.cx.now());
                self.told("scrub", done);
            }
        }
    }

    /// Does what takes no time until this time has passed, or something else is asked for; false if it is to stop.
    pub(crate) fn pause(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.core.stopping.load(Ordering::SeqCst) {
                return false;
            }
            match self.chores.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Chore::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Chore::Discard(id)) => {
                    self.told("remove a payload", self.core.extents.remove(id));
                    lock(&self.core.staged).remove(&id);
                }
                Ok(Chore::Reap) => self.reap(),
                Ok(Chore::Prepare(number, filled)) => self.prepare(number, filled),
                Ok(chore @ (Chore::Compact(_) | Chore::Scrub(_))) => {
                    self.waiting.push(chore);
                    return true;
                }
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    fn told<T>(&self, what: &str, result: Result<T>) {
        if let Err(error) = result {
            tracing::warn!(directory = %self.core.directory.display(), "cannot {what}: {}", error.detail());
        }
    }

    /// Removes what nobody can read any more.
    pub(crate) fn reap(&self) {
        let oldest = self.core.pins.oldest();
        let graves = {
            let mut all = lock(&self.core.graves);
            let rest = if oldest == u64::MAX { Default::default() } else { all.split_off(&(oldest + 1)) };
            std::mem::replace(&mut *all, rest)
        };
        for grave in graves.into_values().flatten() {
            match grave {
                Grave::Extent(id) => self.told("remove a payload", self.core.extents.remove(id)),
                Grave::Segment(segment) => self.told("remove a segment", self.core.segments.remove(segment)),
            }
        }
    }

    fn prepare(&self, number: u64, filled: bool) {
        if self.core.check_room().is_err() {
            return;
        }
        let mut ahead = lock(&self.core.ahead);
        if number <= ahead.begun {
            return;
        }
        self.core.spend(self.core.options.segment_bytes);
        let made = self.core.segments.create(number, self.core.options.segment_bytes, filled);
        self.told("make a segment", made.map(|file| ahead.ready = Some((number, file))));
    }

    /// Room that others on this disk cannot take: a file that goes when there is next to none, so that the index can
    /// grow and deletions are written.
    fn keep_reserve(&self) -> Result<()> {
        let (disk, options) = (&self.core.options.disk, &self.core.options);
        let bytes = options.reserve_bytes / 4;
        let path = self.core.directory.join(RESERVE);
        let free = self.core.free_bytes()?;
        match disk.open(&path, Access::Read) {
            Ok(_) if free < bytes / 4 => {
                disk.remove(&path).map_err(|error| disk_error("remove", &path, error))
            }
            Ok(_) => Ok(()),
            Err(_) if free > options.reserve_bytes + 2 * bytes && bytes > 0 => {
                let made = disk.open(&path, Access::Create).and_then(|file| file.allocate(bytes));
                made.map_err(|error| {
                    let _ = disk.remove(&path);
                    disk_error("make", &path, error)
                })
            }
            Err(_) => Ok(()),
        }
    }

    /// Removes files that no record leads to: what was staged when the process ended, or freed and not yet removed.
    fn sweep(&self) -> Result<()> {
        for id in self.core.extents.list()? {
            if self.core.stopping.load(Ordering::SeqCst) {
                return Err(Error::unavailable("The storage is being closed."));
            }
            let staged = lock(&self.core.staged).contains(&id);
            let buried = lock(&self.core.graves).values().flatten().any(|grave| *grave == Grave::Extent(id));
            if !staged && !buried && self.core.index.snapshot()?.payload(id)?.is_none() {
                self.core.extents.remove(id)?;
            }
        }
        Ok(())
    }
}
