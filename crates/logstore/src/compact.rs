//! Compaction: what still lives in a segment is written again at the end of the log, and the segment goes.
//!
//! Records keep their sequence numbers, so that the log alone still tells which is the newest. Everything is
//! idempotent: after a crash at any point some of it lies in both places, and the segment is compacted again.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Context, Error, Result};

use crate::frame::{Head, Op, Transaction};
use crate::index::{Base, Home, Lookup, Payload, Stat};
use crate::keeper::{Grave, Keeper};
use crate::log::{Found, START, Walk};
use crate::writer::{Job, Prepared};
use crate::{PayloadId, damaged, lock};

/// How much is moved in one transaction.
const CHUNK: u64 = 1 << 20;
/// How alive a segment may be that is compacted when the disk is nearly full.
const NEARLY_FULL: f64 = 0.95;

/// Something that lives in the segment.
struct Item {
    op: Op,
    /// Where in the segment its payload is, and what that is.
    payload: Option<(u64, Bytes)>,
}

/// What lives in a part of a segment, to be written again.
struct Move {
    segment: u64,
    items: Vec<Item>,
    outcome: Result<()>,
    done: SyncSender<Result<()>>,
}

/// The operation as it has to be written now, if it still lives in this segment.
fn live(base: &(impl Lookup + ?Sized), segment: u64, op: &Op, payload_at: u64) -> Result<Option<Op>> {
    Ok(match op {
        Op::Put { seq, key, .. } => {
            let entry = base.entry(key)?.filter(|entry| entry.seq == *seq && entry.segment == segment);
            entry.map(|entry| Op::Put {
                seq: *seq,
                first: entry.first,
                key: key.clone(),
                record: entry.record,
            })
        }
        Op::Delete { .. } => Some(op.clone()),
        Op::Inline { id, .. } => {
            let here = |payload: &Payload| {
                payload.segment == segment
                    && matches!(payload.home, Home::Inline { offset: at, .. } if at == payload_at)
            };
            base.payload(*id)?.filter(here).map(|_| op.clone())
        }
        Op::Extent { id, .. } => {
            base.payload(*id)?.filter(|payload| payload.segment == segment).map(|_| op.clone())
        }
    })
}

impl Move {
    fn decide(&mut self, base: &dyn Base, seq: u64) -> Result<Option<Prepared>> {
        let mut transaction = Transaction { seq, moved: true, ..Transaction::default() };
        let mut end = 0_u32;
        for Item { op, payload } in std::mem::take(&mut self.items) {
            // It may have been replaced or deleted since it was read.
            let at = payload.as_ref().map_or(0, |(at, _)| *at);
            let Some(mut op) = live(base, self.segment, &op, at)? else { continue };
            if let (Op::Inline { offset, len, .. }, Some((_, bytes))) = (&mut op, payload) {
                *offset = end;
                end += *len;
                transaction.inline.push(bytes);
            }
            transaction.ops.push(op);
        }
        Ok((!transaction.ops.is_empty()).then_some((transaction, Vec::new())))
    }
}

impl Job for Move {
    fn prepare(&mut self, base: &dyn Base, seq: u64, _segment: u64) -> Option<Prepared> {
        match self.decide(base, seq) {
            Ok(prepared) => {
                self.outcome = Ok(());
                prepared
            }
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }

    fn is_upkeep(&self) -> bool {
        true
    }

    fn fail(&mut self, error: Error) {
        self.outcome = Err(error);
    }

    fn answer(self: Box<Self>) {
        let _ = self.done.send(self.outcome);
    }
}

impl Keeper {
    /// Compacts whatever should be. Gives how many segments went.
    pub(crate) fn compact_all(&mut self) -> Result<usize> {
        let mut count = 0;
        // What is moved counts for the newest segments, which are not looked at again.
        let newest = lock(&self.core.ahead).begun;
        while let Some(segment) = self.candidate(newest)? {
            if !self.compact(segment)? {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// The segment with the least in it that lives, if that is little enough.
    fn candidate(&self, before: u64) -> Result<Option<u64>> {
        if self.core.failure().is_some() {
            return Ok(None);
        }
        let wanted = self.core.options.upkeep.live_ratio;
        let limit = if self.core.check_room().is_err() { wanted.max(NEARLY_FULL) } else { wanted };
        let stats = lock(&self.core.stats);
        let oldest = stats.keys().next().copied();
        let ratio = |segment: u64, stat: &Stat| {
            // Nothing is older than the oldest, so nothing needs the deletions in it.
            let tombstones = if oldest == Some(segment) { 0 } else { stat.tombstones };
            (stat.live + tombstones) as f64 / stat.end.saturating_sub(START).max(1) as f64
        };
        let sealed = stats.range(..before).filter(|(segment, _)| !self.spoilt.contains(segment));
        let best = sealed.map(|(n, stat)| (*n, ratio(*n, stat))).min_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.filter(|(_, ratio)| *ratio < limit).map(|(segment, _)| segment))
    }

    /// Compacts one segment; false if it was told to stop.
    fn compact(&mut self, segment: u64) -> Result<bool> {
        let result = self.move_out(segment);
        if let Err(error) = &result
            && error.name() == Some(crate::DAMAGED)
        {
            // It stays, for the scrub to report and for whoever may still save something.
            self.spoilt.insert(segment);
        }
        if !result? {
            return Ok(false);
        }
        self.core.checkpoint()?;
        let rest = lock(&self.core.stats).get(&segment).copied().unwrap_or_default();
        if rest.live > 0 {
            self.spoilt.insert(segment);
            return Err(Error::internal(format!("{} bytes of segment {segment} live on", rest.live)));
        }
        lock(&self.core.stats).remove(&segment);
        self.core.bury(vec![Grave::Segment(segment)]);
        self.reap();
        Ok(true)
    }

    fn move_out(&mut self, segment: u64) -> Result<bool> {
        let older: Vec<u64> = self.core.segments.list()?.into_iter().filter(|n| *n < segment).collect();
        let end = lock(&self.core.stats).get(&segment).map_or(START, |stat| stat.end);
        let mut walk = self.core.segments.walk(segment)?;
        let mut offset = START;
        let mut chunk = Vec::new();
        let (mut size, mut passed) = (0, 0);
        let mut view = self.core.index.snapshot()?;
        while offset < end {
            let Found::Frame(head, ops) = walk.at(offset) else {
                return Err(damaged(format!("segment {segment} of the log at {offset}")));
            };
            for op in ops {
                if let Op::Delete { since, .. } = &op
                    && !older.iter().any(|n| n >= since)
                {
                    continue;
                }
                let at = match &op {
                    Op::Inline { offset, .. } => head.payload_offset() + u64::from(*offset),
                    _ => 0,
                };
                let Some(op) = live(view.as_ref(), segment, &op, at)? else { continue };
                let payload = match &op {
                    Op::Inline { id, .. } => Some((at, sound(&mut walk, &head, &op, *id)?)),
                    _ => None,
                };
                size += op.weight();
                chunk.push(Item { op, payload });
            }
            offset += head.frame_len();
            passed += head.frame_len();
            if size >= CHUNK || passed >= 4 * CHUNK || offset >= end {
                self.hand_over(segment, std::mem::take(&mut chunk))?;
                let rate = self.core.options.upkeep.compaction_bytes_per_second.max(1);
                if !self.pause(Duration::from_secs_f64(passed as f64 / rate as f64)) {
                    return Ok(false);
                }
                (size, passed) = (0, 0);
                view = self.core.index.snapshot()?;
            }
        }
        Ok(true)
    }

    /// Has the writer move these, and waits for it.
    fn hand_over(&self, segment: u64, mut items: Vec<Item>) -> Result<()> {
        while !items.is_empty() {
            // No more than fits into a small segment.
            let limit = CHUNK.min(self.core.options.segment_bytes / 8);
            let mut size = 0;
            let fit = items.iter().take_while(|item| {
                let first = size == 0;
                size += item.op.weight();
                first || size <= limit
            });
            let count = fit.count();
            let rest = items.split_off(count);
            let (done, moved) = std::sync::mpsc::sync_channel(1);
            let outcome = Err(Error::internal("it was not moved"));
            self.core.submit(Box::new(Move { segment, items, outcome, done }));
            moved.recv().context("the writer has ended")??;
            items = rest;
        }
        Ok(())
    }
}

/// The bytes of a payload, which must be as they were written: what is moved gets a place of its own.
fn sound(walk: &mut Walk, head: &Head, op: &Op, id: PayloadId) -> Result<Bytes> {
    let bytes = walk.inline(head, op).map(Bytes::copy_from_slice);
    bytes.ok_or_else(|| damaged(format!("payload {id} in segment {} of the log", walk.segment)))
}
