//! The store as it was at one moment.

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex};

use hanse_core::Result;

use crate::buffers::Buffer;
use crate::change::after_prefix;
use crate::index::{self, Entry, Lookup, Snapshot};
use crate::reading::Reading;
use crate::store::Core;
use crate::{PayloadId, Record, index_error, lock};

/// A consistent state of the store. What it names stays readable through it; it should not live for hours, since
/// deleted payloads keep their room until then.
#[derive(Clone)]
pub struct View {
    core: Arc<Core>,
    snapshot: Arc<Snapshot>,
    pin: Arc<Pin>,
}

impl View {
    pub(crate) fn new(core: &Arc<Core>) -> Result<View> {
        let pin = Arc::new(Pin::new(core.clone()));
        Ok(View { core: core.clone(), snapshot: core.index.snapshot()?, pin })
    }

    /// The record of this key, if there is one. May read from the disk.
    ///
    /// # Errors
    /// 500 named [`crate::DAMAGED`] if the record, or whether there is one, cannot be told because of damage.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        self.core.lost.check(key)?;
        Ok(self.snapshot.entry(key)?.map(|entry| entry.record))
    }

    /// The records of a range, in the order of their keys.
    ///
    /// # Errors
    /// As [`View::get`], when it is asked and on the way.
    pub fn scan(&self, range: impl RangeBounds<[u8]>) -> Result<Scan> {
        let end = range.end_bound().map(<[u8]>::to_vec);
        let mut scan = Scan { view: self.clone(), end, found: None, done: false };
        scan.start(range.start_bound())?;
        Ok(scan)
    }

    /// The records whose keys begin with this.
    ///
    /// # Errors
    /// As [`View::scan`].
    pub fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan> {
        let end = after_prefix(prefix);
        self.scan((Bound::Included(prefix), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)))
    }

    /// Sound bytes of a payload that a record of this view names.
    ///
    /// # Errors
    /// The stream gives 404 if no record names the payload, 400 if it is shorter than the range, and 500 named
    /// [`crate::DAMAGED`] instead of bytes that are not those that were written.
    pub fn read(&self, payload: PayloadId, range: Range<u64>) -> Reading {
        self.read_with(payload, range, |bytes| Ok(bytes.into()))
    }

    /// The same, and lets `work` be done on each piece where it was read: on a thread that may take its time.
    ///
    /// # Errors
    /// As [`View::read`], and those of `work`.
    pub fn read_with<T: Send + 'static>(
        &self,
        payload: PayloadId,
        range: Range<u64>,
        work: impl FnMut(Buffer) -> Result<T> + Send + 'static,
    ) -> Reading<T> {
        let found = self.snapshot.payload(payload);
        Reading::new(self.core.clone(), found, payload, range, Some(self.pin.clone()), work)
    }

    /// How long a payload is.
    ///
    /// # Errors
    /// 404 if no record of this view names it.
    pub fn payload_len(&self, payload: PayloadId) -> Result<u64> {
        let found = self.snapshot.payload(payload)?;
        found.map(|found| found.len).ok_or_else(|| crate::reading::no_payload(payload))
    }
}

impl View {
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The records of a range. [`Scan::seek`] goes forward past what is of no interest.
pub struct Scan {
    view: View,
    end: Bound<Vec<u8>>,
    found: Option<Entries>,
    done: bool,
}

impl Scan {
    fn start(&mut self, start: Bound<&[u8]>) -> Result<()> {
        let range = (start, self.end.as_ref().map(Vec::as_slice));
        self.found = if index::is_empty(&range) {
            None
        } else {
            Some(self.view.snapshot.records.range::<&[u8]>(range).map_err(index_error)?)
        };
        Ok(())
    }

    /// Goes on with the first key that is not less than this, so that a delimiter skips what has a common prefix.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.start(Bound::Included(key))
    }
}

type Item = Result<(Vec<u8>, Record)>;
type Entries = redb::Range<'static, index::Bytes, index::Bytes>;

impl Scan {
    fn step(&mut self, step: fn(&mut Entries) -> Option<<Entries as Iterator>::Item>) -> Option<Item> {
        if self.done {
            return None;
        }
        let item = match self.found.as_mut().and_then(step) {
            Some(item) => item.map_err(index_error).and_then(|(key, value)| {
                self.view.core.lost.check(key.value())?;
                Ok((key.value().to_vec(), Entry::decode(value.value())?.record))
            }),
            // What is lost may have been here.
            None => {
                self.done = true;
                return self.view.core.lost.check_listing().err().map(Err);
            }
        };
        self.done = item.is_err() && self.view.core.lost.is_unknown();
        Some(item)
    }
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.step(Iterator::next)
    }
}

/// From the end of the range; it has another end than [`Scan::seek`] moves.
impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

/// Who may still read what was freed.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    now: u64,
    active: BTreeMap<u64, usize>,
}

impl Pins {
    /// Called after something was freed: what is seen from now on does not name it. It may go when
    /// [`Pins::oldest`] has reached what this returns.
    pub(crate) fn advance(&self) -> u64 {
        let mut generations = lock(&self.0);
        generations.now += 1;
        generations.now
    }

    pub(crate) fn oldest(&self) -> u64 {
        lock(&self.0).active.keys().next().copied().unwrap_or(u64::MAX)
    }
}

/// Keeps what was there when it was made.
pub(crate) struct Pin {
    core: Arc<Core>,
    generation: u64,
}

impl Pin {
    pub(crate) fn new(core: Arc<Core>) -> Pin {
        let generation = {
            let mut generations = lock(&core.pins.0);
            let now = generations.now;
            *generations.active.entry(now).or_default() += 1;
            now
        };
        Pin { core, generation }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut generations = lock(&self.core.pins.0);
        if let Some(count) = generations.active.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                generations.active.remove(&self.generation);
                drop(generations);
                self.core.reap_later();
            }
        }
    }
}
