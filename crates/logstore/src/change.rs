//! What a closure of [`crate::Store::write`] can do.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use hanse_core::{Error, Result};

use crate::frame::{Op, Transaction};
use crate::index::{Base, Entry, EntryIter};
use crate::{KEY_MAX, PAYLOADS_MAX, PayloadId, Record, Staged, VALUE_MAX};

/// Records in the order of their keys.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Record)>> + 'a>;

/// A transaction: it sees all changes before it and its own, and leaves nothing if its closure fails.
pub struct Change<'a> {
    base: &'a dyn Base,
    overlay: BTreeMap<Vec<u8>, Option<Record>>,
    attached: BTreeMap<PayloadId, Staged>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(base: &'a dyn Base) -> Change<'a> {
        Change { base, overlay: BTreeMap::new(), attached: BTreeMap::new() }
    }

    /// The record of this key, if there is one.
    ///
    /// # Errors
    /// 500 if the index cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>> {
        match self.overlay.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => Ok(self.base.entry(key)?.map(|entry| entry.record)),
        }
    }

    /// The records of a range, in the order of their keys.
    ///
    /// # Errors
    /// The iterator ends with an error if the index cannot be read.
    pub fn scan(&self, range: impl RangeBounds<[u8]>) -> Result<Records<'_>> {
        let bounds = (range.start_bound(), range.end_bound());
        let base = self.base.entries(bounds)?;
        let changed: Vec<_> = if crate::index::is_empty(&bounds) {
            Vec::new()
        } else {
            self.overlay.range::<[u8], _>(bounds).map(|(key, record)| (key.clone(), record.clone())).collect()
        };
        Ok(Box::new(Merged { base: base.peekable(), changed: changed.into_iter().peekable() }))
    }

    /// The records whose keys begin with this.
    ///
    /// # Errors
    /// As [`Change::scan`].
    pub fn scan_prefix(&self, prefix: &[u8]) -> Result<Records<'_>> {
        let end = after_prefix(prefix);
        self.scan((Bound::Included(prefix), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)))
    }

    /// Makes or replaces a record that names these payloads. Each of them lives as long as some record names it.
    ///
    /// # Errors
    /// 400 if key, value or payloads are over their limits ([`KEY_MAX`], [`VALUE_MAX`], [`PAYLOADS_MAX`]) or the key is
    /// empty; 500 if a payload is neither attached nor in the store.
    pub fn put(&mut self, key: &[u8], value: impl Into<Bytes>, payloads: &[PayloadId]) -> Result<()> {
        let value = value.into();
        if key.is_empty() || key.len() > KEY_MAX || value.len() > VALUE_MAX || payloads.len() > PAYLOADS_MAX {
            return Err(Error::bad_request("A record is over the limits of the storage."));
        }
        for id in payloads {
            if !self.attached.contains_key(id) && self.base.payload(*id)?.is_none() {
                return Err(Error::internal(format!("there is no payload {id} to name")));
            }
        }
        self.overlay.insert(key.to_vec(), Some(Record { value, payloads: payloads.to_vec() }));
        Ok(())
    }

    /// Takes in a payload, to be named by a record in the same change; otherwise it is deleted.
    pub fn attach(&mut self, staged: Staged) -> PayloadId {
        let id = staged.id();
        self.attached.insert(id, staged);
        id
    }

    /// Forgets a record; one that is not there is fine.
    ///
    /// # Errors
    /// None today.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.overlay.insert(key.to_vec(), None);
        Ok(())
    }

    /// What goes into the log, and the payloads that it takes in. Nothing if nothing changes.
    pub(crate) fn finish(self, seq: u64, segment: u64) -> Result<Option<(Transaction, Vec<Staged>)>> {
        let mut transaction = Transaction { seq, ..Transaction::default() };
        let mut named = BTreeSet::new();
        for (key, record) in self.overlay {
            let old = self.base.entry(&key)?;
            let first = old.as_ref().map_or(segment, |old| old.first);
            match (record, old) {
                (Some(record), _) => {
                    named.extend(record.payloads.iter().copied());
                    transaction.ops.push(Op::Put { seq, first, key, record });
                }
                (None, Some(_)) => transaction.ops.push(Op::Delete { seq, since: first, key }),
                (None, None) => {}
            }
        }
        let mut taken = Vec::new();
        let mut offset = 0_u32;
        for (id, staged) in self.attached {
            if !named.contains(&id) {
                continue;
            }
            match staged.inline() {
                Some((bytes, crcs)) => {
                    let len = u32::try_from(bytes.len()).map_err(|_| too_large())?;
                    transaction.ops.push(Op::Inline { id, offset, len, crcs: crcs.to_vec() });
                    transaction.inline.push(bytes.clone());
                    offset = offset.checked_add(len).ok_or_else(too_large)?;
                }
                None => transaction.ops.push(Op::Extent { id, len: staged.len() }),
            }
            taken.push(staged);
        }
        Ok((!transaction.ops.is_empty()).then_some((transaction, taken)))
    }
}

pub(crate) fn too_large() -> Error {
    Error::too_large("The change is too large for the storage.")
}

/// The first key behind all that begin with this, if there is one.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The index with the changes of this transaction over it.
struct Merged<'b> {
    base: Peekable<EntryIter<'b>>,
    changed: Peekable<std::vec::IntoIter<(Vec<u8>, Option<Record>)>>,
}

impl Iterator for Merged<'_> {
    type Item = Result<(Vec<u8>, Record)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let base_first = match (self.base.peek(), self.changed.peek()) {
                (Some(Ok((base, _))), Some((changed, _))) => {
                    if base == changed {
                        self.base.next();
                        continue;
                    }
                    base < changed
                }
                (base, _) => base.is_some(),
            };
            if base_first {
                let strip = |(key, entry): (Vec<u8>, Entry)| (key, entry.record);
                return self.base.next().map(|item| item.map(strip));
            }
            if let (key, Some(record)) = self.changed.next()? {
                return Some(Ok((key, record)));
            }
        }
    }
}
