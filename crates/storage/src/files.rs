//! Images and disks as files below one directory.
//!
//! ```text
//! <root>/lock
//! <root>/images/<image>/image.qcow2   or image.raw, read-only, the bytes as they were put
//! <root>/images/<image>/image.json    size and hashes
//! <root>/disks/<disk>/disk.qcow2      what the guest writes
//! <root>/disks/<disk>/base-<image>.qcow2   a hard link to the image: alive as long as the disk
//! ```
//!
//! An entry is a directory that is made under another name and renamed when all of it is on the disk, so it is
//! wholly there or not at all. Counting the users of an image is left to the file system's link count.

mod disks;
mod images;
mod qemu_img;
pub(crate) mod shelf;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Context, CrashPoints, Error, Result, Uuid};
use hanse_node::documents::{Disk, DiskFormat};
use nix::fcntl::{Flock, FlockArg};

use crate::{ByteStream, DiskFile, Storage, StoredImage, Usage, check_size, image_is_busy, no_image};
use qemu_img::QemuImg;
use shelf::Shelf;

/// The unprivileged user that QEMU runs as. It may write disks and read images, and list neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone)]
pub struct Options {
    /// The directory that holds everything; made if it is not there. One process at a time works on it.
    pub root: PathBuf,
    /// Needs root to set; without it everything belongs to the user that this process runs as.
    pub owner: Option<Owner>,
    /// Program name or path.
    pub qemu_img: PathBuf,
    /// How long one run of `qemu-img` may take. It works on metadata only, so seconds are plenty.
    pub qemu_img_limit: Duration,
    /// How long an upload may go without a byte.
    pub stall_limit: Duration,
    pub crash: CrashPoints,
}

impl Options {
    pub fn new(root: impl Into<PathBuf>) -> Options {
        Options {
            root: root.into(),
            owner: None,
            qemu_img: "qemu-img".into(),
            qemu_img_limit: Duration::from_secs(120),
            stall_limit: Duration::from_secs(60),
            crash: CrashPoints::none(),
        }
    }
}

/// See the module's documentation. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    store: Arc<Store>,
}

struct Store {
    root: PathBuf,
    images: Shelf,
    disks: Shelf,
    qemu_img: QemuImg,
    owner: Option<Owner>,
    stall_limit: Duration,
    crash: CrashPoints,
    _lock: Flock<File>,
}

impl Files {
    /// Opens the directory, sweeping out what an earlier process left half done.
    ///
    /// # Errors
    /// 503 if another process works on it; otherwise internal, naming the path.
    pub async fn open(options: Options) -> Result<Files> {
        let store = blocking(move || Store::open(options)).await?;
        Ok(Files { store: Arc::new(store) })
    }
}

impl Store {
    fn open(options: Options) -> Result<Store> {
        let Options { root, owner, qemu_img, qemu_img_limit, stall_limit, crash } = options;
        let group = owner.map(|owner| owner.gid);
        shelf::make_directory(&root, group)?;
        let lock = lock(&root)?;
        let images = Shelf::open(root.join("images"), group)?;
        let disks = Shelf::open(root.join("disks"), group)?;
        shelf::check_one_file_system(&images, &disks)?;
        shelf::sync_directory(&root)?;
        let qemu_img = QemuImg { program: qemu_img, owner, limit: qemu_img_limit };
        Ok(Store { root, images, disks, qemu_img, owner, stall_limit, crash, _lock: lock })
    }

    fn crash(&self, point: &'static str) -> Result<()> {
        self.crash.pass(point)
    }
}

#[async_trait]
impl Storage for Files {
    async fn put_image(
        &self,
        id: Uuid,
        declared: DiskFormat,
        bytes: ByteStream,
        limit_bytes: u64,
    ) -> Result<StoredImage> {
        let claim = self.store.images.claims.take(id).ok_or_else(|| image_is_busy(id))?;
        images::put(&self.store, claim, images::Upload { id, declared, bytes, limit_bytes }).await
    }

    async fn show_image(&self, id: Uuid) -> Result<StoredImage> {
        self.blocking(move |store| images::show(store, id)?.ok_or_else(|| no_image(id))).await
    }

    async fn list_images(&self) -> Result<Vec<StoredImage>> {
        self.blocking(images::list).await
    }

    async fn read_image(&self, id: Uuid) -> Result<(u64, ByteStream)> {
        let (size, file) = self.blocking(move |store| images::read(store, id)).await?;
        Ok((size, Box::new(tokio::fs::File::from_std(file))))
    }

    async fn delete_image(&self, id: Uuid) -> Result<()> {
        let claim = self.store.images.claims.take(id).ok_or_else(|| image_is_busy(id))?;
        self.blocking(move |store| store.images.remove(id, claim, &store.crash)).await
    }

    async fn ensure_disk(&self, id: Uuid, disk: &Disk) -> Result<DiskFile> {
        check_size(disk.size_bytes)?;
        let claim = self.store.disks.claims.wait(id).await;
        let disk = disk.clone();
        self.blocking(move |store| disks::ensure(store, id, &disk, claim)).await
    }

    async fn resize_disk(&self, id: Uuid, size_bytes: u64) -> Result<()> {
        check_size(size_bytes)?;
        let claim = self.store.disks.claims.wait(id).await;
        self.blocking(move |store| disks::resize(store, id, size_bytes, claim)).await
    }

    async fn remove_disk(&self, id: Uuid) -> Result<()> {
        let claim = self.store.disks.claims.wait(id).await;
        self.blocking(move |store| store.disks.remove(id, claim, &store.crash)).await
    }

    async fn list_disks(&self) -> Result<Vec<Uuid>> {
        self.blocking(|store| store.disks.ids()).await
    }

    async fn usage(&self) -> Result<Usage> {
        self.blocking(|store| {
            let root = store.root.display();
            let stat = nix::sys::statvfs::statvfs(&store.root)
                .context(format_args!("cannot ask how full {root} is"))?;
            let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
            Ok(Usage { total_bytes: bytes(stat.blocks()), free_bytes: bytes(stat.blocks_available()) })
        })
        .await
    }
}

impl Files {
    /// Runs file work where it may block. It goes on to its end even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        blocking(move || work(&store)).await
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("storage work broke off")?
}

/// The lock goes away with the process, however it ends.
fn lock(root: &Path) -> Result<Flock<File>> {
    let path = root.join("lock");
    let file = File::options().create(true).append(true).open(&path).at("cannot open", &path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        Error::unavailable("Another process works on the storage directory; end it first.")
            .because(format!("cannot lock {}: {error}", path.display()))
    })
}

/// Says what was done to which path, and turns a full disk into an error that tells what to do about it.
pub(crate) trait At<T> {
    fn at(self, what: &str, path: &Path) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, what: &str, path: &Path) -> Result<T> {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        self.map_err(|error| {
            let detail = format!("{what} {}: {error}", path.display());
            match error.kind() {
                StorageFull | QuotaExceeded => no_space(detail),
                _ => Error::internal(detail),
            }
        })
    }
}

fn no_space(detail: String) -> Error {
    Error::unavailable(
        "No space left on the storage of this node: free some by deleting images, servers or volumes, or have \
         the operator give it a larger disk.",
    )
    .because(detail)
}
