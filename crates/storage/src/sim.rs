//! The same promises in memory: for tests of everything that stands on a [`Storage`], and for the cloud whose
//! hypervisor is simulated, too. With a directory it survives the process, so that the real binary can be killed
//! under test.

mod journal;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hanse_core::{CrashPoints, Error, Result, Uuid, hex};
use hanse_node::documents::{Disk, DiskFormat};
use md5::Md5;
use sha2::{Digest, Sha512};
use tokio::io::AsyncReadExt;

use self::journal::Journal;
use crate::claims::Claims;
use crate::files::blocking;
use crate::{
    Backing, ByteStream, DiskFile, Storage, StoredImage, Usage, check_fits, check_growth, check_size,
    image_is_busy, image_is_there, inspect, no_disk, no_image, other_origin, too_large,
};

/// A storage without a disk. An image costs its size of memory, a disk nothing.
pub struct Sim {
    capacity_bytes: u64,
    uploads: Claims,
    journal: Option<Arc<Journal>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    images: BTreeMap<Uuid, (StoredImage, Bytes)>,
    disks: BTreeMap<Uuid, Disk>,
    next_failure: Option<Error>,
}

impl Default for Sim {
    fn default() -> Sim {
        Sim::with_capacity(1 << 30)
    }
}

impl Sim {
    /// Room for that many bytes of images; beyond them the disk is full.
    pub fn with_capacity(bytes: u64) -> Sim {
        Sim { capacity_bytes: bytes, uploads: Claims::default(), journal: None, held: Mutex::default() }
    }

    /// A storage that is kept in `directory`, and found there again.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or what lies there is damaged.
    pub fn journaled(directory: &Path, capacity_bytes: u64, crash: CrashPoints) -> Result<Sim> {
        let journal = Journal::open(directory, crash)?;
        let held = Mutex::new(Held { images: journal.images()?, disks: journal.disks()?, ..Held::default() });
        Ok(Sim { journal: Some(Arc::new(journal)), held, ..Sim::with_capacity(capacity_bytes) })
    }

    /// The next call, whichever it is, fails with this and does nothing.
    pub fn fail_next(&self, error: Error) {
        self.held().next_failure = Some(error);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every call starts with.
    fn enter(&self) -> Result<MutexGuard<'_, Held>> {
        let mut held = self.held();
        match held.next_failure.take() {
            Some(error) => Err(error),
            None => Ok(held),
        }
    }

    /// First where it lasts: what a call has not answered, nobody has seen.
    fn keep_disk(&self, held: &mut Held, id: Uuid, disk: Disk) -> Result<()> {
        let present = held.disks.get(&id);
        if present == Some(&disk) {
            return Ok(());
        }
        if let Some(journal) = &self.journal {
            journal.keep_disk(id, &disk, present.is_some())?;
        }
        held.disks.insert(id, disk);
        Ok(())
    }

    fn free_bytes(&self, held: &Held) -> u64 {
        let used = held.images.values().map(|(image, _)| image.size_bytes).sum();
        self.capacity_bytes.saturating_sub(used)
    }
}

#[async_trait]
impl Storage for Sim {
    async fn put_image(
        &self,
        id: Uuid,
        declared: DiskFormat,
        mut bytes: ByteStream,
        limit_bytes: u64,
    ) -> Result<StoredImage> {
        let claim = self.uploads.take(id).ok_or_else(|| image_is_busy(id))?;
        let free_bytes = {
            let held = self.enter()?;
            if held.images.contains_key(&id) {
                return Err(image_is_there(id));
            }
            self.free_bytes(&held)
        };
        let mut content = Vec::new();
        // As much of the start as the real one looks at, so that both refuse for the same reason.
        let most = limit_bytes.min(free_bytes).saturating_add(1).max(inspect::HEAD_BYTES as u64);
        (&mut bytes)
            .take(most)
            .read_to_end(&mut content)
            .await
            .map_err(|error| Error::bad_request("The upload broke off; start it again.").because(error))?;
        let size_bytes = content.len() as u64;
        let head = &content[..content.len().min(inspect::HEAD_BYTES)];
        if size_bytes > 0 {
            inspect::check_head(declared, head)?;
        }
        if size_bytes > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        if size_bytes > free_bytes {
            return Err(Error::unavailable("No space left on the simulated storage: delete some images."));
        }
        let tail = &content[content.len().saturating_sub(inspect::TAIL_BYTES)..];
        let virtual_size_bytes = inspect::check_image(declared, head, tail, size_bytes)?;
        let (md5, sha512) = (hex(Md5::digest(&content)), hex(Sha512::digest(&content)));
        let image = StoredImage { id, format: declared, size_bytes, virtual_size_bytes, md5, sha512 };
        let kept = (image.clone(), Bytes::from(content));
        if let Some(journal) = self.journal.clone() {
            let kept = kept.clone();
            blocking(move || journal.keep_image(claim, &kept.0, &kept.1)).await?;
        }
        self.held().images.insert(id, kept);
        Ok(image)
    }

    async fn show_image(&self, id: Uuid) -> Result<StoredImage> {
        self.enter()?.images.get(&id).map(|(image, _)| image.clone()).ok_or_else(|| no_image(id))
    }

    async fn list_images(&self) -> Result<Vec<StoredImage>> {
        Ok(self.enter()?.images.values().map(|(image, _)| image.clone()).collect())
    }

    async fn read_image(&self, id: Uuid) -> Result<(u64, ByteStream)> {
        let held = self.enter()?;
        let (image, content) = held.images.get(&id).ok_or_else(|| no_image(id))?;
        Ok((image.size_bytes, Box::new(Cursor::new(content.clone()))))
    }

    async fn delete_image(&self, id: Uuid) -> Result<()> {
        let claim = self.uploads.take(id).ok_or_else(|| image_is_busy(id))?;
        let mut held = self.enter()?;
        if let Some(journal) = &self.journal {
            journal.drop_image(claim, id)?;
        }
        held.images.remove(&id);
        Ok(())
    }

    async fn ensure_disk(&self, id: Uuid, disk: &Disk) -> Result<DiskFile> {
        check_size(disk.size_bytes)?;
        let mut held = self.enter()?;
        match held.disks.get(&id) {
            Some(present) if present.image != disk.image => return Err(other_origin(id)),
            Some(present) => check_growth(id, present.size_bytes, disk.size_bytes)?,
            None => {
                if let Some(image) = &disk.image {
                    let (stored, _) = held.images.get(&image.id).ok_or_else(|| no_image(image.id))?;
                    check_fits(disk, stored)?;
                }
            }
        }
        self.keep_disk(&mut held, id, disk.clone())?;
        Ok(DiskFile {
            path: format!("/sim/disks/{id}").into(),
            format: DiskFormat::Qcow2,
            backing: disk.image.as_ref().map(|image| Backing {
                path: format!("/sim/images/{}", image.id).into(),
                format: image.format,
            }),
        })
    }

    async fn resize_disk(&self, id: Uuid, size_bytes: u64) -> Result<()> {
        check_size(size_bytes)?;
        let mut held = self.enter()?;
        let mut disk = held.disks.get(&id).ok_or_else(|| no_disk(id))?.clone();
        check_growth(id, disk.size_bytes, size_bytes)?;
        disk.size_bytes = size_bytes;
        self.keep_disk(&mut held, id, disk)
    }

    async fn remove_disk(&self, id: Uuid) -> Result<()> {
        let mut held = self.enter()?;
        if let Some(journal) = &self.journal {
            journal.drop_disk(id)?;
        }
        held.disks.remove(&id);
        Ok(())
    }

    async fn list_disks(&self) -> Result<Vec<Uuid>> {
        Ok(self.enter()?.disks.keys().copied().collect())
    }

    async fn usage(&self) -> Result<Usage> {
        let held = self.enter()?;
        Ok(Usage { total_bytes: self.capacity_bytes, free_bytes: self.free_bytes(&held) })
    }
}
