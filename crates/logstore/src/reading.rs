//! Payloads on their way out.

use std::ops::Range;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use hanse_core::{Context as _, Error, Result};
use tokio::task::JoinHandle;

use crate::disk::DiskFile;
use crate::extent::Extent;
use crate::frame::is_sound;
use crate::index::{Home, Payload};
use crate::staging::blocking;
use crate::store::Core;
use crate::view::Pin;
use crate::{BLOCK, PayloadId, damaged};

/// How many blocks are read at once.
const BLOCKS_AT_ONCE: u64 = 4;

/// The bytes of a part of a payload, as a stream of pieces of at most 256 KiB. Each is checked before it is given out;
/// the stream ends with the first error.
pub struct Reading(BoxStream<'static, Result<Bytes>>);

impl Stream for Reading {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

enum State {
    Closed(Arc<Core>, Payload, Option<Arc<Pin>>),
    Open(Arc<Extent>, JoinHandle<Result<Vec<u8>>>),
    Done,
}

/// The blocks that are read in one go from a place on, and where they end.
fn next_blocks(rest: &Range<u64>) -> (u64, u64, u64) {
    let first = rest.start / BLOCK as u64;
    let end = rest.end.min((first + BLOCKS_AT_ONCE) * BLOCK as u64);
    (first, end.div_ceil(BLOCK as u64) - first, end)
}

/// Begins to read the next blocks.
fn begin(extent: &Arc<Extent>, rest: &Range<u64>) -> JoinHandle<Result<Vec<u8>>> {
    let (first, count, _) = next_blocks(rest);
    let extent = extent.clone();
    tokio::task::spawn_blocking(move || extent.read(first, count))
}

impl Reading {
    pub(crate) fn new(
        core: Arc<Core>,
        found: Result<Option<Payload>>,
        id: PayloadId,
        range: Range<u64>,
        pin: Option<Arc<Pin>>,
    ) -> Reading {
        let payload = match check(found, id, &range) {
            Ok(payload) => payload,
            Err(error) => return Reading(Box::pin(stream::once(async { Err(error) }))),
        };
        if range.is_empty() {
            return Reading(Box::pin(stream::empty()));
        }
        let start = (State::Closed(core, payload, pin), range);
        Reading(Box::pin(stream::unfold(start, move |(state, rest)| async move {
            let (state, rest, item) = step(id, state, rest).await?;
            Some((item, (state, rest)))
        })))
    }
}

/// The next piece, and what remains.
async fn step(id: PayloadId, state: State, rest: Range<u64>) -> Option<(State, Range<u64>, Result<Bytes>)> {
    if rest.is_empty() {
        return None;
    }
    let (extent, reading) = match state {
        State::Done => return None,
        State::Open(extent, reading) => (extent, reading),
        State::Closed(core, payload, pin) if payload.home == Home::Extent => {
            let opened = blocking(move || {
                // An open file needs no pin.
                let _pin = pin;
                core.extents.open(id, payload.len)
            });
            match opened.await {
                Ok(extent) => {
                    let extent = Arc::new(extent);
                    let reading = begin(&extent, &rest);
                    (extent, reading)
                }
                Err(error) => return Some((State::Done, rest, Err(error))),
            }
        }
        State::Closed(core, payload, pin) => {
            let piece = inline(core, payload, id, pin).await;
            let piece = piece.map(|bytes| bytes.slice(rest.start as usize..rest.end as usize));
            return Some((State::Done, rest, piece));
        }
    };
    let (first, _, end) = next_blocks(&rest);
    let read = reading.await.context("a disk operation did not end").and_then(|read| read);
    match read {
        Ok(bytes) => {
            let skip = (rest.start - first * BLOCK as u64) as usize;
            let len = (end - rest.start) as usize;
            let piece = Bytes::from(bytes).slice(skip..skip + len);
            let rest = end..rest.end;
            // While this is sent, the next is read.
            let state = if rest.is_empty() {
                State::Done
            } else {
                State::Open(extent.clone(), begin(&extent, &rest))
            };
            Some((state, rest, Ok(piece)))
        }
        Err(error) => Some((State::Done, rest, Err(error))),
    }
}

pub(crate) fn no_payload(id: PayloadId) -> Error {
    Error::not_found("Payload", id)
}

fn check(found: Result<Option<Payload>>, id: PayloadId, range: &Range<u64>) -> Result<Payload> {
    let payload = found?.ok_or_else(|| no_payload(id))?;
    if payload.home == Home::Unknown {
        return Err(damaged(format!("payload {id} is lost")));
    }
    if range.end > payload.len {
        return Err(Error::bad_request(format!("payload {id} ends before byte {}", range.end)));
    }
    Ok(payload)
}

async fn inline(core: Arc<Core>, payload: Payload, id: PayloadId, pin: Option<Arc<Pin>>) -> Result<Bytes> {
    let file = core.segments.file(payload.segment);
    blocking(move || {
        let _pin = pin;
        read_inline(file?.as_ref(), &payload, id).map(Bytes::from)
    })
    .await
}

/// The sound bytes of a payload in the log.
pub(crate) fn read_inline(file: &dyn DiskFile, payload: &Payload, id: PayloadId) -> Result<Vec<u8>> {
    let Home::Inline { offset, crcs } = &payload.home else {
        return Err(Error::internal(format!("payload {id} is not in the log")));
    };
    let mut bytes = vec![0; payload.len as usize];
    file.read_at(*offset, &mut bytes)
        .map_err(|error| damaged(format!("payload {id} cannot be read: {error}")))?;
    if !is_sound(id, &bytes, crcs) {
        return Err(damaged(format!("payload {id}")));
    }
    Ok(bytes)
}

/// What is larger than this is not read in one go.
const SMALL: u64 = 1 << 20;

pub(crate) async fn small(
    core: Arc<Core>,
    found: Result<Option<Payload>>,
    id: PayloadId,
    pin: Option<Arc<Pin>>,
) -> Result<Bytes> {
    let payload = check(found, id, &(0..0))?;
    if payload.len > SMALL {
        return Err(Error::too_large(format!(
            "payload {id} has {} bytes, too many to read at once",
            payload.len
        )));
    }
    match payload.home {
        Home::Extent if payload.len == 0 => Ok(Bytes::new()),
        Home::Extent => {
            blocking(move || {
                let _pin = pin;
                core.extents
                    .open(id, payload.len)?
                    .read(0, payload.len.div_ceil(BLOCK as u64))
                    .map(Bytes::from)
            })
            .await
        }
        _ => inline(core, payload, id, pin).await,
    }
}
