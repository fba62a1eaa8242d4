//! What images need of their neighbours.

use async_trait::async_trait;
use hanse_core::{Result, Uuid};
use hanse_node::StoredImage;
use hanse_node::agent::Bytes;
use hanse_node::documents::DiskFormat;

/// Where the bytes of images live. The ids are those of uploads, not of images: each attempt has its own.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// Takes in at most `limit` bytes. They are durable when this returns, and nothing of them is left to be seen if it
    /// fails (but there may be litter that [`ImageStore::delete`] removes).
    ///
    /// # Errors
    /// 400 if the bytes are not of that format, 413 if there are more, 503 if the store cannot be reached.
    async fn put(&self, id: Uuid, format: DiskFormat, limit: u64, bytes: Bytes) -> Result<StoredImage>;

    /// The length and the bytes.
    ///
    /// # Errors
    /// 404 if there are none, 503 if the store cannot be reached.
    async fn read(&self, id: Uuid) -> Result<(u64, Bytes)>;

    /// Removes the bytes; that there are none is fine.
    ///
    /// # Errors
    /// If the store cannot be reached.
    async fn delete(&self, id: Uuid) -> Result<()>;
}
