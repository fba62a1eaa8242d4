//! Bytes on their way in: counted, hashed, encrypted and staged. Nothing of it counts before a transaction takes it.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hanse_core::{Cx, Error, hex};
use hanse_logstore::{Kept, Seal, Staged, Staging, Store};
use http::StatusCode;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders};

use crate::crypt::{DataKey, FRAME, TAG, WrappingKey};
use crate::fault;
use crate::hashing::{Hasher, Hashing, Sums};
use crate::record::{Checksum, Piece};
use crate::sums::{Claimed, Sum};

/// The largest object that comes in one request, and the largest part. Source: S3 User Guide, "Amazon S3 multipart
/// upload limits".
pub const PUT_MAX: u64 = 5 << 30;

/// Pieces of a body with fewer bytes are put together.
const SMALL: usize = 2 << 10;

/// What has come in.
pub struct Taken {
    pub piece: Piece,
    /// `None` if there are no bytes.
    pub staged: Option<Staged>,
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
}

impl Taken {
    pub fn etag(&self) -> String {
        hex(self.md5)
    }
}

/// Encrypts a payload frame by frame, where it is written.
struct Frames {
    key: DataKey,
    frame: Vec<u8>,
    number: u64,
}

impl Frames {
    fn give(&mut self, is_last: bool, kept: &mut Kept) -> hanse_core::Result<()> {
        self.key.seal(self.number, is_last, &mut self.frame)?;
        self.number += 1;
        kept.add(&mut self.frame)
    }
}

impl Seal for Frames {
    fn push(&mut self, mut bytes: &[u8], kept: &mut Kept) -> hanse_core::Result<()> {
        while !bytes.is_empty() {
            // Which frame is the last one shows only when there are no more bytes.
            if self.frame.len() == FRAME {
                self.give(false, kept)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.frame.len()));
            if self.frame.capacity() == 0 {
                self.frame.reserve_exact(now.len() + TAG);
            }
            self.frame.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn finish(&mut self, kept: &mut Kept) -> hanse_core::Result<()> {
        self.give(true, kept)
    }
}

/// A payload on its way in, encrypted.
pub struct Sealer {
    staging: Staging,
    wrapped: String,
    size: u64,
}

impl Sealer {
    /// # Errors
    /// Internal if no key can be made.
    pub fn new(cx: &Cx, store: &Store, project: &WrappingKey) -> hanse_core::Result<Sealer> {
        let (key, wrapped) = project.data_key(cx)?;
        let staging = store.stage(Frames { key, frame: Vec::new(), number: 0 });
        Ok(Sealer { staging, wrapped, size: 0 })
    }

    /// # Errors
    /// 503 if the disk is full; internal if it fails.
    pub async fn push(&mut self, bytes: Bytes) -> hanse_core::Result<()> {
        self.size += bytes.len() as u64;
        self.staging.write(bytes).await
    }

    /// # Errors
    /// As [`Sealer::push`].
    pub async fn finish(self) -> hanse_core::Result<(Piece, Option<Staged>)> {
        if self.size == 0 {
            return Ok((Piece { size: 0, key: String::new(), checksum: None }, None));
        }
        let staged = self.staging.finish().await?;
        Ok((Piece { size: self.size, key: self.wrapped, checksum: None }, Some(staged)))
    }
}

/// Where a body goes.
struct Intake {
    sealer: Sealer,
    hasher: Hasher,
    /// Small pieces that wait for more: by itself each would take more memory than its bytes.
    small: Vec<u8>,
}

impl Intake {
    async fn push(&mut self, bytes: Bytes) -> hanse_core::Result<()> {
        if bytes.len() >= SMALL {
            self.flush().await?;
            return self.pass(bytes).await;
        }
        self.small.extend_from_slice(&bytes);
        if self.small.len() >= FRAME { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> hanse_core::Result<()> {
        match std::mem::take(&mut self.small) {
            none if none.is_empty() => Ok(()),
            small => self.pass(small.into()).await,
        }
    }

    async fn pass(&mut self, bytes: Bytes) -> hanse_core::Result<()> {
        self.sealer.push(bytes.clone()).await?;
        self.hasher.push(bytes).await
    }
}

/// Takes a body in, and compares it with what the client says about it: nothing that differs is staged.
///
/// # Errors
/// `BadDigest`, `EntityTooLarge`, `IncompleteBody` and what the signature of the body comes to; 503 if the disk is full.
pub async fn take(
    cx: &Cx,
    store: &Store,
    hashing: &Hashing,
    project: &WrappingKey,
    body: Option<StreamingBlob>,
    claimed: &Claimed,
    trailers: Option<TrailingHeaders>,
) -> S3Result<Taken> {
    let ours = |error: Error| fault::of(&error);
    let sealer = Sealer::new(cx, store, project).map_err(ours)?;
    let hasher = Hasher::new(hashing, claimed.algorithms().into_iter().map(Sum::new).collect());
    let mut intake = Intake { sealer, hasher, small: Vec::new() };
    if let Some(mut body) = body {
        let mut size = 0;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| broken_body(error.as_ref()))?;
            size += bytes.len() as u64;
            if size > PUT_MAX {
                return Err(fault::error(
                    S3ErrorCode::EntityTooLarge,
                    "Your proposed upload exceeds the maximum allowed object size.",
                ));
            }
            intake.push(bytes).await.map_err(ours)?;
        }
        intake.flush().await.map_err(ours)?;
    }
    let Intake { sealer, hasher, .. } = intake;
    let Sums { md5, sums } = *hasher.finish().await.map_err(ours)?;
    let md5 = md5.finish();
    let computed: Vec<_> = sums.into_iter().map(|sum| (sum.algorithm(), sum.finish())).collect();
    compare(claimed, &md5, &computed, trailers)?;
    let (piece, staged) = sealer.finish().await.map_err(ours)?;
    let checksum = computed.into_iter().next().map(|(algorithm, value)| Checksum {
        algorithm: algorithm.name().to_owned(),
        value,
        is_composite: false,
    });
    Ok(Taken { piece, staged, md5, checksum })
}

fn compare(
    claimed: &Claimed,
    md5: &[u8; 16],
    computed: &[(crate::sums::Algorithm, String)],
    trailers: Option<TrailingHeaders>,
) -> S3Result<()> {
    use base64::Engine as _;
    let bad = |what: &str| {
        fault::error(
            S3ErrorCode::BadDigest,
            format!("The {what} you specified did not match what we received."),
        )
    };
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5);
    if claimed.md5.as_ref().is_some_and(|claimed| *claimed != md5) {
        return Err(bad("Content-MD5"));
    }
    let is = |algorithm, value: &str| computed.iter().any(|(known, own)| *known == algorithm && own == value);
    for (algorithm, value) in &claimed.sums {
        if !is(*algorithm, value) {
            return Err(bad(algorithm.name()));
        }
    }
    if let Some(algorithm) = claimed.trailing {
        let trailers = trailers.and_then(|trailers| trailers.take());
        let value = trailers.as_ref().and_then(|trailers| trailers.get(algorithm.header()));
        let value = value.and_then(|value| value.to_str().ok()).map(str::trim).ok_or_else(|| {
            let message = "The trailer that was announced did not come.";
            fault::named("MalformedTrailerError", StatusCode::BAD_REQUEST, message)
        })?;
        if !is(algorithm, value) {
            return Err(bad(algorithm.name()));
        }
    }
    Ok(())
}

/// What an error within a body means; `s3s` does not export the types of its streams' errors.
fn broken_body(error: &(dyn std::error::Error + 'static)) -> S3Error {
    let said = error.to_string();
    tracing::debug!(error = %said, "a body broke off");
    if said.contains("Sha256Mismatch") {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return fault::named("XAmzContentSHA256Mismatch", StatusCode::BAD_REQUEST, message);
    }
    let (code, message) = if said.contains("SignatureMismatch") {
        (
            S3ErrorCode::SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided.",
        )
    } else if said.contains("TimedOut") || said.contains("timed out") || said.contains("timeout") {
        (
            S3ErrorCode::RequestTimeout,
            "Your socket connection to the server was not read from or written to in time.",
        )
    } else {
        (
            S3ErrorCode::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        )
    };
    fault::error(code, message)
}
