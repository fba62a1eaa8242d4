//! Images and disks on a node: the bytes of Glance images, root disks and volumes.
//!
//! One trait, [`Storage`], with two implementations: [`Files`] keeps qcow2 and raw files below one directory and
//! has `qemu-img` make the disks; [`Sim`] keeps the same promises in memory. One contract suite runs on both.
//! Only the agent calls this crate.

mod claims;
mod files;
pub mod inspect;
mod sim;

use std::path::PathBuf;

use async_trait::async_trait;
use hanse_core::{Error, Result, Uuid};
use hanse_node::documents::{Disk, DiskFormat};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

pub use files::{Files, Options, Owner};
pub use sim::Sim;

/// Bytes on their way in or out; never held in memory as a whole.
pub type ByteStream = Box<dyn AsyncRead + Send + Unpin>;

/// The largest virtual size of an image or a disk: what one file can hold on ext4.
pub const MAX_VIRTUAL_BYTES: u64 = 16 << 40;

/// What a disk is counted in; every virtual size is a multiple.
pub const SECTOR: u64 = 512;

/// Where a node keeps images and disks.
///
/// Every call may be run again after a crash at any point of the one before. What a call has answered `Ok` to,
/// and whatever is listed, shown or read, survives a loss of power.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Takes in the bytes of an image, hashing them on the way.
    ///
    /// # Errors
    /// 400 if the bytes are not an acceptable image of the declared format (see [`inspect`]) or break off; 408 if
    /// they stall; 409 if the image is there already or is being uploaded (what is there, [`Storage::show_image`]
    /// tells); 413 if there are more than `limit_bytes`; 503 if the disk is full. Nothing is left behind.
    async fn put_image(
        &self,
        id: Uuid,
        declared: DiskFormat,
        bytes: ByteStream,
        limit_bytes: u64,
    ) -> Result<StoredImage>;

    /// # Errors
    /// 404 if there is no such image, or not all of it yet.
    async fn show_image(&self, id: Uuid) -> Result<StoredImage>;

    /// All complete images, by id.
    async fn list_images(&self) -> Result<Vec<StoredImage>>;

    /// The bytes exactly as they were put, and how many they are.
    ///
    /// # Errors
    /// 404 if there is no such image.
    async fn read_image(&self, id: Uuid) -> Result<(u64, ByteStream)>;

    /// Forgets an image; one that is not there is fine. Disks made from it go on working.
    ///
    /// # Errors
    /// 409 while it is being uploaded.
    async fn delete_image(&self, id: Uuid) -> Result<()>;

    /// Makes the disk if it is not there, and grows it if it is smaller than wanted.
    ///
    /// # Errors
    /// 400 if the size is not a positive multiple of [`SECTOR`] up to [`MAX_VIRTUAL_BYTES`], is smaller than the
    /// image, or smaller than the disk is already, or if the image has another format than stated; 404 if there
    /// is no such image; 409 if the disk was made from another image, or has to grow while a guest runs on it;
    /// 503 if the disk of the node is full.
    async fn ensure_disk(&self, id: Uuid, disk: &Disk) -> Result<DiskFile>;

    /// Grows a disk that no guest is running on. The same size again is fine.
    ///
    /// # Errors
    /// 404 if there is no such disk; 400 if it would shrink; 409 while a guest runs on it.
    async fn resize_disk(&self, id: Uuid, size_bytes: u64) -> Result<()>;

    /// Removes a disk; one that is not there is fine.
    async fn remove_disk(&self, id: Uuid) -> Result<()>;

    /// The ids of all complete disks, in order.
    async fn list_disks(&self) -> Result<Vec<Uuid>>;

    /// How full the file system is.
    async fn usage(&self) -> Result<Usage>;
}

/// An image that is wholly there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    pub id: Uuid,
    pub format: DiskFormat,
    /// How many bytes were put (Glance's `size`).
    pub size_bytes: u64,
    /// How large a disk the image describes, a multiple of [`SECTOR`] (Glance's `virtual_size`).
    pub virtual_size_bytes: u64,
    /// In hexadecimal; Glance's `checksum`. Against accidents only.
    pub md5: String,
    /// In hexadecimal; Glance's `os_hash_value` with `os_hash_algo` sha512.
    pub sha512: String,
}

/// What a hypervisor needs to open a disk without looking into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFile {
    pub path: PathBuf,
    pub format: DiskFormat,
    /// What shows through where the disk was not written yet: to be opened read-only, and named to QEMU
    /// explicitly, so that it never follows the name in the disk's own header.
    pub backing: Option<Backing>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    pub path: PathBuf,
    pub format: DiskFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub total_bytes: u64,
    /// What may still be written.
    pub free_bytes: u64,
}

fn no_image(id: Uuid) -> Error {
    Error::not_found("Image", id)
}

fn no_disk(id: Uuid) -> Error {
    Error::not_found("Disk", id)
}

fn image_is_there(id: Uuid) -> Error {
    Error::conflict(format!("Image {id} has its data already; delete it to upload other data."))
}

fn image_is_busy(id: Uuid) -> Error {
    Error::conflict(format!("Image {id} is being uploaded or deleted; wait for that to end."))
}

fn too_large(limit_bytes: u64) -> Error {
    Error::too_large(format!("The image is larger than the limit of {limit_bytes} bytes."))
}

/// The checks of a disk's size that need no look at the disk.
fn check_size(size_bytes: u64) -> Result<()> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(SECTOR) || size_bytes > MAX_VIRTUAL_BYTES {
        return Err(Error::bad_request(format!(
            "A disk of {size_bytes} bytes cannot be made: the size must be a positive multiple of {SECTOR} \
             up to {MAX_VIRTUAL_BYTES}."
        )));
    }
    Ok(())
}

fn check_fits(disk: &Disk, image: &StoredImage) -> Result<()> {
    if disk.image.as_ref().is_some_and(|stated| stated.format != image.format) {
        return Err(Error::bad_request(format!(
            "Image {} is {}, not the format that was stated.",
            image.id,
            image.format.as_str()
        )));
    }
    if disk.size_bytes < image.virtual_size_bytes {
        return Err(Error::bad_request(format!(
            "A disk of {} bytes is too small for image {}, which describes one of {} bytes.",
            disk.size_bytes, image.id, image.virtual_size_bytes
        )));
    }
    Ok(())
}

fn check_growth(id: Uuid, present: u64, wanted: u64) -> Result<()> {
    if wanted < present {
        return Err(Error::bad_request(format!(
            "Disk {id} has {present} bytes and cannot shrink to {wanted}: a disk only grows."
        )));
    }
    Ok(())
}

fn other_origin(id: Uuid) -> Error {
    Error::conflict(format!("Disk {id} is there already, made from another image; remove it first."))
}
