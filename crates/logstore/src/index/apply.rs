//! A frame of the log becomes part of the index.

use std::collections::BTreeMap;

use hanse_core::{Error, Result};
use redb::ReadableTable;

use super::{Entry, Home, Lookup, Payload, Stats, Tables};
use crate::frame::{Op, delete_weight, put_weight};
use crate::{PayloadId, damaged, index_error};

/// A payload that no record names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freed {
    pub id: PayloadId,
    /// Whether it has a file.
    pub extent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The index holds everything up to this frame.
    InOrder,
    /// The index is made from the log alone. Compaction has moved records past younger ones, so numbers decide.
    Rebuild,
}

/// A frame as the index takes it.
pub(crate) struct Applied<'a> {
    pub ops: &'a [Op],
    pub moved: bool,
    pub segment: u64,
    /// Where in the segment its payload area begins.
    pub payloads_at: u64,
}

/// What a frame does to payloads, gathered first: their counts matter only at its end.
#[derive(Default)]
struct Tally {
    refs: BTreeMap<PayloadId, i64>,
    declared: BTreeMap<PayloadId, Payload>,
}

impl Tally {
    fn count(&mut self, payloads: &[PayloadId], by: i64) {
        payloads.iter().for_each(|id| *self.refs.entry(*id).or_default() += by);
    }
}

fn kill(stats: &mut Stats, segment: u64, weight: u64) {
    if let Some(stat) = stats.get_mut(&segment) {
        stat.live = stat.live.saturating_sub(weight);
    }
}

fn revive(stats: &mut Stats, segment: u64, weight: u64) {
    stats.entry(segment).or_default().live += weight;
}

impl Tables<'_> {
    pub(crate) fn apply(&mut self, frame: &Applied<'_>, mode: Mode, stats: &mut Stats) -> Result<Vec<Freed>> {
        let mut tally = Tally::default();
        for op in frame.ops {
            match op {
                Op::Put { seq, first, key, record } => {
                    let old = self.entry(key)?;
                    let same = old.as_ref().is_some_and(|old| old.seq == *seq);
                    let newer = match mode {
                        Mode::InOrder => !frame.moved,
                        Mode::Rebuild => {
                            old.as_ref().is_none_or(|old| old.seq < *seq) && self.tombstone(key)? < *seq
                        }
                    };
                    if !(newer || same) {
                        continue;
                    }
                    if let Some(old) = old {
                        kill(stats, old.segment, put_weight(key.len(), &old.record) as u64);
                        tally.count(&old.record.payloads, -1);
                    }
                    revive(stats, frame.segment, put_weight(key.len(), record) as u64);
                    tally.count(&record.payloads, 1);
                    let entry =
                        Entry { seq: *seq, segment: frame.segment, first: *first, record: record.clone() };
                    self.records.insert(key.as_slice(), entry.encode().as_slice()).map_err(index_error)?;
                }
                Op::Delete { seq, key, .. } => {
                    stats.entry(frame.segment).or_default().tombstones += delete_weight(key.len()) as u64;
                    let old = self.entry(key)?;
                    let newer = match mode {
                        Mode::InOrder => !frame.moved,
                        Mode::Rebuild => {
                            self.note_tombstone(key, *seq)?;
                            old.as_ref().is_none_or(|old| old.seq < *seq)
                        }
                    };
                    if let Some(old) = old.filter(|_| newer) {
                        kill(stats, old.segment, put_weight(key.len(), &old.record) as u64);
                        tally.count(&old.record.payloads, -1);
                        self.records.remove(key.as_slice()).map_err(index_error)?;
                    }
                }
                Op::Inline { id, offset, len, crcs } => {
                    let home =
                        Home::Inline { offset: frame.payloads_at + u64::from(*offset), crcs: crcs.clone() };
                    let payload = Payload { home, segment: frame.segment, len: u64::from(*len), refs: 0 };
                    tally.declared.insert(*id, payload);
                }
                Op::Extent { id, len } => {
                    let payload = Payload { home: Home::Extent, segment: frame.segment, len: *len, refs: 0 };
                    tally.declared.insert(*id, payload);
                }
            }
        }
        self.count_payloads(tally, frame.moved, mode, stats)
    }

    fn count_payloads(
        &mut self,
        mut tally: Tally,
        moved: bool,
        mode: Mode,
        stats: &mut Stats,
    ) -> Result<Vec<Freed>> {
        let mut freed = Vec::new();
        for id in tally.declared.keys() {
            tally.refs.entry(*id).or_default();
        }
        for (id, change) in tally.refs {
            let known = self.payload(id)?;
            let mut payload = match (tally.declared.remove(&id), known) {
                (Some(_), None) if moved && mode == Mode::InOrder => continue,
                (Some(declared), known) => {
                    let refs = known.as_ref().map_or(0, |known| known.refs);
                    if let Some(known) = known {
                        kill(stats, known.segment, known.weight());
                    }
                    revive(stats, declared.segment, declared.weight());
                    Payload { refs, ..declared }
                }
                (None, Some(_)) if change == 0 => continue,
                (None, Some(known)) => known,
                (None, None) if change == 0 => continue,
                (None, None) if mode == Mode::Rebuild => {
                    Payload { home: Home::Unknown, segment: 0, len: 0, refs: 0 }
                }
                (None, None) => return Err(damaged(format!("index: payload {id} is not known"))),
            };
            let refs = i64::from(payload.refs) + change;
            // While the index is made again, a record may be met after the one that took its place.
            payload.refs = u32::try_from(refs.max(0))
                .map_err(|_| Error::bad_request("A payload is named too often."))?;
            if payload.refs == 0 && mode == Mode::InOrder {
                kill(stats, payload.segment, payload.weight());
                self.payloads.remove(id.as_bytes().as_slice()).map_err(index_error)?;
                freed.push(Freed { id, extent: payload.home == Home::Extent });
            } else {
                let bytes = payload.encode();
                self.payloads.insert(id.as_bytes().as_slice(), bytes.as_slice()).map_err(index_error)?;
            }
        }
        Ok(freed)
    }

    fn tombstone(&self, key: &[u8]) -> Result<u64> {
        let Some(table) = &self.tombstones else { return Ok(0) };
        Ok(table.get(key).map_err(index_error)?.map_or(0, |seq| seq.value()))
    }

    fn note_tombstone(&mut self, key: &[u8], seq: u64) -> Result<()> {
        let known = self.tombstone(key)?;
        if let Some(table) = &mut self.tombstones
            && seq > known
        {
            table.insert(key, seq).map_err(index_error)?;
        }
        Ok(())
    }

    /// The last step of a rebuild: forgets payloads that no record names, and tells those that are named and not there.
    pub(crate) fn sweep(&mut self, stats: &mut Stats) -> Result<Vec<PayloadId>> {
        let mut unused = Vec::new();
        let mut lost = Vec::new();
        for item in self.payloads.iter().map_err(index_error)? {
            let (key, value) = item.map_err(index_error)?;
            let payload = Payload::decode(value.value())?;
            let Ok(id) = <[u8; 16]>::try_from(key.value()).map(PayloadId::from_bytes) else { continue };
            if payload.refs == 0 {
                unused.push((id, payload));
            } else if payload.home == Home::Unknown {
                lost.push(id);
            }
        }
        for (id, payload) in unused {
            kill(stats, payload.segment, payload.weight());
            self.payloads.remove(id.as_bytes().as_slice()).map_err(index_error)?;
        }
        Ok(lost)
    }
}
