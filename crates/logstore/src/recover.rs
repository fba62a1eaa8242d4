//! Opening: the part of the log that the index does not know yet is read, and what is torn is told from what is damaged.
//!
//! A batch is written only after the one before is on the disk. So when something unreadable is followed by anything of a
//! batch that began behind it, it was on the disk once and is damaged. When nothing of a later batch follows, it is
//! what the crash interrupted; nobody was told that it succeeded, and the log ends before it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use hanse_core::{Error, Result};
use redb::ReadableTable;

use crate::disk::DiskFile;
use crate::frame::{Head, Op};
use crate::index::{Applied, Checkpoint, FILE, Index, Mode, Snapshot, Stats, Tables};
use crate::log::{self, Found, Position, START, SegmentHead, Segments, Tail, Walk};
use crate::mark::{Mark, Synced};
use crate::wire::key_hash;
use crate::{Options, damaged, disk_error, index_error};

/// Something that the disk does not give back as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is damaged and what follows from it.
    pub what: String,
    /// The payload that cannot be read, if it is one.
    pub payload: Option<crate::PayloadId>,
}

/// Keys whose last change is lost. While there are any, nothing is written, and to read one of them is an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    keys: HashSet<u64>,
    /// Not even the keys are known.
    unknown: bool,
}

impl Lost {
    pub(crate) fn is_any(&self) -> bool {
        self.unknown || !self.keys.is_empty()
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
    }

    pub(crate) fn check(&self, key: &[u8]) -> Result<()> {
        if self.unknown || (!self.keys.is_empty() && self.keys.contains(&key_hash(key))) {
            return Err(damaged("the last change of this record is lost with a part of the log"));
        }
        Ok(())
    }

    /// Whether a listing without error may be taken as complete.
    pub(crate) fn check_listing(&self) -> Result<()> {
        if self.is_any() {
            return Err(damaged("records that should be listed here may be lost with a part of the log"));
        }
        Ok(())
    }
}

pub(crate) struct Recovered {
    pub index: Index,
    pub mark: Mark,
    pub tail: Tail,
    pub stats: Stats,
    pub damages: Vec<Damage>,
    pub lost: Lost,
    /// How many transactions the index on the disk does not know.
    pub replayed: u64,
}

pub(crate) fn recover(directory: &Path, segments: &Arc<Segments>, options: &Options) -> Result<Recovered> {
    let (mark, synced) = Mark::open(options.disk.as_ref(), directory)?;
    let mut replay = Replay { synced, ..Replay::default() };
    let index = match Index::open(directory, FILE, options).and_then(|index| Ok((index.checkpoint()?, index)))
    {
        Ok((checkpoint, index)) => {
            replay.checkpoint = checkpoint;
            index
        }
        Err(error) if is_gone(&error) => return Err(error),
        // It was being made when the process ended.
        Err(_) if synced == Synced::default() => {
            set_aside(directory, options)?;
            Index::open(directory, FILE, options)?
        }
        Err(error) => {
            let what = format!("the index was damaged and is made again from the log: {}", error.detail());
            replay.report(what);
            set_aside(directory, options)?;
            Index::open(directory, FILE, options)?
        }
    };
    finish(index, mark, replay, segments, options)
}

/// A disk that does not answer at all says nothing about the index.
fn is_gone(error: &Error) -> bool {
    error.name() == Some(crate::FULL)
}

/// Moves a damaged index out of the way; the last one only is kept.
pub(crate) fn set_aside(directory: &Path, options: &Options) -> Result<()> {
    let (path, aside) = (directory.join(FILE), directory.join("index.damaged"));
    let disk = &options.disk;
    disk.rename(&path, &aside)
        .and_then(|()| disk.sync_directory(directory))
        .map_err(|error| disk_error("move", &path, error))
}

pub(crate) fn finish(
    index: Index,
    mark: Mark,
    mut replay: Replay,
    segments: &Arc<Segments>,
    options: &Options,
) -> Result<Recovered> {
    let mut list = segments.list()?;
    let rebuild = replay.checkpoint.is_none();
    let mode = if rebuild { Mode::Rebuild } else { Mode::InOrder };
    if list.is_empty() {
        if replay.checkpoint.is_some() {
            return Err(damaged("the log is missing"));
        }
        let file = segments.create(1, options.segment_bytes, true)?;
        let head = SegmentHead { segment: 1, previous_end: 0, batch: 1 };
        log::begin(file.as_ref(), head).map_err(|error| disk_error("write", &segments.path(1), error))?;
        list = vec![1];
    }
    let known = replay.checkpoint.take().unwrap_or_default();
    replay.position = known.position;
    replay.stats = known.stats;
    replay.check_present(&list);
    replay.stats.retain(|segment, _| list.contains(segment));
    let start = replay.position.segment;
    if !rebuild && !list.contains(&start) {
        return Err(damaged("the segment of the log that the index ends in is missing"));
    }
    // Compacted, and removed: but that was not yet on the disk.
    for gone in list.iter().filter(|n| **n < start && !replay.stats.contains_key(n)) {
        segments.remove(*gone)?;
    }
    list.retain(|segment| *segment >= start);
    let last = replay.segments(&index, segments, &list, mode)?;
    if rebuild {
        let txn = index.begin()?;
        let lost = Tables::open(&txn, mode)?.sweep(&mut replay.stats)?;
        for id in lost {
            replay
                .damages
                .push(Damage { what: format!("payload {id} is not in the log"), payload: Some(id) });
        }
        index.commit(txn)?;
    }
    index.settle()?;
    for unused in list.into_iter().filter(|segment| *segment > last) {
        segments.remove(unused)?;
    }
    replay.stats.retain(|segment, _| *segment <= last);
    replay.stats.entry(last).or_default().end = replay.position.offset;
    if !replay.lost.is_any() {
        if replay.is_closed_here() {
            // From now on there may be something behind it.
            mark.set(Synced { closed: false, ..replay.synced })?;
        } else {
            blank_the_end(segments, last, replay.position.offset, replay.previous_end, options)?;
        }
        if rebuild {
            index.save(&Checkpoint { position: replay.position, stats: replay.stats.clone() })?;
            replay.frames = 0;
        }
    }
    for damage in &replay.damages {
        tracing::error!(directory = %segments.directory().display(), "the storage is damaged: {}", damage.what);
    }
    let tail = Tail::new(segments.clone(), replay.position, options)?;
    Ok(Recovered {
        index,
        mark,
        tail,
        stats: replay.stats,
        damages: replay.damages,
        lost: replay.lost,
        replayed: replay.frames,
    })
}

/// Wipes what a crash has left behind the end, so that no later one takes it for what was written then.
fn blank_the_end(
    segments: &Segments,
    segment: u64,
    end: u64,
    previous_end: u64,
    options: &Options,
) -> Result<()> {
    let file = segments.file(segment)?;
    let path = segments.path(segment);
    let mut walk = segments.walk(segment)?;
    if walk.size < START {
        // It was being made: not even its header has room. It stays while it grows, so that the log is never missing.
        let grown = file.allocate(options.segment_bytes).and_then(|()| file.sync());
        grown.map_err(|error| disk_error("make", &path, error))?;
        walk = segments.walk(segment)?;
    }
    let wipe = |file: &dyn DiskFile, to| log::zero(file, end, to).and_then(|()| file.sync());
    // What is found and was not synced, since the process was killed, is told to readers from now on.
    file.sync().map_err(|error| disk_error("sync", &path, error))?;
    if let Some(to) = walk.last_written(end) {
        wipe(file.as_ref(), to).map_err(|error| disk_error("wipe the end of", &path, error))?;
    }
    // The header of a segment that was begun goes to the disk with its first batch, and may be torn when that is whole.
    if walk.head().is_none() {
        let first = walk.next_head(START).map_or(1, |head| head.place.batch);
        let head = SegmentHead { segment, previous_end, batch: first };
        log::begin(file.as_ref(), head).map_err(|error| disk_error("write", &path, error))?;
    }
    Ok(())
}

/// What has been read of the log so far.
#[derive(Default)]
pub(crate) struct Replay {
    pub checkpoint: Option<Checkpoint>,
    pub synced: Synced,
    pub position: Position,
    pub stats: Stats,
    pub damages: Vec<Damage>,
    pub lost: Lost,
    pub frames: u64,
    /// Where the segment before the last one ends.
    pub previous_end: u64,
}

impl Replay {
    fn report(&mut self, what: String) {
        self.damages.push(Damage { what, payload: None });
    }

    /// Notes segments that something lives in and that are not there.
    fn check_present(&mut self, list: &[u64]) {
        let missing: Vec<u64> = self
            .stats
            .iter()
            .filter(|(n, stat)| stat.live > 0 && !list.contains(n))
            .map(|(n, _)| *n)
            .collect();
        for segment in missing {
            self.report(format!("segment {segment} of the log is missing"));
        }
    }

    /// Reads these segments, oldest first, and says in which one the log goes on.
    fn segments(&mut self, index: &Index, segments: &Arc<Segments>, list: &[u64], mode: Mode) -> Result<u64> {
        let mut last = list.first().copied().unwrap_or(1);
        for (n, segment) in list.iter().copied().enumerate() {
            let mut walk = segments.walk(segment)?;
            let known = self.position.segment == segment && self.position.offset >= START;
            let begun = segment <= self.synced.position.segment
                || walk.head().is_some()
                || (!walk.begins_blank() && walk.next_head(START).is_some());
            if !known && !begun && n > 0 {
                // Made ahead, or its first batch never got to the disk.
                continue;
            }
            last = segment;
            if !known {
                self.previous_end =
                    if self.position.segment + 1 == segment { self.position.offset } else { 0 };
                self.position = Position { segment, offset: START, ..self.position };
            }
            // How far this one was written, by what the next one says.
            let mut end = START;
            if self.synced.position.segment == segment {
                end = self.synced.position.offset;
            }
            if let Some(next) = list.get(n + 1)
                && let Some(head) = segments.walk(*next)?.head()
                && *next == segment + 1
            {
                end = end.max(head.previous_end);
            }
            self.segment(index, &mut walk, end, mode)?;
            self.stats.entry(segment).or_default().end = self.position.offset;
        }
        let written = self.synced.position.segment;
        if last < written {
            self.lost.unknown = true;
            self.report(format!("the log ends in segment {last}, and it was written up to {written}"));
        }
        self.position.segment = last;
        Ok(last)
    }

    /// Reads a segment to its end. It was written at least up to `end`.
    fn segment(&mut self, index: &Index, walk: &mut Walk, end: u64, mode: Mode) -> Result<()> {
        let txn = index.begin()?;
        {
            let mut tables = Tables::open(&txn, mode)?;
            loop {
                let offset = self.position.offset;
                if self.is_closed_here() {
                    break;
                }
                match walk.at(offset) {
                    Found::Frame(head, ops) => {
                        if !walk.payloads_are_sound(&head, &ops) {
                            if !was_synced(walk, offset, end) {
                                break;
                            }
                            self.report_payloads(walk, &head, &ops);
                        }
                        self.frame(&mut tables, &head, &ops, mode)?;
                    }
                    found => {
                        if !was_synced(walk, offset, end) {
                            break;
                        }
                        self.damage(walk, found, end);
                    }
                }
            }
        }
        index.commit(txn)
    }

    /// Whether the log was ended in order where it has been read to.
    fn is_closed_here(&self) -> bool {
        let Position { segment, offset, .. } = self.synced.position;
        self.synced.closed && (segment, offset) == (self.position.segment, self.position.offset)
    }

    fn frame(&mut self, tables: &mut Tables<'_>, head: &Head, ops: &[Op], mode: Mode) -> Result<()> {
        let segment = head.place.segment;
        let frame = Applied { ops, moved: head.moved, segment, payloads_at: head.payload_offset() };
        tables.apply(&frame, mode, &mut self.stats)?;
        self.position.offset = head.place.offset + head.frame_len();
        self.position.batch = self.position.batch.max(head.place.batch);
        self.position.seq = self.position.seq.max(head.seq);
        self.frames += 1;
        if !head.moved {
            // Whatever was lost of these keys before, this is what they are now.
            head.keys.iter().for_each(|key| {
                self.lost.keys.remove(key);
            });
        }
        Ok(())
    }

    fn report_payloads(&mut self, walk: &mut Walk, head: &Head, ops: &[Op]) {
        for op in ops {
            if let Op::Inline { id, .. } = op
                && walk.inline(head, op).is_none()
            {
                let what = format!("payload {id} in segment {} of the log", walk.segment);
                self.damages.push(Damage { what, payload: Some(*id) });
            }
        }
    }

    /// Something that was on the disk is unreadable: finds out whose it was, and where to go on.
    fn damage(&mut self, walk: &mut Walk, found: Found, end: u64) {
        let offset = self.position.offset;
        let resume = match &found {
            Found::Damaged(head) => offset + head.frame_len(),
            _ => walk.next_head(offset + 1).map_or(end.max(offset), |head| head.place.offset),
        };
        let keys = match found {
            Found::Damaged(head) => Some(head.keys),
            _ => later_batches(walk, offset)
                .find_map(|head| head.previous.filter(|p| p.start <= offset))
                .map(|p| p.keys),
        };
        let bytes = resume - offset;
        let segment = walk.segment;
        match keys {
            Some(keys) => {
                let count = keys.len();
                self.lost.keys.extend(keys);
                self.report(format!(
                    "segment {segment} of the log, {bytes} bytes at {offset}: the last changes of up to {count} records"
                ));
            }
            None => {
                self.lost.unknown = true;
                self.report(format!(
                    "segment {segment} of the log, {bytes} bytes at {offset}: the changes of unknown records"
                ));
            }
        }
        self.position.offset = resume;
    }
}

/// The headers of frames whose batch began behind this place.
fn later_batches(walk: &mut Walk, offset: u64) -> impl Iterator<Item = Head> {
    let mut from = offset + 1;
    std::iter::from_fn(move || {
        let head = walk.next_head(from)?;
        from = head.place.offset + head.frame_len();
        Some(head)
    })
    .filter(move |head| head.place.batch_start > offset)
}

/// Whether what stands here must have been on the disk: something of a later batch follows, in this segment or behind
/// it.
fn was_synced(walk: &mut Walk, offset: u64, end: u64) -> bool {
    offset < end || later_batches(walk, offset).next().is_some()
}

/// What the scrub has noted.
pub(crate) fn noted(snapshot: &Snapshot) -> Result<Vec<Damage>> {
    let mut all = Vec::new();
    for item in snapshot.damage.iter().map_err(index_error)? {
        let (key, what) = item.map_err(index_error)?;
        let payload = <[u8; 16]>::try_from(key.value()).ok().map(crate::PayloadId::from_bytes);
        all.push(Damage { what: String::from_utf8_lossy(what.value()).into_owned(), payload });
    }
    Ok(all)
}
