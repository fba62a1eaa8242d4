//! Bytes on their way out: read, checked by the log store, decrypted.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use hanse_core::{Error, Result};
use hanse_logstore::{PayloadId, Reading, View};
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
    now: Option<Piecemeal>,
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
        Ok(Opener { view, wanted: wanted.into_iter(), now: None })
    }

    /// The next bytes, at most a frame of them.
    ///
    /// # Errors
    /// Internal, named `StorageDamaged`, if they are not what was written.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(now) = &mut self.now
                && let Some(bytes) = now.next().await?
            {
                return Ok(Some(bytes));
            }
            let Some(wanted) = self.wanted.next() else { return Ok(None) };
            self.now = Some(Piecemeal::new(&self.view, wanted));
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

/// The frames of a range of one piece.
struct Piecemeal {
    source: Reading,
    /// What was read and not decrypted yet, and what comes behind it.
    buffer: BytesMut,
    rest: BytesMut,
    key: DataKey,
    size: u64,
    /// The frame that comes next, and those of the whole piece.
    frame: u64,
    frames: u64,
    /// What of the next frame comes before the range, and what of the range is left.
    skip: usize,
    left: u64,
}

impl Piecemeal {
    fn new(view: &View, wanted: Wanted) -> Piecemeal {
        let Wanted { key, size, payload, range } = wanted;
        let frame = FRAME as u64;
        let first = range.start / frame;
        let end = (range.end.div_ceil(frame) * SEALED).min(sealed_len(size));
        Piecemeal {
            source: view.read(payload, first * SEALED..end),
            buffer: BytesMut::new(),
            rest: BytesMut::new(),
            key,
            size,
            frame: first,
            frames: size.div_ceil(frame),
            skip: (range.start % frame) as usize,
            left: range.end - range.start,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let is_last = self.frame + 1 == self.frames;
        let whole = if is_last { sealed_len(self.size) - self.frame * SEALED } else { SEALED } as usize;
        while self.buffer.len() < whole {
            let Some(bytes) = self.source.next().await else {
                return Err(Error::internal("a payload is shorter than its piece"));
            };
            // Decrypted where it was read, unless a frame is spread over two reads.
            let mut bytes = bytes?.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            if self.buffer.is_empty() {
                self.buffer = bytes;
                continue;
            }
            let missing = (whole - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes.split_to(missing));
            if self.buffer.len() == whole {
                self.rest = bytes;
            }
        }
        let mut sealed = self.buffer.split_to(whole);
        if self.buffer.is_empty() {
            self.buffer = std::mem::take(&mut self.rest);
        }
        let plain = self.key.open(self.frame, is_last, &mut sealed)?.len();
        sealed.truncate(plain);
        let bytes = sealed.freeze().slice(self.skip..);
        let take = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.frame += 1;
        self.skip = 0;
        self.left -= take as u64;
        Ok(Some(bytes.slice(..take)))
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
