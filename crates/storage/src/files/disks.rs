//! Disks: a qcow2 each, empty or over a base that is the image's own file under a second name.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hanse_core::{Error, Result, Uuid};
use hanse_node::documents::{Disk, DiskFormat};

use super::{At, Store, images, shelf};
use crate::claims::Claim;
use crate::inspect::Header;
use crate::{Backing, DiskFile, StoredImage, check_fits, check_growth, no_disk, no_image, other_origin};

const DISK: &str = "disk.qcow2";
const BASE: &str = "base-";

/// What lies below a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    name: String,
    format: DiskFormat,
}

impl Base {
    fn of(image: Uuid, format: DiskFormat) -> Base {
        Base { name: format!("{BASE}{image}.{}", format.as_str()), format }
    }

    /// The base in a disk's directory, which none but us can change; the name in the disk's own header can be
    /// changed by whoever broke into its QEMU.
    fn find(entry: &Path) -> Result<Option<Base>> {
        for name in shelf::names(entry)? {
            for format in [DiskFormat::Raw, DiskFormat::Qcow2] {
                if name.starts_with(BASE) && name.ends_with(&format!(".{}", format.as_str())) {
                    return Ok(Some(Base { name, format }));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn format(&self) -> DiskFormat {
        self.format
    }
}

pub(super) fn ensure(store: &Store, id: Uuid, disk: &Disk, claim: Claim) -> Result<DiskFile> {
    let base = disk.image.as_ref().map(|image| Base::of(image.id, image.format));
    match store.disks.find(id)? {
        Some(entry) => {
            if Base::find(&entry)? != base {
                return Err(other_origin(id));
            }
            grow(store, id, &entry, base.as_ref(), disk.size_bytes)?;
        }
        None => make(store, id, disk, base.as_ref(), claim)?,
    }
    let entry = store.disks.entry(id);
    Ok(DiskFile {
        path: entry.join(DISK),
        format: DiskFormat::Qcow2,
        backing: base.map(|base| Backing { path: entry.join(base.name()), format: base.format }),
    })
}

fn make(store: &Store, id: Uuid, disk: &Disk, base: Option<&Base>, claim: Claim) -> Result<()> {
    let image = match &disk.image {
        Some(image) => Some(images::show(store, image.id)?.ok_or_else(|| no_image(image.id))?),
        None => None,
    };
    if let Some(image) = &image {
        check_fits(disk, image)?;
    }
    let partial = store.disks.start(id, claim)?;
    store.crash("storage.disk_started")?;
    if let (Some(image), Some(base)) = (&image, base) {
        link(store, image, &partial.path().join(base.name()))?;
        store.crash("storage.disk_linked")?;
    }
    // Made and given away first, so that qemu-img can fill it in without any privilege.
    drop(partial.create(DISK)?);
    let path = partial.path().join(DISK);
    shelf::give(&path, store.owner)?;
    store.crash("storage.disk_given")?;
    store.qemu_img.create(partial.path(), DISK, base, disk.size_bytes)?;
    store.crash("storage.disk_created")?;
    shelf::sync_file(&path)?;
    store.crash("storage.disk_synced")?;
    partial.commit(&store.crash)
}

fn link(store: &Store, image: &StoredImage, to: &Path) -> Result<()> {
    let file = store.images.entry(image.id).join(images::file_name(image.format));
    match std::fs::hard_link(&file, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_image(image.id)),
        Err(error) if error.kind() == ErrorKind::TooManyLinks => Err(Error::unavailable(format!(
            "Image {} serves as many disks on this node as its file system can count; use a copy of it.",
            image.id
        ))),
        linked => linked.at("cannot link", &file),
    }
}

pub(super) fn resize(store: &Store, id: Uuid, size_bytes: u64, _claim: Claim) -> Result<()> {
    let entry = store.disks.find(id)?.ok_or_else(|| no_disk(id))?;
    grow(store, id, &entry, Base::find(&entry)?.as_ref(), size_bytes)
}

fn grow(store: &Store, id: Uuid, entry: &Path, base: Option<&Base>, size_bytes: u64) -> Result<()> {
    let path = entry.join(DISK);
    let present = virtual_size(&path)?;
    check_growth(id, present, size_bytes)?;
    if size_bytes > present {
        store.qemu_img.resize(id, entry, DISK, base, size_bytes)?;
        store.crash("storage.disk_resized")?;
    }
    // Also if it has its size already: the process that gave it may have died before this line.
    shelf::sync_file(&path)
}

/// From the header, which is not trusted for anything else.
fn virtual_size(path: &Path) -> Result<u64> {
    let mut head = Vec::new();
    File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .and_then(|file| file.take(4096).read_to_end(&mut head))
        .at("cannot read", path)?;
    Header::parse(&head).map(|header| header.virtual_size).map_err(|error| {
        Error::internal(format!("{} is no disk any more: {}", path.display(), error.message()))
    })
}
