//! What the store needs of a file system. [`Real`] is one; [`Sim`] keeps it in memory and can crash.

mod sim;

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

pub use sim::Sim;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    /// The file must not be there yet.
    Create,
    /// The same, for one that is written past the page cache.
    CreateLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

/// A file system. What was written is durable after [`DiskFile::sync`]; that a file is there, is renamed or is gone
/// is durable after [`Disk::sync_directory`].
pub trait Disk: Send + Sync + Debug {
    /// Makes the directory and those above it, durably. One that is there is fine.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes a lock that ends with what is returned, or with the process.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

pub trait DiskFile: Send + Sync + Debug {
    fn size(&self) -> io::Result<u64>;
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes sure that there is room up to this size, and makes the file that long.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// Fills the buffer or fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Fills the buffer if that needs no waiting for the disk, and tells whether it did.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, buffer).map(|()| true)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes past the page cache, if the disk can: place, length and memory are multiples of 4 KiB, and nothing else is
    /// written to the same 4 KiB.
    fn write_past_cache(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)
    }
    /// Returns once everything written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub struct Real;

impl Disk for Real {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_directory(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_directory(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        // A name that is not Unicode is none of ours.
        fs::read_dir(path)?
            .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let write = access != Access::Read;
        let create = matches!(access, Access::Create | Access::CreateLarge);
        let file = OpenOptions::new().read(true).write(write).create_new(create).mode(0o600).open(path)?;
        let past_cache = (access == Access::CreateLarge)
            // Not every file system can.
            .then(|| OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok())
            .flatten();
        Ok(Arc::new(RealFile { file, past_cache }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = nix::sys::statvfs::statvfs(path)?;
        let unit = stat.fragment_size();
        Ok(Space { total: stat.blocks() * unit, free: stat.blocks_available() * unit })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::Error(error) => error,
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        })?;
        Ok(Box::new(file))
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    past_cache: Option<File>,
}

impl RealFile {
    /// Begins to bring a part to the disk, so that there is less to wait for in [`DiskFile::sync`]. Promises nothing.
    fn hurry(&self, offset: u64, len: usize) -> io::Result<()> {
        let part = (libc::off64_t::try_from(offset), libc::off64_t::try_from(len));
        let (Ok(offset), Ok(len)) = part else { return Ok(()) };
        // SAFETY: the descriptor is that of an open file; the call takes numbers only.
        let begun =
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
        match nix::errno::Errno::result(begun) {
            // Not every file system can.
            Err(nix::errno::Errno::ENOSYS | nix::errno::Errno::EINVAL | nix::errno::Errno::ESPIPE)
            | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let size = i64::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        match nix::fcntl::fallocate(&self.file, nix::fcntl::FallocateFlags::empty(), 0, size) {
            Err(nix::errno::Errno::EOPNOTSUPP) => self.file.set_len(size.unsigned_abs()),
            result => Ok(result?),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let Ok(offset) = libc::off64_t::try_from(offset) else { return Ok(false) };
        let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: the descriptor is that of an open file, and `part` is all of `buffer`, which nobody else has meanwhile.
        let read =
            unsafe { libc::preadv2(self.file.as_raw_fd(), &raw const part, 1, offset, libc::RWF_NOWAIT) };
        // Not every file system can, and a part is as good as nothing: it is read again.
        Ok(usize::try_from(read).is_ok_and(|read| read == buffer.len()))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_past_cache(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.past_cache.as_ref().map(|file| file.write_all_at(bytes, offset)) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            // The file system has other sectors, or cannot.
            Some(Err(_)) | None => {
                self.write_at(offset, bytes)?;
                self.hurry(offset, bytes.len())
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
