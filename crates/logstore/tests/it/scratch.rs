//! Stores for tests.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use hanse_core::{Cx, Result};
use hanse_logstore::{AsIs, Disk, Options, PayloadId, Store, View};

/// Small segments, so that tests cross their ends.
pub fn options(disk: Arc<dyn Disk>) -> Options {
    Options { segment_bytes: 256 << 10, inline_limit: 16 << 10, reserve_bytes: 0, disk, ..Options::default() }
}

pub fn open(disk: Arc<dyn Disk>) -> Store {
    Store::open(&Cx::system(), Path::new("/store"), options(disk)).unwrap()
}

/// Bytes that differ from place to place.
pub fn bytes(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

pub async fn stage(store: &Store, content: Bytes) -> Result<hanse_logstore::Staged> {
    let mut staging = store.stage(AsIs::default());
    for piece in content.chunks(70_000) {
        staging.write(Bytes::copy_from_slice(piece)).await?;
    }
    staging.finish().await
}

/// A record with one payload.
pub async fn put(store: &Store, key: &str, value: &str, content: Bytes) -> Result<PayloadId> {
    let staged = stage(store, content).await?;
    let (key, value) = (key.as_bytes().to_vec(), value.to_owned());
    store
        .write(move |change| {
            let id = change.attach(staged);
            change.put(&key, value, &[id])?;
            Ok(id)
        })
        .await
}

pub async fn delete(store: &Store, key: &str) -> Result<()> {
    let key = key.as_bytes().to_vec();
    store.write(move |change| change.delete(&key)).await
}

/// The payload of a record, read as a stream.
pub async fn read(view: &View, key: &str) -> Result<Option<Bytes>> {
    let Some(record) = view.get(key.as_bytes())? else { return Ok(None) };
    let id = record.payloads[0];
    let len = view.payload_len(id)?;
    let pieces: Vec<Bytes> = view.read(id, 0..len).try_collect().await?;
    Ok(Some(pieces.concat().into()))
}

/// For tests that mount something; without it they are skipped, unless `HANSE_REQUIRED_TESTS` names the area.
pub fn is_root(area: &str) -> bool {
    if nix::unistd::Uid::effective().is_root() {
        return true;
    }
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == area), "{area} is required, but this is not root");
    eprintln!("SKIPPED: {area}: not root");
    false
}
