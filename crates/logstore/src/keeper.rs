//! Background work, on one thread: freed payloads go, the next segment is made, orphans are swept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use hanse_core::{Context, Result};

use crate::store::Core;
use crate::{PayloadId, lock};

#[derive(Debug)]
pub(crate) enum Chore {
    /// A staged payload that nobody wants.
    Discard(PayloadId),
    /// Something freed may go.
    Reap,
    /// A segment will be needed.
    Prepare(u64),
    Stop,
}

/// Freed, and not yet gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grave {
    Extent(PayloadId),
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
    let keeper = Keeper { core };
    let thread = std::thread::Builder::new().name("logstore-keeper".to_owned());
    thread.spawn(move || keeper.run(&chores)).context("cannot start the keeper")
}

struct Keeper {
    core: Arc<Core>,
}

impl Keeper {
    fn run(&self, chores: &Receiver<Chore>) {
        if self.core.options.upkeep.automatic && self.core.failure().is_none() {
            self.told("sweep orphans", self.sweep());
        }
        loop {
            match chores.recv_timeout(Duration::from_secs(1)) {
                Ok(Chore::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Chore::Discard(id)) => {
                    self.told("remove a payload", self.core.extents.remove(id));
                    lock(&self.core.staged).remove(&id);
                }
                Ok(Chore::Reap) => self.reap(),
                Ok(Chore::Prepare(number)) => self.prepare(number),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn told(&self, what: &str, result: Result<()>) {
        if let Err(error) = result {
            tracing::warn!(directory = %self.core.directory.display(), "cannot {what}: {}", error.detail());
        }
    }

    /// Removes what nobody can read any more.
    fn reap(&self) {
        let oldest = self.core.pins.oldest();
        let graves = {
            let mut all = lock(&self.core.graves);
            let rest = if oldest == u64::MAX { Default::default() } else { all.split_off(&(oldest + 1)) };
            std::mem::replace(&mut *all, rest)
        };
        for grave in graves.into_values().flatten() {
            match grave {
                Grave::Extent(id) => self.told("remove a payload", self.core.extents.remove(id)),
            }
        }
    }

    fn prepare(&self, number: u64) {
        if self.core.check_room().is_err() {
            return;
        }
        let mut ahead = lock(&self.core.ahead);
        if number <= ahead.begun {
            return;
        }
        let made = self.core.segments.create(number, self.core.options.segment_bytes, true);
        self.told("make a segment", made.map(|file| ahead.ready = Some((number, file))));
    }

    /// Removes files that no record leads to: what was staged when the process ended, or freed and not yet removed.
    fn sweep(&self) -> Result<()> {
        for id in self.core.extents.list()? {
            if self.core.stopping.load(std::sync::atomic::Ordering::SeqCst) {
                break;
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
