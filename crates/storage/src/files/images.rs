//! Images: taking them in, and handing them out.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hanse_core::{Context, Error, Kind, Result, Uuid, hex};
use hanse_node::documents::DiskFormat;
use md5::{Digest, Md5};
use sha2::Sha512;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::shelf::{self, Partial};
use super::{At, Store, blocking};
use crate::claims::Claim;
use crate::{ByteStream, StoredImage, image_is_there, inspect, no_image, too_large};

const RECORD: &str = "image.json";

/// As large as what the inspection wants to see of the start, so that the first chunk is enough for it.
const CHUNK_BYTES: usize = inspect::HEAD_BYTES;
/// Chunks that may wait for the disk, and for MD5; with the one being filled, an upload takes at most 14 MiB.
const CHUNKS_WAITING: usize = 2;

pub(super) fn file_name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "image.raw",
        DiskFormat::Qcow2 => "image.qcow2",
    }
}

/// One image on its way in.
pub(super) struct Upload {
    pub(super) id: Uuid,
    pub(super) declared: DiskFormat,
    pub(super) bytes: ByteStream,
    pub(super) limit_bytes: u64,
}

/// All bytes are in the file, but nothing counts yet.
struct Received {
    partial: Partial,
    file: File,
    head: Bytes,
    size: u64,
    md5: String,
    sha512: String,
}

pub(super) async fn put(store: &Arc<Store>, claim: Claim, upload: Upload) -> Result<StoredImage> {
    let (id, declared) = (upload.id, upload.declared);
    let opened = store.clone();
    let (partial, file) = blocking(move || {
        if opened.images.find(id)?.is_some() {
            return Err(image_is_there(id));
        }
        let partial = opened.images.start(id, claim)?;
        opened.crash("storage.image_started")?;
        let file = partial.create(file_name(declared))?;
        Ok((partial, file))
    })
    .await?;
    let received = receive(store, upload, partial, file).await?;
    let store = store.clone();
    blocking(move || keep(&store, id, declared, received)).await
}

/// Streams into the file. Writing with SHA-512, and MD5, have a thread each: either hash alone is slower than a
/// good disk. The writing thread owns the partial entry, so that it outlives every write even if the caller
/// goes away in between.
async fn receive(store: &Store, mut upload: Upload, partial: Partial, mut file: File) -> Result<Received> {
    let (to_file, mut for_file) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
    let (to_md5, mut for_md5) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
    let md5 = tokio::task::spawn_blocking(move || {
        let mut md5 = Md5::new();
        while let Some(chunk) = for_md5.blocking_recv() {
            md5.update(&chunk);
        }
        hex(md5.finalize())
    });
    let writing = tokio::task::spawn_blocking(move || {
        let mut sha512 = Sha512::new();
        while let Some(chunk) = for_file.blocking_recv() {
            file.write_all(&chunk).at("cannot write", partial.path())?;
            sha512.update(&chunk);
        }
        Ok((partial, file, hex(sha512.finalize())))
    });
    let read = async {
        let (mut head, mut size) = (Bytes::new(), 0u64);
        while let Some(chunk) = next_chunk(&mut upload.bytes, store.stall_limit).await? {
            if size == 0 {
                inspect::check_head(upload.declared, &chunk)?;
                head = chunk.clone();
            }
            size = size.saturating_add(chunk.len() as u64);
            if size > upload.limit_bytes {
                return Err(too_large(upload.limit_bytes));
            }
            if to_file.send(chunk.clone()).await.is_err() || to_md5.send(chunk).await.is_err() {
                // A thread has given up; it says why below.
                break;
            }
        }
        Ok((head, size))
    };
    let read = read.await;
    drop((to_file, to_md5));
    // Awaited in any case: after an error, too, nothing is to be left when this returns.
    let written: Result<_> = writing.await.context("writing an image broke off")?;
    let (head, size) = read?;
    let (partial, file, sha512) = written?;
    let md5 = md5.await.context("hashing an image broke off")?;
    Ok(Received { partial, file, head, size, md5, sha512 })
}

/// The next chunk, full unless it is the last; nothing at the end.
async fn next_chunk(bytes: &mut ByteStream, stall_limit: std::time::Duration) -> Result<Option<Bytes>> {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    while chunk.len() < CHUNK_BYTES {
        let mut rest = (&mut *bytes).take((CHUNK_BYTES - chunk.len()) as u64);
        let read = tokio::time::timeout(stall_limit, rest.read_buf(&mut chunk))
            .await
            .map_err(|_| Error::new(Kind::Timeout, "The upload stalled; start it again."))?
            .map_err(|error| Error::bad_request("The upload broke off; start it again.").because(error))?;
        if read == 0 {
            break;
        }
    }
    Ok((!chunk.is_empty()).then(|| chunk.freeze()))
}

/// Checks what was received, and makes it count.
fn keep(store: &Store, id: Uuid, format: DiskFormat, received: Received) -> Result<StoredImage> {
    let Received { partial, file, head, size, md5, sha512 } = received;
    store.crash("storage.image_received")?;
    let path = partial.path().join(file_name(format));
    let tail = tail(&file, size).at("cannot read back", &path)?;
    let virtual_size_bytes = inspect::check_image(format, &head, &tail, size)?;
    shelf::lend(&path, store.owner)?;
    if format == DiskFormat::Qcow2 {
        // The header is sound; whether the tables behind it are, QEMU knows best. It gets no chance to follow
        // a name: the header holds none, and the backing file is ruled out once more.
        store.qemu_img.check(partial.path(), file_name(format))?;
        store.crash("storage.image_checked")?;
    }
    file.sync_all().at("cannot sync", &path)?;
    store.crash("storage.image_synced")?;
    let image = StoredImage { id, format, size_bytes: size, virtual_size_bytes, md5, sha512 };
    partial.write(RECORD, &serde_json::to_vec(&image).context("cannot encode the record of an image")?)?;
    store.crash("storage.image_recorded")?;
    partial.commit(&store.crash)?;
    Ok(image)
}

fn tail(file: &File, size: u64) -> std::io::Result<Vec<u8>> {
    let length = size.min(inspect::TAIL_BYTES as u64);
    let mut tail = vec![0; inspect::TAIL_BYTES.min(length as usize)];
    file.read_exact_at(&mut tail, size - length)?;
    Ok(tail)
}

pub(super) fn show(store: &Store, id: Uuid) -> Result<Option<StoredImage>> {
    match store.images.find(id)? {
        Some(entry) => record(&entry),
        None => Ok(None),
    }
}

/// Nothing if the image was deleted under our hands.
fn record(entry: &Path) -> Result<Option<StoredImage>> {
    let path = entry.join(RECORD);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.at("cannot read", &path)?,
    };
    serde_json::from_slice(&text).map(Some).context(format_args!("{} is damaged", path.display()))
}

pub(super) fn list(store: &Arc<Store>) -> Result<Vec<StoredImage>> {
    let ids = store.images.ids()?;
    ids.into_iter().filter_map(|id| record(&store.images.entry(id)).transpose()).collect()
}

pub(super) fn read(store: &Store, id: Uuid) -> Result<(u64, File)> {
    let image = show(store, id)?.ok_or_else(|| no_image(id))?;
    let path = store.images.entry(id).join(file_name(image.format));
    match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(no_image(id)),
        file => Ok((image.size_bytes, file.at("cannot open", &path)?)),
    }
}
