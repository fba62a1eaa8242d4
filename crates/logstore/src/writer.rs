//! The one thread that changes the store, with group commit: all who wait share one sync of the disk.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hanse_core::{Context, Error, Result};
use tokio::sync::oneshot;

use crate::change::too_large;
use crate::frame::{Op, Transaction};
use crate::index::{Applied, Base, Checkpoint, Freed, Mode, Stats, Tables};
use crate::keeper::{Chore, Grave};
use crate::log::{Position, Tail};
use crate::mark::Synced;
use crate::store::Core;
use crate::{Change, Staged, View, full, lock};

/// A batch is written when it has so many bytes or jobs.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_JOBS: usize = 512;
/// A checkpoint is due after so many transactions, however small they are: replaying them takes about half a second.
const CHECKPOINT_FRAMES: u64 = 50_000;
/// A segment that lasts so long is worth being filled with zeros ahead.
const SLOW_ROLL: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(3600);

pub(crate) enum Message {
    Job(Box<dyn Job>),
    Checkpoint(SyncSender<Result<Frozen>>),
    /// Takes down what the scrub found.
    Damage(BTreeMap<Vec<u8>, String>, SyncSender<Result<()>>),
    Stop,
}

/// The state at a checkpoint.
pub(crate) struct Frozen {
    /// Where the log ends.
    pub position: Position,
    pub stats: Stats,
    pub view: View,
}

/// What a job puts into the log, and the payloads that this takes in.
pub(crate) type Prepared = (Transaction, Vec<Staged>);

/// Something to be done by the writer.
pub(crate) trait Job: Send {
    /// Decides what to write. Nothing if nothing is to be written, or if it fails.
    fn prepare(&mut self, base: &dyn Base, seq: u64, segment: u64) -> Option<Prepared>;
    /// Whether it may take from the reserve.
    fn is_upkeep(&self) -> bool {
        false
    }
    /// What it is to answer instead of what it decided.
    fn fail(&mut self, error: Error);
    fn answer(self: Box<Self>);
}

/// A closure of [`crate::Store::write`].
pub(crate) struct Closure<T, F> {
    change: Option<F>,
    outcome: Result<T>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Closure<T, F> {
    pub(crate) fn new(change: F, answer: oneshot::Sender<Result<T>>) -> Closure<T, F> {
        Closure { change: Some(change), outcome: Err(Error::internal("the change did not run")), answer }
    }
}

impl<T, F> Job for Closure<T, F>
where
    F: FnOnce(&mut Change<'_>) -> Result<T> + Send,
    T: Send,
{
    fn prepare(&mut self, base: &dyn Base, seq: u64, segment: u64) -> Option<Prepared> {
        let closure = self.change.take()?;
        let mut change = Change::new(base);
        // A panic ends one request; its changes are dropped with it.
        self.outcome = catch_unwind(AssertUnwindSafe(|| closure(&mut change)))
            .unwrap_or_else(|_| Err(Error::internal("a change of the storage panicked")));
        if self.outcome.is_err() {
            return None;
        }
        match change.finish(seq, segment) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.outcome = Err(error);
    }

    fn answer(self: Box<Self>) {
        // Who does not wait any more does not want to know.
        let _ = self.answer.send(self.outcome);
    }
}

pub(crate) fn start(
    core: Arc<Core>,
    tail: Tail,
    replayed: u64,
    messages: Receiver<Message>,
) -> Result<JoinHandle<()>> {
    let mut writer = Writer {
        core,
        tail,
        messages,
        next: None,
        carried: None,
        unsaved_frames: replayed,
        unsaved_bytes: 0,
        saved_at: Instant::now(),
        rolled_at: Instant::now(),
    };
    let thread = std::thread::Builder::new().name("logstore-writer".to_owned());
    thread.spawn(move || writer.run()).context("cannot start the writer")
}

struct Writer {
    core: Arc<Core>,
    tail: Tail,
    messages: Receiver<Message>,
    /// A message that was taken and has to wait for the end of a batch.
    next: Option<Message>,
    /// A job that did not fit into the segment.
    carried: Option<(Box<dyn Job>, Prepared)>,
    unsaved_frames: u64,
    unsaved_bytes: u64,
    saved_at: Instant,
    /// When the newest segment was begun.
    rolled_at: Instant,
}

/// A batch that is not on the disk yet.
#[derive(Default)]
struct Batch {
    jobs: Vec<Box<dyn Job>>,
    taken: Vec<Staged>,
    freed: Vec<Freed>,
    frames: u64,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let message = match self.next.take() {
                Some(message) => Ok(message),
                None => self.messages.recv_timeout(self.until_checkpoint()),
            };
            match message {
                Ok(Message::Job(job)) => self.batches(job),
                Ok(Message::Checkpoint(answer)) => {
                    let _ = answer.send(self.checkpoint().and_then(|()| self.freeze()));
                }
                Ok(Message::Damage(found, answer)) => {
                    let noted = self.core.index.note_damage(&found);
                    self.unsaved_frames += 1;
                    let _ = answer.send(noted);
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.is_due() {
                // Its failure is noted.
                let _ = self.checkpoint();
            }
        }
        // Whatever fails here is done again at the next start.
        if self.core.failure().is_none() && (self.unsaved_frames == 0 || self.checkpoint().is_ok()) {
            let _ = self.core.mark.set(Synced { position: self.tail.position, closed: true });
        }
    }

    fn freeze(&self) -> Result<Frozen> {
        let stats = lock(&self.core.stats).clone();
        Ok(Frozen { position: self.tail.position, stats, view: View::new(&self.core)? })
    }

    fn until_checkpoint(&self) -> Duration {
        if self.unsaved_frames == 0 {
            return IDLE;
        }
        self.core.options.checkpoint_every.saturating_sub(self.saved_at.elapsed())
    }

    fn is_due(&self) -> bool {
        let options = &self.core.options;
        self.unsaved_frames > 0
            && (self.unsaved_bytes >= options.checkpoint_bytes
                || self.unsaved_frames >= CHECKPOINT_FRAMES
                || self.saved_at.elapsed() >= options.checkpoint_every)
    }

    fn checkpoint(&mut self) -> Result<()> {
        if let Some(failure) = self.core.failure() {
            self.unsaved_frames = 0;
            return Err(failure);
        }
        let checkpoint = Checkpoint { position: self.tail.position, stats: lock(&self.core.stats).clone() };
        self.core.index.save(&checkpoint).map_err(|error| self.core.fail(error.detail()))?;
        let synced = Synced { position: self.tail.position, closed: false };
        self.core.mark.set(synced).map_err(|error| self.core.fail(error.detail()))?;
        self.unsaved_frames = 0;
        self.unsaved_bytes = 0;
        self.saved_at = Instant::now();
        Ok(())
    }

    /// Runs this job and all that wait, in as many batches as segments are begun.
    fn batches(&mut self, job: Box<dyn Job>) {
        let mut job = Some(job);
        while job.is_some() || self.carried.is_some() {
            let mut batch = Batch::default();
            let outcome = match self.core.failure() {
                Some(failure) => Err(failure),
                None => self.batch(job.take(), &mut batch),
            };
            batch.jobs.extend(job.take());
            let Batch { mut jobs, taken, freed, .. } = batch;
            match outcome {
                Ok(()) => {
                    let graves = freed.iter().filter(|freed| freed.extent);
                    self.core.bury(graves.map(|freed| Grave::Extent(freed.id)).collect());
                }
                Err(_) => {
                    jobs.extend(self.carried.take().map(|(job, _)| job));
                    for job in &mut jobs {
                        job.fail(self.core.failure().unwrap_or_else(full));
                    }
                }
            }
            // Committed, or nobody knows; then the next start decides.
            taken.into_iter().for_each(Staged::keep);
            jobs.into_iter().for_each(|job| job.answer());
        }
    }

    fn batch(&mut self, job: Option<Box<dyn Job>>, batch: &mut Batch) -> Result<()> {
        let core = self.core.clone();
        let broken = |error: Error| core.fail(error.detail());
        if self.unsaved_frames == 0 {
            self.saved_at = Instant::now();
        }
        let txn = core.index.begin().map_err(broken)?;
        let mut tables = Tables::open(&txn, Mode::InOrder).map_err(broken)?;
        if let Some((mut job, prepared)) = self.carried.take() {
            match self.roll() {
                Ok(()) => {
                    batch.jobs.push(job);
                    self.add(prepared, &mut tables, batch).map_err(broken)?;
                }
                Err(error) => {
                    job.fail(error);
                    job.answer();
                }
            }
        }
        let mut next = job;
        while let Some(mut job) = next.take().or_else(|| self.take_job(batch)) {
            let prepared = job.prepare(&tables, self.tail.position.seq + 1, self.tail.position.segment);
            let Some(prepared) = prepared else {
                batch.jobs.push(job);
                continue;
            };
            if let Err(error) = self.admit(&prepared.0, job.is_upkeep()) {
                job.fail(error);
                batch.jobs.push(job);
                continue;
            }
            if !self.tail.fits(&prepared.0) {
                self.tail.position.seq = self.tail.position.seq.max(prepared.0.seq);
                self.carried = Some((job, prepared));
                break;
            }
            batch.jobs.push(job);
            self.add(prepared, &mut tables, batch).map_err(broken)?;
        }
        drop(tables);
        if batch.frames == 0 {
            return Ok(());
        }
        let bytes = self.tail.pending() as u64;
        let path = self.tail.segments().path(self.tail.position.segment);
        self.tail.flush().map_err(|error| core.fail(format!("cannot write {}: {error}", path.display())))?;
        if let Some(stat) = lock(&core.stats).get_mut(&self.tail.position.segment) {
            stat.end = self.tail.position.offset;
        }
        core.index.commit(txn).map_err(|error| core.fail(error.detail()))?;
        self.unsaved_bytes += bytes;
        self.unsaved_frames += batch.frames;
        Ok(())
    }

    /// The next job for this batch, unless it is full or something else is asked for.
    fn take_job(&mut self, batch: &Batch) -> Option<Box<dyn Job>> {
        if batch.jobs.len() >= BATCH_JOBS || self.tail.pending() >= BATCH_BYTES {
            return None;
        }
        match self.messages.try_recv() {
            Ok(Message::Job(job)) => Some(job),
            Ok(other) => {
                self.next = Some(other);
                None
            }
            Err(_) => None,
        }
    }

    fn add(&mut self, prepared: Prepared, tables: &mut Tables<'_>, batch: &mut Batch) -> Result<()> {
        let (transaction, taken) = prepared;
        batch.taken.extend(taken);
        let payloads_at = self.tail.push(&transaction);
        let frame = Applied {
            ops: &transaction.ops,
            moved: transaction.moved,
            segment: self.tail.position.segment,
            payloads_at,
        };
        let freed = tables.apply(&frame, Mode::InOrder, &mut lock(&self.core.stats))?;
        self.tail.position.seq = self.tail.position.seq.max(transaction.seq);
        batch.freed.extend(freed);
        batch.frames += 1;
        Ok(())
    }

    /// Whether there is room for this. What only deletes always has some.
    fn admit(&self, transaction: &Transaction, upkeep: bool) -> Result<()> {
        if transaction.size_limit(0) > Tail::frame_limit(self.core.options.segment_bytes) / 2 {
            return Err(too_large());
        }
        let deletes = transaction.ops.iter().any(|op| matches!(op, Op::Delete { .. }));
        let payloads = transaction.ops.iter().any(|op| matches!(op, Op::Inline { .. } | Op::Extent { .. }));
        let needed = match (payloads, deletes || upkeep) {
            (_, true) if !payloads || upkeep => return Ok(()),
            (true, _) => self.core.options.reserve_bytes,
            (false, _) => self.core.options.reserve_bytes / 2,
        };
        if self.core.free_bytes()? < needed { Err(full()) } else { Ok(()) }
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<()> {
        let number = self.tail.position.segment + 1;
        let bytes = self.core.options.segment_bytes;
        let file = {
            let mut ahead = lock(&self.core.ahead);
            let file = match ahead.ready.take().filter(|(ready, _)| *ready == number) {
                Some((_, file)) => file,
                None => {
                    self.core.spend(bytes);
                    self.core.segments.create(number, bytes, false)?
                }
            };
            ahead.begun = number;
            file
        };
        self.tail.roll(number, file, bytes);
        lock(&self.core.stats).entry(number).or_default();
        // Filling a segment with zeros makes each sync faster, but when much is written it takes the disk's time.
        let filled = self.rolled_at.elapsed() >= SLOW_ROLL;
        self.rolled_at = Instant::now();
        self.core.chores.send(Chore::Prepare(number + 1, filled));
        Ok(())
    }
}
