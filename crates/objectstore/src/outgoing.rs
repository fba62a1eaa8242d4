//! Bytes on their way out: read, checked by the log store, decrypted.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use hanse_core::{Error, Result};
use hanse_logstore::{Buffer, PayloadId, Reading, View};
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};

use crate::crypt::{DataKey, FRAME, SEALED, WrappingKey, sealed_len};
use crate::record::Piece;

/// What is read in one go, so that it leaves together with the head of the answer.
const SMALL: u64 = 128 << 10;

/// A piece with the payload that has its bytes, and which of them are wanted.
struct Wanted {
    key: DataKey,
    size: u64,
    payload: PayloadId,
    range: Range<u64>,
}

/// Decrypts ranges of pieces, one after the other.
pub struct Opener {
    view: View,
    wanted: std::vec::IntoIter<Wanted>,
    now: Option<Reading<Vec<Bytes>>>,
    /// What was decrypted and not asked for yet.
    frames: VecDeque<Bytes>,
}

impl Opener {
    /// # Errors
    /// Internal if a key does not unwrap, or pieces and payloads do not fit together.
    pub fn new(
        view: View,
        project: &WrappingKey,
        pieces: &[Piece],
        payloads: &[PayloadId],
        range: Range<u64>,
    ) -> Result<Opener> {
        let mut payloads = payloads.iter();
        let (mut start, mut wanted) = (0, Vec::new());
        for piece in pieces.iter().filter(|piece| piece.size > 0) {
            let payload = *payloads.next().ok_or_else(mismatch)?;
            let end = start + piece.size;
            let here = range.start.max(start)..range.end.min(end);
            if here.start < here.end {
                let range = here.start - start..here.end - start;
                wanted.push(Wanted { key: project.unwrap(&piece.key)?, size: piece.size, payload, range });
            }
            start = end;
        }
        if payloads.next().is_some() {
            return Err(mismatch());
        }
        Ok(Opener { view, wanted: wanted.into_iter(), now: None, frames: VecDeque::new() })
    }

    /// The next bytes, at most as many as are read at once.
    ///
    /// # Errors
    /// Internal, named `StorageDamaged`, if they are not what was written.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.frames.pop_front() {
                return Ok(Some(bytes));
            }
            if let Some(now) = &mut self.now
                && let Some(frames) = now.next().await
            {
                self.frames = frames?.into();
                continue;
            }
            let Some(wanted) = self.wanted.next() else { return Ok(None) };
            self.now = Some(wanted.read(&self.view));
        }
    }

    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(
            self,
            |mut opener| async move { Ok(opener.next().await?.map(|bytes| (bytes, opener))) },
        )
        .boxed()
    }
}

fn mismatch() -> Error {
    Error::internal("an object has other pieces than payloads")
}

impl Wanted {
    /// The frames of the range, decrypted where they are read.
    fn read(self, view: &View) -> Reading<Vec<Bytes>> {
        let Wanted { key, size, payload, range } = self;
        let frame = FRAME as u64;
        let first = range.start / frame;
        let end = (range.end.div_ceil(frame) * SEALED).min(sealed_len(size));
        let mut frames = Frames {
            key,
            size,
            number: first,
            begun: Vec::new(),
            skip: (range.start % frame) as usize,
            left: range.end - range.start,
        };
        view.read_with(payload, first * SEALED..end, move |bytes| frames.open(bytes))
    }
}

/// Decrypts frames, one after the other, from bytes that do not begin and end where they do.
struct Frames {
    key: DataKey,
    /// Of the piece: plaintext bytes.
    size: u64,
    /// The frame that comes next.
    number: u64,
    /// What has come of it.
    begun: Vec<u8>,
    /// What of it comes before the range, and what of the range is left.
    skip: usize,
    left: u64,
}

impl Frames {
    fn open(&mut self, mut bytes: Buffer) -> Result<Vec<Bytes>> {
        // One frame that began before, and the others as one.
        let mut opened = Vec::with_capacity(2);
        let mut at = 0;
        if !self.begun.is_empty() {
            at = (self.sealed() - self.begun.len()).min(bytes.len());
            self.begun.extend_from_slice(bytes.get(..at).unwrap_or_default());
            if self.begun.len() == self.sealed() {
                let mut whole = std::mem::take(&mut self.begun);
                let plain = self.next(&mut whole, 0)?;
                opened.push(Bytes::from(whole).slice(plain));
            }
        }
        // The others are decrypted where they lie, each up to the one before: what leaves in one go wakes the client once.
        let mut plain: Option<Range<usize>> = None;
        loop {
            let (to, end) = (plain.as_ref().map_or(at, |plain| plain.end), at + self.sealed());
            let Some(frame) = bytes.get_mut(to..end).filter(|_| at < end) else { break };
            let wanted = self.next(frame, at - to)?;
            plain = Some(plain.map_or(to + wanted.start, |plain| plain.start)..to + wanted.end);
            at = end;
        }
        if let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            self.begun.reserve_exact(self.sealed());
            self.begun.extend_from_slice(rest);
        }
        opened.extend(plain.map(|plain| Bytes::from(bytes).slice(plain)));
        Ok(opened)
    }

    /// How long the next frame is, with what it takes more than its plaintext; nothing behind the last one.
    fn sealed(&self) -> usize {
        (sealed_len(self.size) - (self.number * SEALED).min(sealed_len(self.size))).min(SEALED) as usize
    }

    /// Decrypts the next frame, which begins at `from` of these bytes, to their beginning, and tells which are wanted.
    fn next(&mut self, bytes: &mut [u8], from: usize) -> Result<Range<usize>> {
        let is_last = self.number + 1 == self.size.div_ceil(FRAME as u64);
        let length = self.key.open(self.number, is_last, bytes, from)?.len();
        let start = self.skip.min(length);
        let end = length.min(start.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX)));
        self.number += 1;
        self.skip = 0;
        self.left -= (end - start) as u64;
        Ok(start..end)
    }
}

/// The body of an answer. What is small is there already; what is large comes as it is read.
///
/// # Errors
/// Internal if the first bytes cannot be read: an answer that has begun can only be broken off.
pub async fn body(mut opener: Opener, length: u64) -> Result<StreamingBlob> {
    let first = opener.next().await?.unwrap_or_default();
    if length > SMALL {
        let rest = stream::once(async { Ok(first) }).chain(opener.into_stream()).boxed();
        return Ok(StreamingBlob::new(Outgoing { stream: Mutex::new(rest), left: length }));
    }
    let whole = match opener.next().await? {
        None => first,
        Some(second) => {
            let mut all = BytesMut::from(&first[..]);
            all.extend_from_slice(&second);
            while let Some(more) = opener.next().await? {
                all.extend_from_slice(&more);
            }
            all.freeze()
        }
    };
    Ok(StreamingBlob::from(s3s::Body::from(whole)))
}

/// A stream whose length is known. The lock is never waited for: it only makes the stream `Sync`.
struct Outgoing {
    stream: Mutex<BoxStream<'static, Result<Bytes>>>,
    left: u64,
}

impl Stream for Outgoing {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let stream = this.stream.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = std::task::ready!(stream.poll_next_unpin(cx));
        Poll::Ready(next.map(|item| match item {
            Ok(bytes) => {
                this.left = this.left.saturating_sub(bytes.len() as u64);
                Ok(bytes)
            }
            Err(error) => {
                tracing::error!(error = %error.detail(), "an answer was broken off");
                Err(StdError::from("the object cannot be read on"))
            }
        }))
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        usize::try_from(self.left).map_or_else(|_| RemainingLength::unknown(), RemainingLength::new_exact)
    }
}
