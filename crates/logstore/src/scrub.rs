//! The scrub: everything that can be read is read, slowly, and what is damaged is taken down before somebody needs it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::time::Duration;

use hanse_core::{Error, Result, Timestamp};

use crate::disk::Access;
use crate::extent::Extents;
use crate::index::{Home, Payload};
use crate::keeper::Keeper;
use crate::log::{Found, START, Segments};
use crate::payload::blocks;
use crate::reading::{self, BLOCKS_AT_ONCE};
use crate::store::Core;
use crate::wire::{Put as _, Reader};
use crate::{DAMAGED, PayloadId, index_error, lock};

/// When the last scrub ended: so that it comes as often as it should however often the process is started.
const FILE: &str = "scrubbed";

/// By payload, or by place in the log.
pub(crate) type Damages = BTreeMap<Vec<u8>, String>;

/// Reads a payload to its end. `pause` is told how much was read.
pub(crate) fn check_payload(
    segments: &Segments,
    extents: &Extents,
    id: PayloadId,
    payload: &Payload,
    mut pause: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    match payload.home {
        Home::Unknown => return Err(crate::damaged(format!("payload {id} is lost"))),
        Home::Inline { .. } => {
            reading::read_inline(segments.file(payload.segment)?.as_ref(), payload, id)?;
            pause(payload.len)?;
        }
        Home::Extent => {
            let extent = extents.open(id, payload.len)?;
            extent.check_table()?;
            for first in (0..blocks(payload.len)).step_by(BLOCKS_AT_ONCE as usize) {
                pause(extent.read(first, BLOCKS_AT_ONCE)?.len() as u64)?;
            }
        }
    }
    Ok(())
}

/// Checks that the frames of a segment can be read, up to its end.
pub(crate) fn check_segment(
    segments: &Segments,
    segment: u64,
    end: u64,
    mut pause: impl FnMut(u64) -> Result<()>,
) -> Result<Damages> {
    let mut damaged = Damages::new();
    let mut walk = segments.walk(segment)?;
    if walk.head().is_none() {
        damaged.insert(
            format!("{segment:016x}/head").into_bytes(),
            format!("the header of segment {segment} of the log"),
        );
    }
    let mut offset = START;
    while offset < end {
        let next = match walk.at(offset) {
            Found::Frame(head, _) => offset + head.frame_len(),
            found => {
                let next = match found {
                    Found::Damaged(head) => offset + head.frame_len(),
                    _ => walk.next_head(offset + 1).map_or(end, |head| head.place.offset),
                };
                let what = format!("segment {segment} of the log, {} bytes at {offset}", next - offset);
                damaged.insert(format!("{segment:016x}/{offset:016x}").into_bytes(), what);
                next
            }
        };
        pause(next - offset)?;
        offset = next;
    }
    Ok(damaged)
}

impl Core {
    /// When the last scrub ended; now, for a store that is new or whose note of it does not read.
    pub(crate) fn scrubbed_at(&self) -> Timestamp {
        let (path, now) = (self.directory.join(FILE), self.cx.now());
        let read = || {
            let mut bytes = [0; 12];
            self.options.disk.open(&path, Access::Read).ok()?.read_at(0, &mut bytes).ok()?;
            let mut reader = Reader(&bytes);
            let (at, sum) = (reader.u64().ok()?, reader.u32().ok()?);
            let is_whole = crc32c::crc32c(bytes.first_chunk::<8>()?) == sum;
            // A clock that was put back must not put off the scrub for as long.
            i64::try_from(at).ok().filter(|_| is_whole).map(|at| Timestamp(at).min(now))
        };
        read().unwrap_or_else(|| self.note_scrub(now))
    }

    /// Without that note the next start counts from its own time.
    pub(crate) fn note_scrub(&self, now: Timestamp) -> Timestamp {
        let path = self.directory.join(FILE);
        let mut bytes = Vec::new();
        bytes.put_u64(now.0.unsigned_abs());
        bytes.put_u32(crc32c::crc32c(&bytes));
        let disk = &self.options.disk;
        let open = || match disk.open(&path, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.open(&path, Access::Create),
            file => file,
        };
        if let Err(error) = open().and_then(|file| file.write_at(0, &bytes)) {
            tracing::warn!(path = %path.display(), %error, "cannot write down when the scrub ended");
        }
        now
    }
}

impl Keeper {
    /// Reads everything, at this many bytes a second if it is not zero. Gives how much is damaged.
    pub(crate) fn scrub(&mut self, rate: u64) -> Result<usize> {
        let mut damaged = Damages::new();
        let sealed: Vec<(u64, u64)> = {
            let begun = lock(&self.core.ahead).begun;
            lock(&self.core.stats).range(..begun).map(|(segment, stat)| (*segment, stat.end)).collect()
        };
        let core = self.core.clone();
        for (segment, end) in sealed {
            if lock(&core.stats).contains_key(&segment) {
                damaged
                    .extend(check_segment(&core.segments, segment, end, |bytes| self.slowly(rate, bytes))?);
            }
        }
        let mut last: Option<Vec<u8>> = None;
        // A view does not live long, so that what is deleted meanwhile can go.
        while let Some((key, id, payload)) = next_payload(core.index.snapshot()?.as_ref(), last.as_deref())? {
            last = Some(key);
            let checked = {
                let pin = crate::view::Pin::new(core.clone());
                let checked = check_payload(&core.segments, &core.extents, id, &payload, |bytes| {
                    self.slowly(rate, bytes)
                });
                drop(pin);
                checked
            };
            match checked {
                Err(error) if error.name() == Some(DAMAGED) => {
                    // It may have been deleted or moved while it was read.
                    let now = crate::index::Lookup::payload(core.index.snapshot()?.as_ref(), id)?;
                    if now.is_some_and(|now| now.home == payload.home && now.segment == payload.segment) {
                        tracing::error!(directory = %core.directory.display(), "{}", error.detail());
                        damaged.insert(id.as_bytes().to_vec(), error.detail());
                    }
                }
                other => other?,
            }
        }
        let count = damaged.len();
        core.note_damage(damaged)?;
        Ok(count)
    }

    fn slowly(&mut self, rate: u64, bytes: u64) -> Result<()> {
        let time =
            if rate == 0 { Duration::ZERO } else { Duration::from_secs_f64(bytes as f64 / rate as f64) };
        if self.pause(time) { Ok(()) } else { Err(Error::unavailable("The storage is being closed.")) }
    }
}

type Next = Option<(Vec<u8>, PayloadId, Payload)>;

fn next_payload(snapshot: &crate::index::Snapshot, last: Option<&[u8]>) -> Result<Next> {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut found = snapshot.payloads.range::<&[u8]>((from, Bound::Unbounded)).map_err(index_error)?;
    let Some(item) = found.next() else { return Ok(None) };
    let (key, value) = item.map_err(index_error)?;
    let id = <[u8; 16]>::try_from(key.value()).map_err(|_| crate::damaged("index: the name of a payload"))?;
    Ok(Some((key.value().to_vec(), PayloadId::from_bytes(id), Payload::decode(value.value())?)))
}
