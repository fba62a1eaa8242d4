//! What compute asks of images.

use async_trait::async_trait;
use hanse_compute::ports::{BootImage, Images};
use hanse_core::{Cx, Result, Uuid};
use hanse_image::{Image, Status};
use hanse_node::documents::ImageRef;
use hanse_store::Db;

pub struct ImageService(pub Db);

#[async_trait]
impl Images for ImageService {
    async fn show_many(&self, _: &Cx, project_id: &str, ids: &[Uuid]) -> Result<Vec<BootImage>> {
        let images = hanse_image::usable(&self.0, project_id, ids).await?;
        Ok(images.into_iter().map(boot_image).collect())
    }
}

fn boot_image(image: Image) -> BootImage {
    let data = match (image.data_id, image.draft.disk_format) {
        (Some(id), Some(format)) => Some(ImageRef { id, format }),
        _ => None,
    };
    BootImage {
        id: image.id,
        data,
        active: image.status == Status::Active,
        virtual_size: image.virtual_size.or(image.size).unwrap_or_default(),
        min_disk: image.draft.min_disk,
        min_ram: image.draft.min_ram,
    }
}
