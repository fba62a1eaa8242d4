//! Image bytes live on a node.

use async_trait::async_trait;
use hanse_core::{Error, Result, Uuid};
use hanse_image::ports::ImageStore;
use hanse_node::StoredImage;
use hanse_node::agent::Bytes;
use hanse_node::documents::DiskFormat;
use hanse_node::hub::Hub;

/// The store of the node that is connected. With several nodes, images would have to be on each: not yet.
pub struct NodeStore(pub Hub);

impl NodeStore {
    fn node(&self) -> Result<String> {
        self.0.connected().into_iter().next().ok_or_else(|| {
            Error::unavailable("No machine is connected that could hold image data; try again.")
        })
    }
}

#[async_trait]
impl ImageStore for NodeStore {
    async fn put(&self, id: Uuid, format: DiskFormat, limit: u64, bytes: Bytes) -> Result<StoredImage> {
        self.0.put_image(&self.node()?, id, format, limit, bytes).await
    }

    async fn read(&self, id: Uuid) -> Result<(u64, Bytes)> {
        self.0.read_image(&self.node()?, id).await
    }

    async fn delete(&self, id: Uuid) -> Result<()> {
        self.0.delete_image(&self.node()?, id).await
    }
}
