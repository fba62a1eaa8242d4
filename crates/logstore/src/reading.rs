//! Payloads on their way out.

use std::ops::Range;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::OptionFuture;
use futures_util::stream::{self, BoxStream};
use hanse_core::{Context as _, Error, Result};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::buffers::{Buffer, LENGTH};
use crate::disk::DiskFile;
use crate::extent::Extent;
use crate::frame::is_sound;
use crate::index::{Home, Payload};
use crate::store::Core;
use crate::view::Pin;
use crate::{BLOCK, PayloadId, damaged};

/// How many blocks are read at once.
pub(crate) const BLOCKS_AT_ONCE: u64 = (LENGTH / BLOCK) as u64;

/// How many pieces are read before they are asked for. To hand over each by itself, from thread to thread and back, took a
/// third of the time of a read.
const AHEAD: usize = 4;

/// The bytes of a part of a payload, as a stream of pieces of at most 256 KiB, or of what was made of them. Each is checked
/// before it is given out; the stream ends with the first error. While one is used, the next are read.
pub struct Reading<T = Bytes>(BoxStream<'static, Result<T>>);

impl<T> Stream for Reading<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Reads one piece after the other, and works on it.
struct Reader<W> {
    core: Arc<Core>,
    id: PayloadId,
    payload: Payload,
    /// As long as the payload may be moved or removed meanwhile: not any more when its file is open.
    pin: Option<Arc<Pin>>,
    extent: Option<Extent>,
    rest: Range<u64>,
    work: W,
}

/// A piece that waits to be taken, with its share of the memory for what is read ahead.
type Waiting<T> = (Result<T>, Option<OwnedSemaphorePermit>);

/// A reader, and where its pieces go.
struct Run<T, W> {
    reader: Reader<W>,
    pieces: mpsc::Sender<Waiting<T>>,
}

impl<T: Send + 'static, W: FnMut(Buffer) -> Result<T> + Send + 'static> Run<T, W> {
    /// Comes back if there is more to read.
    fn start(mut self) -> JoinHandle<Option<Run<T, W>>> {
        tokio::task::spawn_blocking(move || self.read_on().then_some(self))
    }

    /// Reads until enough pieces wait, and tells whether there is more: nobody keeps a thread, or much memory, by taking them
    /// slowly.
    fn read_on(&mut self) -> bool {
        loop {
            let is_first = self.pieces.capacity() == AHEAD;
            let memory = self.reader.core.read_ahead.clone().try_acquire_many_owned(LENGTH as u32).ok();
            if memory.is_none() && !is_first {
                return true;
            }
            match self.pieces.try_reserve() {
                Err(TrySendError::Full(())) => return true,
                Err(TrySendError::Closed(())) => return false,
                Ok(place) => {
                    let piece = self.reader.next();
                    let is_last = piece.is_err() || self.reader.rest.is_empty();
                    place.send((piece, memory));
                    if is_last {
                        return false;
                    }
                }
            }
        }
    }
}

/// The pieces that were read ahead.
struct Ahead<T, W> {
    pieces: mpsc::Receiver<Waiting<T>>,
    running: Option<JoinHandle<Option<Run<T, W>>>>,
}

impl<T: Send + 'static, W: FnMut(Buffer) -> Result<T> + Send + 'static> Ahead<T, W> {
    fn new(reader: Reader<W>) -> Ahead<T, W> {
        let (sender, pieces) = mpsc::channel(AHEAD);
        Ahead { pieces, running: Some(Run { reader, pieces: sender }.start()) }
    }

    async fn next(&mut self) -> Option<Result<T>> {
        loop {
            let is_due = self.running.is_some() && self.pieces.len() <= AHEAD / 2;
            let run = tokio::select! {
                biased;
                run = OptionFuture::from(self.running.as_mut()), if is_due => run?,
                piece = self.pieces.recv() => match piece {
                    Some((piece, _)) => return Some(piece),
                    // The end, or a panic: a reader lets go of its sender before that is known.
                    None => self.running.take()?.await,
                },
            };
            match run.context("a disk operation did not end") {
                Ok(run) => self.running = run.map(Run::start),
                Err(error) => {
                    *self = Ahead { pieces: mpsc::channel(1).1, running: None };
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<W> Reader<W> {
    /// The next piece; takes as long as the disk does.
    fn next<T>(&mut self) -> Result<T>
    where
        W: FnMut(Buffer) -> Result<T>,
    {
        let buffer = match &self.payload.home {
            Home::Extent => self.next_of_extent()?,
            _ => {
                let file = self.core.segments.file(self.payload.segment)?;
                let whole = read_inline(file.as_ref(), &self.payload, self.id)?;
                self.part_of(whole)
            }
        };
        (self.work)(buffer)
    }

    /// The only piece, if it lies in the log and is sound in memory. Whatever else there is to say of it, [`Reader::next`] does.
    fn at_once<T>(&mut self) -> Option<Result<T>>
    where
        W: FnMut(Buffer) -> Result<T>,
    {
        let Home::Inline { offset, crcs } = &self.payload.home else { return None };
        let file = self.core.segments.opened(self.payload.segment)?;
        let mut whole = Buffer::of(self.payload.len as usize);
        let is_there =
            matches!(file.read_now(*offset, &mut whole), Ok(true)) && is_sound(self.id, &whole, crcs);
        let buffer = if is_there { self.part_of(whole) } else { return None };
        Some((self.work)(buffer))
    }

    /// What is wanted of a payload that was read whole.
    fn part_of(&mut self, mut whole: Buffer) -> Buffer {
        whole.narrow(self.rest.start as usize..self.rest.end as usize);
        self.rest.start = self.rest.end;
        whole
    }

    fn next_of_extent(&mut self) -> Result<Buffer> {
        let extent = match &self.extent {
            Some(extent) => extent,
            None => {
                let opened = self.core.extents.open(self.id, self.payload.len)?;
                self.pin = None;
                self.extent.insert(opened)
            }
        };
        let first = self.rest.start / BLOCK as u64;
        let end = self.rest.end.min((first + BLOCKS_AT_ONCE) * BLOCK as u64);
        let mut buffer = extent.read(first, end.div_ceil(BLOCK as u64) - first)?;
        let start = first * BLOCK as u64;
        buffer.narrow((self.rest.start - start) as usize..(end - start) as usize);
        self.rest.start = end;
        Ok(buffer)
    }
}

impl<T: Send + 'static> Reading<T> {
    /// `work` is done on a thread that may take its time, on one piece after the other.
    pub(crate) fn new(
        core: Arc<Core>,
        found: Result<Option<Payload>>,
        id: PayloadId,
        range: Range<u64>,
        pin: Option<Arc<Pin>>,
        work: impl FnMut(Buffer) -> Result<T> + Send + 'static,
    ) -> Reading<T> {
        let payload = match check(found, id, &range) {
            Ok(payload) => payload,
            Err(error) => return Reading(Box::pin(stream::once(async { Err(error) }))),
        };
        if range.is_empty() {
            return Reading(Box::pin(stream::empty()));
        }
        let mut reader = Reader { core, id, payload, pin, extent: None, rest: range, work };
        if let Some(piece) = reader.at_once() {
            return Reading(Box::pin(stream::once(async { piece })));
        }
        Reading(Box::pin(stream::unfold(Ahead::new(reader), |mut ahead| async {
            Some((ahead.next().await?, ahead))
        })))
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

/// The sound bytes of a payload in the log.
pub(crate) fn read_inline(file: &dyn DiskFile, payload: &Payload, id: PayloadId) -> Result<Buffer> {
    let Home::Inline { offset, crcs } = &payload.home else {
        return Err(Error::internal(format!("payload {id} is not in the log")));
    };
    let mut bytes = Buffer::of(payload.len as usize);
    file.read_at(*offset, &mut bytes)
        .map_err(|error| damaged(format!("payload {id} cannot be read: {error}")))?;
    if !is_sound(id, &bytes, crcs) {
        return Err(damaged(format!("payload {id}")));
    }
    Ok(bytes)
}
