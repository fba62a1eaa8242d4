//! The segments of the log: their files, appending to the newest, and walking through what was written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hanse_core::Result;

use crate::disk::{Access, Disk, DiskFile};
use crate::frame::{ALIGN, HEAD, Head, Op, Place, Previous, Transaction, is_sound};
use crate::wire::{Put, Reader};
use crate::{Options, disk_error, lock};

/// The header of a segment takes a page; frames begin behind it.
pub(crate) const START: u64 = 4096;
const MAGIC: &[u8; 8] = b"HANSELOG";
const VERSION: u32 = 1;
/// How much is read ahead.
const WINDOW: usize = 1 << 20;
/// A blank page.
static PAGE: [u8; 4096] = [0; 4096];

/// The files of the log, opened once.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    open: Mutex<BTreeMap<u64, Arc<dyn DiskFile>>>,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path) -> Segments {
        Segments { disk, directory: root.join("log"), open: Mutex::default() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.directory.join(format!("{segment:016x}.segment"))
    }

    /// All segments there are, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<u64>> {
        let names =
            self.disk.list(&self.directory).map_err(|error| disk_error("list", &self.directory, error))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn file(&self, segment: u64) -> Result<Arc<dyn DiskFile>> {
        let mut open = lock(&self.open);
        if let Some(file) = open.get(&segment) {
            return Ok(file.clone());
        }
        let path = self.path(segment);
        let file = self.disk.open(&path, Access::Write).map_err(|error| disk_error("open", &path, error))?;
        open.insert(segment, file.clone());
        Ok(file)
    }

    /// The file of a segment, if it is open already.
    pub(crate) fn opened(&self, segment: u64) -> Option<Arc<dyn DiskFile>> {
        lock(&self.open).get(&segment).cloned()
    }

    /// Makes a segment, with all its blocks written if `filled` (a sync is faster when it has no blocks to allot), and
    /// the beginning of it in any case.
    pub(crate) fn create(&self, segment: u64, bytes: u64, filled: bool) -> Result<Arc<dyn DiskFile>> {
        let path = self.path(segment);
        let make = || -> io::Result<Arc<dyn DiskFile>> {
            // One that was being made when the process ended was never written to.
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = self.disk.open(&path, Access::Create)?;
            let made = file.allocate(bytes).and_then(|()| {
                let filled = if filled { bytes } else { bytes.min(4 << 20) };
                zero(file.as_ref(), 0, filled)?;
                file.sync()?;
                self.disk.sync_directory(&self.directory)
            });
            if let Err(error) = made {
                let _ = self.disk.remove(&path);
                return Err(error);
            }
            Ok(file)
        };
        let file = make().map_err(|error| disk_error("make", &path, error))?;
        lock(&self.open).insert(segment, file.clone());
        Ok(file)
    }

    pub(crate) fn remove(&self, segment: u64) -> Result<()> {
        lock(&self.open).remove(&segment);
        let path = self.path(segment);
        match self.disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                // What it was needed for must not come back with it.
                .and_then(|()| self.disk.sync_directory(&self.directory))
                .map_err(|error| disk_error("remove", &path, error)),
        }
    }

    pub(crate) fn walk(&self, segment: u64) -> Result<Walk> {
        let file = self.file(segment)?;
        let size = file.size().map_err(|error| disk_error("read", &self.path(segment), error))?;
        Ok(Walk { segment, file, size, window: Vec::new(), start: 0 })
    }
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

pub(crate) fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; WINDOW];
    let mut offset = from;
    while offset < to {
        let len = (to - offset).min(WINDOW as u64);
        file.write_at(offset, &zeros[..len as usize])?;
        offset += len;
    }
    Ok(())
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub segment: u64,
    /// Where the one before ends; zero if there is none.
    pub previous_end: u64,
    /// The number of its first batch.
    pub batch: u64,
}

impl SegmentHead {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put(MAGIC);
        bytes.put_u32(VERSION);
        for field in [self.segment, self.previous_end, self.batch] {
            bytes.put_u64(field);
        }
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    fn parse(bytes: &[u8], segment: u64) -> Option<SegmentHead> {
        let mut reader = Reader(bytes);
        let _magic = reader.take(12).ok()?;
        let mut field = || reader.u64().ok();
        let head = SegmentHead { segment: field()?, previous_end: field()?, batch: field()? };
        (head.segment == segment && bytes.starts_with(&head.encode())).then_some(head)
    }
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub(crate) enum Found {
    Frame(Head, Vec<Op>),
    /// The header is sound, the operations are not.
    Damaged(Head),
    /// No frame of this place.
    Nothing,
}

/// Reads a segment from front to back, with a window of bounded size.
#[derive(Debug)]
pub(crate) struct Walk {
    pub segment: u64,
    file: Arc<dyn DiskFile>,
    pub size: u64,
    window: Vec<u8>,
    start: u64,
}

impl Walk {
    /// The bytes, or nothing if they are behind the end. What cannot be read at all comes as bytes that no checksum
    /// fits.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.size)?;
        if offset < self.start || end > self.start + self.window.len() as u64 {
            let ahead = (self.size - offset).min(WINDOW.max(len) as u64) as usize;
            self.window.resize(ahead, 0);
            self.start = offset;
            if self.file.read_at(offset, &mut self.window).is_err() {
                for (n, piece) in self.window.chunks_mut(4096).enumerate() {
                    if self.file.read_at(offset + 4096 * n as u64, piece).is_err() {
                        piece.fill(0xa5);
                    }
                }
            }
        }
        let from = (offset - self.start) as usize;
        self.window.get(from..from + len)
    }

    pub(crate) fn head(&mut self) -> Option<SegmentHead> {
        let segment = self.segment;
        SegmentHead::parse(self.bytes(0, 64)?, segment)
    }

    fn frame_head(&mut self, offset: u64) -> Option<Head> {
        let segment = self.segment;
        let len = Head::claimed_len(self.bytes(offset, HEAD)?)?;
        let head = Head::parse(self.bytes(offset, len)?, segment, offset)?;
        (offset + head.frame_len() <= self.size).then_some(head)
    }

    pub(crate) fn at(&mut self, offset: u64) -> Found {
        let Some(head) = self.frame_head(offset) else { return Found::Nothing };
        match self.bytes(head.ops_offset(), head.ops_len as usize).and_then(|bytes| head.parse_ops(bytes)) {
            Some(ops) => Found::Frame(head, ops),
            None => Found::Damaged(head),
        }
    }

    /// The next place from `offset` on where a sound frame header stands.
    pub(crate) fn next_head(&mut self, offset: u64) -> Option<Head> {
        let mut offset = offset.next_multiple_of(ALIGN);
        while offset + HEAD as u64 <= self.size {
            // Most of what is searched is the blank end of a segment.
            let page = PAGE.len().min((self.size - offset) as usize);
            if self.bytes(offset, page)? == &PAGE[..page] {
                offset += (page as u64 / ALIGN) * ALIGN;
                continue;
            }
            for place in (offset..offset + page as u64).step_by(ALIGN as usize) {
                if let Some(head) = self.frame_head(place) {
                    return Some(head);
                }
            }
            offset += (page as u64).next_multiple_of(ALIGN);
        }
        None
    }

    /// The bytes of an inline payload of a frame, if they are sound.
    pub(crate) fn inline(&mut self, head: &Head, op: &Op) -> Option<&[u8]> {
        let Op::Inline { id, offset, len, crcs } = op else { return None };
        let bytes = self.bytes(head.payload_offset() + u64::from(*offset), *len as usize)?;
        is_sound(*id, bytes, crcs).then_some(bytes)
    }

    /// Whether all payloads in the frame are sound.
    pub(crate) fn payloads_are_sound(&mut self, head: &Head, ops: &[Op]) -> bool {
        ops.iter().all(|op| !matches!(op, Op::Inline { .. }) || self.inline(head, op).is_some())
    }

    /// Whether it looks as if nothing was ever written to this segment.
    pub(crate) fn begins_blank(&mut self) -> bool {
        (0..16).all(|n| self.bytes(n * PAGE.len() as u64, PAGE.len()).is_none_or(|page| page == PAGE))
    }

    /// Where the last page ends that holds anything but zeros, from here on.
    pub(crate) fn last_written(&mut self, from: u64) -> Option<u64> {
        let mut last = None;
        let mut offset = from;
        while offset < self.size {
            let len = PAGE.len().min((self.size - offset) as usize);
            if self.bytes(offset, len)? != &PAGE[..len] {
                last = Some(offset + len as u64);
            }
            offset += len as u64;
        }
        last
    }
}

/// Where the log goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub segment: u64,
    pub offset: u64,
    /// Of the last batch.
    pub batch: u64,
    /// Of the last transaction.
    pub seq: u64,
}

/// The end of the log, which one thread appends to.
#[derive(Debug)]
pub(crate) struct Tail {
    segments: Arc<Segments>,
    file: Arc<dyn DiskFile>,
    pub position: Position,
    segment_bytes: u64,
    /// The keys of the last batch, if they are known.
    previous: Option<Previous>,
    /// The batch that is being put together.
    buffer: Vec<u8>,
    keys: Vec<u64>,
    /// The header of a segment that this batch is the first of.
    head: Option<SegmentHead>,
}

impl Tail {
    pub(crate) fn new(segments: Arc<Segments>, position: Position, options: &Options) -> Result<Tail> {
        let file = segments.file(position.segment)?;
        let path = segments.path(position.segment);
        let size = file.size().map_err(|error| disk_error("read", &path, error))?;
        Ok(Tail {
            file,
            position,
            segment_bytes: size.max(START).min(options.segment_bytes.max(START)),
            previous: None,
            buffer: Vec::new(),
            keys: Vec::new(),
            head: None,
            segments,
        })
    }

    /// The largest frame that fits into a segment of this size.
    pub(crate) fn frame_limit(segment_bytes: u64) -> u64 {
        segment_bytes.saturating_sub(START).min(u64::from(u32::MAX / 2))
    }

    pub(crate) fn fits(&self, transaction: &Transaction) -> bool {
        let previous = self.previous.as_ref().map_or(0, |previous| previous.keys.len());
        self.position.offset + self.buffer.len() as u64 + transaction.size_limit(previous)
            <= self.segment_bytes
    }

    /// Adds a frame to the batch, and says where its payload area will be. It [`Tail::fits`].
    pub(crate) fn push(&mut self, transaction: &Transaction) -> u64 {
        let first = self.buffer.is_empty();
        let place = Place {
            segment: self.position.segment,
            offset: self.position.offset + self.buffer.len() as u64,
            batch: self.position.batch + 1,
            batch_start: self.position.offset,
        };
        let previous = if first { self.previous.take() } else { None };
        self.keys.extend(transaction.keys());
        transaction.encode(place, previous.as_ref(), &mut self.buffer)
    }

    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the batch and waits until it is on the disk.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(head) = self.head.take() {
            self.file.write_at(0, &head.encode())?;
        }
        let (start, len) = (self.position.offset, self.buffer.len());
        let end = start + len as u64;
        // Behind it are zeros. With them the last page is written whole: the rest of it would have to be read from the disk
        // first, if that page has left the cache since the segment was made.
        let page_end = end.next_multiple_of(PAGE.len() as u64).min(self.segment_bytes);
        self.buffer.extend_from_slice(&PAGE[..page_end.saturating_sub(end) as usize]);
        let written = self.file.write_at(start, &self.buffer).and_then(|()| self.file.sync());
        self.buffer.truncate(len);
        written?;
        self.position.offset = end;
        self.position.batch += 1;
        self.previous = Some(Previous { start, keys: std::mem::take(&mut self.keys) });
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Goes on in the next segment. Between batches only.
    pub(crate) fn roll(&mut self, number: u64, file: Arc<dyn DiskFile>, bytes: u64) {
        let previous_end = self.position.offset;
        self.head = Some(SegmentHead { segment: number, previous_end, batch: self.position.batch + 1 });
        self.position = Position { segment: number, offset: START, ..self.position };
        self.file = file;
        self.segment_bytes = bytes;
    }

    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }
}

/// Writes the header of a segment.
pub(crate) fn begin(file: &dyn DiskFile, head: SegmentHead) -> io::Result<()> {
    file.write_at(0, &head.encode())?;
    file.sync()
}
