//! The data of images: upload and download.
//!
//! Each upload has an id of its own in the store and a row in `image_data`, written in the transaction that makes the
//! image `saving`. So whatever happens to the upload, the reconciler `image.data` knows what may lie in the store, and
//! an image becomes `active` only in a transaction after the store has said that the bytes are durable.

pub(crate) mod reconcile;

use std::time::Duration;

use hanse_core::{Cx, Error, Result, Uuid};
use hanse_node::agent::Bytes;
use hanse_node::documents::DiskFormat;
use hanse_policy::{Caller, Grant};

use crate::Deps;
use crate::db;
use crate::images::{DOWNLOAD, UPLOAD, show, writable};
use crate::model::{Image, Status};

/// The kind of the reconciler that looks after bytes in the store.
pub const DATA_KIND: &str = "image.data";

/// How often a running upload gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// An upload that has been silent for so long is dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);

pub(crate) async fn upload(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid, bytes: Bytes) -> Result<()> {
    let (image, grant) = writable(deps, cx, caller, UPLOAD, id).await?;
    let (Some(format), Some(_)) = (image.draft.disk_format, &image.draft.container_format) else {
        return Err(Error::bad_request(
            "Properties disk_format, container_format must be set prior to saving data.",
        ));
    };
    let upload = Upload { deps: deps.clone(), cx: cx.clone(), grant, id: cx.uuid(), format };
    upload.begin().await?;
    // In a task of its own: when the client hangs up, the handler is dropped, but the upload still ends in order.
    let done = tokio::spawn(async move { upload.run(bytes).await }).await;
    done.unwrap_or_else(|panic| Err(Error::internal(format!("the upload broke: {panic}"))))
}

struct Upload {
    deps: Deps,
    cx: Cx,
    grant: Grant,
    /// Of the bytes in the store.
    id: Uuid,
    format: DiskFormat,
}

impl Upload {
    async fn begin(&self) -> Result<()> {
        let (cx, grant, id) = (&self.cx, &self.grant, self.id);
        let begun = self.deps.db.write(cx, grant, |tx| {
            Box::pin(async move {
                hanse_work::wake(tx, cx, DATA_KIND, &id.to_string()).await?;
                db::data::begin(tx, cx, grant, id).await
            })
        });
        if begun.await? {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "Image status transition from its current status to saving is not allowed for image {}: it has data, or an \
             upload is under way.",
            grant.target()
        )))
    }

    async fn run(self, bytes: Bytes) -> Result<()> {
        let stored = match self.transfer(bytes).await {
            Ok(stored) => stored,
            Err(error) => {
                self.abandon(error.message()).await?;
                return Err(error);
            }
        };
        let (cx, grant, id, stored) = (&self.cx, &self.grant, self.id, &stored);
        let finished = self.deps.db.write(cx, grant, |tx| {
            Box::pin(async move {
                hanse_work::wake(tx, cx, DATA_KIND, &id.to_string()).await?;
                db::data::finish(tx, cx, grant, id, stored).await
            })
        });
        if finished.await? {
            return Ok(());
        }
        self.abandon("the image was deleted during the upload").await?;
        Err(Error::new(
            hanse_core::Kind::NotFound,
            "The image was deleted, or the upload given up, meanwhile.",
        ))
    }

    async fn transfer(&self, bytes: Bytes) -> Result<hanse_node::StoredImage> {
        self.deps.crash.pass("image.upload_begun")?;
        let put = self.deps.store.put(self.id, self.format, self.deps.config.max_image_bytes, bytes);
        let stored = tokio::select! {
            stored = put => stored?,
            never = self.live() => never?,
        };
        self.deps.crash.pass("image.bytes_stored")?;
        Ok(stored)
    }

    /// Gives signs of life; never ends well.
    async fn live(&self) -> Result<hanse_node::StoredImage> {
        let (cx, id) = (&self.cx, self.id);
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            self.deps.db.write(cx, &self.grant, |tx| Box::pin(db::data::touch(tx, cx, id))).await?;
        }
    }

    async fn abandon(&self, reason: &str) -> Result<()> {
        let (cx, id) = (&self.cx, self.id);
        self.deps
            .db
            .write(cx, &self.grant, |tx| {
                Box::pin(async move {
                    db::data::orphan(tx, cx, id, reason).await?;
                    hanse_work::wake(tx, cx, DATA_KIND, &id.to_string()).await
                })
            })
            .await
    }
}

/// The image, its length and its bytes; none if it has no data yet.
pub(crate) async fn download(
    deps: &Deps,
    caller: &Caller,
    id: Uuid,
) -> Result<(Image, Option<(u64, Bytes)>)> {
    let image = show(deps, caller, DOWNLOAD, id).await?;
    let data = match (image.status, image.data_id) {
        (Status::Active, Some(data)) => Some(data),
        (Status::Deactivated, _) if !caller.is_admin() => {
            return Err(Error::forbidden(
                "The requested image has been deactivated. Image data download is forbidden.",
            ));
        }
        (Status::Deactivated, data) => data,
        (Status::Queued | Status::Saving, _) | (Status::Active, None) => None,
    };
    match data {
        None => Ok((image, None)),
        Some(data) => Ok((image, Some(deps.store.read(data).await?))),
    }
}
