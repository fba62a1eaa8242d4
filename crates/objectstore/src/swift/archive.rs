//! Archives that are uploaded in one request and become an object for each file in them (`extract-archive`).
//!
//! A thread reads the archive as its bytes come, and hands each file to an ordinary upload. No archive makes it keep more than
//! a few blocks: what it says of itself, how many files and how many bytes come out of it is bounded.
//!
//! Source: OpenStack Object Storage API Reference, "Bulk upload"; OpenStack Swift, middleware "Bulk Operations".

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use s3s::Body;
use s3s::dto::StreamingBlob;
use serde_json::json;
use tokio::sync::mpsc;

use super::auth::{Proof, Session};
use super::listing::{Format, format};
use super::reply::{Done, Refused, json as json_reply, refused, set, text};
use super::{Call, split_names};
use crate::intake::PUT_MAX;

/// Files of one archive.
pub const FILES_MAX: usize = 10_000;
/// Files that cannot be taken, before the rest is left alone. Source: OpenStack Swift, `max_failed_extractions`.
pub const FAILED_MAX: usize = 1000;
/// Bytes of all that comes out of one archive, its own structure included.
const OUT_MAX: u64 = PUT_MAX;
/// Bytes of what stands before a file: its header, and long names.
const HEADERS_MAX: u64 = 64 << 10;
/// What is handed on at once.
const CHUNK: usize = 64 << 10;
/// Chunks that wait.
const WAITING: usize = 2;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Tar,
    Gzip,
    Bzip2,
}

impl Packing {
    pub fn named(name: &str) -> Option<Packing> {
        match name {
            "tar" => Some(Packing::Tar),
            "tar.gz" => Some(Packing::Gzip),
            "tar.bz2" => Some(Packing::Bzip2),
            _ => None,
        }
    }
}

/// A file of an archive, on its way out.
struct File {
    path: Vec<u8>,
    size: u64,
    bytes: mpsc::Receiver<io::Result<Bytes>>,
}

/// The body of a request, for a thread that may wait.
struct Incoming {
    chunks: mpsc::Receiver<Bytes>,
    now: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.now = chunk,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.now.len());
        let chunk = self.now.split_to(length);
        into.get_mut(..length).unwrap_or_default().copy_from_slice(&chunk);
        Ok(length)
    }
}

/// Ends when it has given what it may.
struct Metered<R> {
    inner: R,
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("the archive is larger than it may be"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let length = self.inner.read(into.get_mut(..most).unwrap_or_default())?;
        self.left.fetch_sub(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// Reads an archive to its end and hands out its files.
fn unpack(packing: Packing, incoming: Incoming, files: &mpsc::Sender<File>) -> io::Result<()> {
    let in_all: Box<dyn Read> = match packing {
        Packing::Tar => Box::new(incoming),
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(incoming)),
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(incoming)),
    };
    let in_all = Metered { inner: in_all, left: Arc::new(AtomicU64::new(OUT_MAX)) };
    let left = Arc::new(AtomicU64::new(HEADERS_MAX));
    let mut archive = tar::Archive::new(Metered { inner: in_all, left: left.clone() });
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Its bytes, and what fills the last block.
        left.store(entry.size().saturating_add(512), Ordering::Relaxed);
        // Directories are none, and nothing leads out of an archive.
        let mut sender = None;
        if entry.header().entry_type().is_file() {
            let (bytes, receiver) = mpsc::channel(WAITING);
            let file = File { path: entry.path_bytes().into_owned(), size: entry.size(), bytes: receiver };
            if files.blocking_send(file).is_err() {
                return Ok(());
            }
            sender = Some(bytes);
        }
        let (mut chunk, mut missing) = (vec![0; CHUNK], entry.size());
        loop {
            let length = match entry.read(&mut chunk) {
                Ok(0) if missing == 0 => break,
                Ok(0) => Err(io::Error::other("the archive broke off")),
                Ok(length) => Ok(length),
                Err(error) => Err(error),
            };
            let length = match length {
                Ok(length) => length,
                Err(error) => {
                    // An object that is cut off is none.
                    if let Some(bytes) = &sender {
                        let _ = bytes.blocking_send(Err(io::Error::other("the archive broke off")));
                    }
                    return Err(error);
                }
            };
            missing = missing.saturating_sub(length as u64);
            let bytes = Bytes::copy_from_slice(chunk.get(..length).unwrap_or_default());
            // Whoever does not want it any more has said so.
            if sender.as_ref().is_some_and(|sender| sender.blocking_send(Ok(bytes)).is_err()) {
                sender = None;
            }
        }
        drop(sender);
        left.store(HEADERS_MAX, Ordering::Relaxed);
    }
    Ok(())
}

/// What came of it.
#[derive(Default)]
struct Summary {
    created: usize,
    errors: Vec<(String, String)>,
    /// Why it ended early.
    failure: Option<Refused>,
}

impl Summary {
    /// The request itself is answered with 200: what came of it stands in the body.
    fn show(&self, call: &Call) -> http::Response<Body> {
        let status = match &self.failure {
            Some(refused) => refused.line(),
            None if self.errors.is_empty() => StatusCode::CREATED.to_string(),
            None => StatusCode::BAD_REQUEST.to_string(),
        };
        let body = self.failure.as_ref().map_or("", |refused| refused.message.as_str());
        if format(call) == Format::Json {
            let value = json!({
                "Number Files Created": self.created,
                "Response Status": status,
                "Response Body": body,
                "Errors": self.errors,
            });
            return json_reply(HeaderMap::new(), &value);
        }
        let errors: String = self.errors.iter().map(|(name, why)| format!("{name}, {why}\n")).collect();
        text(format!(
            "Number Files Created: {}\nResponse Body: {body}\nResponse Status: {status}\nErrors:\n{errors}",
            self.created
        ))
    }
}

impl Session<'_> {
    pub async fn extract(&self, packing: &str, mut body: Body) -> Done {
        // Whoever is nobody may make nothing, whatever is in it.
        let Proof::Token(caller) = &self.proof else { return Err(self.unauthorized()) };
        let Some(packing) = Packing::named(packing) else {
            return Err(refused(StatusCode::BAD_REQUEST, "Unsupported archive format"));
        };
        let (chunks, receiver) = mpsc::channel(WAITING);
        let (files, mut unpacked) = mpsc::channel(1);
        let incoming = Incoming { chunks: receiver, now: Bytes::new() };
        let reading = tokio::task::spawn_blocking(move || unpack(packing, incoming, &files));
        let feeding = async {
            while let Some(bytes) = body.next().await {
                let Ok(bytes) = bytes else { return false };
                if chunks.send(bytes).await.is_err() {
                    return true;
                }
            }
            drop(chunks);
            true
        };
        let storing = async {
            let mut summary = Summary::default();
            while let Some(file) = unpacked.recv().await {
                if summary.created + summary.errors.len() >= FILES_MAX {
                    let message = format!("An archive has at most {FILES_MAX} files.");
                    summary.failure = Some(refused(StatusCode::PAYLOAD_TOO_LARGE, message));
                    break;
                }
                if summary.errors.len() >= FAILED_MAX {
                    let message = format!("More than {FAILED_MAX} files cannot be taken.");
                    summary.failure = Some(refused(StatusCode::BAD_REQUEST, message));
                    break;
                }
                let path = String::from_utf8_lossy(&file.path).into_owned();
                match self.take_file(caller, file).await {
                    Ok(()) => summary.created += 1,
                    Err(refused) => summary.errors.push((path, refused.line())),
                }
            }
            // The thread has nobody to hand anything to now.
            drop(unpacked);
            summary
        };
        let (is_whole, mut summary) = tokio::join!(feeding, storing);
        let read = reading
            .await
            .map_err(|error| hanse_core::Error::internal("an archive was not read").because(error))?;
        if !is_whole {
            return Err(super::reply::broken_off());
        }
        match read {
            _ if summary.failure.is_some() => {}
            Err(error) => {
                let message = format!("Invalid Tar File: {error}");
                summary.failure = Some(refused(StatusCode::BAD_REQUEST, message));
            }
            Ok(()) if summary.created == 0 && summary.errors.is_empty() => {
                summary.failure = Some(refused(StatusCode::BAD_REQUEST, "Invalid Tar File: No Valid Files"));
            }
            Ok(()) => {}
        }
        Ok(summary.show(self.call))
    }

    async fn take_file(&self, caller: &Arc<hanse_policy::Caller>, file: File) -> Done<()> {
        let wrong = || refused(StatusCode::PRECONDITION_FAILED, "The name of a file is none of an object.");
        let path = std::str::from_utf8(&file.path).map_err(|_| wrong())?;
        let path = path.strip_prefix("./").unwrap_or(path).trim_matches('/');
        // Below what the request names.
        let above = [&self.call.container, &self.call.object].into_iter().flatten();
        let whole = above.map(|name| name.trim_end_matches('/')).chain([path]).collect::<Vec<_>>().join("/");
        let (container, Some(object)) = split_names(&whole)? else { return Err(wrong()) };
        let mut headers = HeaderMap::new();
        let is_for_each = |name: &HeaderName| {
            name.as_str().starts_with("x-object-meta-") || name.as_str().starts_with("x-delete-")
        };
        for (name, value) in self.call.headers.iter().filter(|(name, _)| is_for_each(name)) {
            headers.append(name, value.clone());
        }
        set(&mut headers, "content-length", file.size);
        let call = Call {
            cx: self.call.cx.clone(),
            method: Method::PUT,
            headers,
            path: format!("/v1/AUTH_{}/{whole}", self.call.account),
            query: Vec::new(),
            account: self.call.account.clone(),
            container: Some(container.clone()),
            object: Some(object.clone()),
            is_tls: self.call.is_tls,
        };
        let session = Session { store: self.store, call: &call, proof: Proof::Token(caller.clone()) };
        if session.container(&container)?.is_none() {
            let bare = Call { headers: HeaderMap::new(), object: None, ..call.clone() };
            let session = Session { store: self.store, call: &bare, proof: Proof::Token(caller.clone()) };
            session.create_container(&container).await?;
        }
        let bytes = futures_util::stream::unfold(file.bytes, |mut bytes| async {
            bytes.recv().await.map(|chunk| (chunk, bytes))
        });
        session.put_object(&container, &object, Body::from(StreamingBlob::wrap(bytes))).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of a file, as tar has it.
    fn header(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        header
    }

    fn unpacked(archive: Vec<u8>) -> (io::Result<()>, usize) {
        let (files, mut out) = mpsc::channel(100);
        let (chunks, receiver) = mpsc::channel(1);
        let feeding = std::thread::spawn(move || {
            for chunk in archive.chunks(CHUNK) {
                if chunks.blocking_send(Bytes::copy_from_slice(chunk)).is_err() {
                    return;
                }
            }
        });
        // Nobody takes the bytes, so only empty files come through.
        let done = unpack(Packing::Tar, Incoming { chunks: receiver, now: Bytes::new() }, &files);
        drop(files);
        feeding.join().unwrap();
        let mut count = 0;
        while out.blocking_recv().is_some() {
            count += 1;
        }
        (done, count)
    }

    #[test]
    fn what_an_archive_says_of_itself_is_bounded() {
        let file = |name: &[u8]| header(name, tar::EntryType::Regular, 0).as_bytes().to_vec();
        let name = |length: u64| {
            let mut bytes = header(b"././@LongLink", tar::EntryType::GNULongName, length).as_bytes().to_vec();
            bytes.extend(vec![b'n'; usize::try_from(length.next_multiple_of(512)).unwrap()]);
            bytes
        };
        let (done, count) = unpacked([name(300), file(b"a"), file(b"b")].concat());
        assert!(done.is_ok() && count == 2, "{done:?} {count}");
        // A name of megabytes is not gathered.
        let (done, count) = unpacked([file(b"a"), name(1 << 20), file(b"b")].concat());
        assert!(done.is_err() && count == 1, "{done:?} {count}");
    }
}
