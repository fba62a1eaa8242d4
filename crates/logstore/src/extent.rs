//! Payloads in files of their own: their bytes, then a checksum of each block, then what the file is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanse_core::Result;

use crate::buffers::Buffer;
use crate::disk::{Access, Disk, DiskFile};
use crate::payload::{block_crc, blocks};
use crate::wire::{Put, Reader};
use crate::{BLOCK, PayloadId, damaged, disk_error};

const MAGIC: &[u8; 8] = b"HANSEXT1";
/// The length of what stands at the very end.
const TRAILER: usize = 8 + 16 + 8 + 4 + 4;

#[derive(Debug)]
pub(crate) struct Extents {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl Extents {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path) -> Extents {
        Extents { disk, directory: root.join("extents") }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The random end of the id spreads the files over 256 directories.
    pub(crate) fn path(&self, id: PayloadId) -> PathBuf {
        self.directory.join(format!("{:02x}", id.as_bytes()[15])).join(id.to_string())
    }

    pub(crate) fn create(&self, id: PayloadId) -> Result<Arc<dyn DiskFile>> {
        let path = self.path(id);
        let parent = path.parent().unwrap_or(&self.directory);
        self.disk.create_directory(parent).map_err(|error| disk_error("make", parent, error))?;
        self.disk.open(&path, Access::CreateLarge).map_err(|error| disk_error("make", &path, error))
    }

    /// Writes what belongs behind the bytes, and returns once everything is on the disk.
    pub(crate) fn finish(&self, id: PayloadId, file: &dyn DiskFile, len: u64, crcs: &[u32]) -> Result<()> {
        let path = self.path(id);
        let mut end = Vec::with_capacity(4 * crcs.len() + TRAILER);
        crcs.iter().for_each(|crc| end.put_u32(*crc));
        let table = crc32c::crc32c(&end);
        end.put(&trailer(id, len, table));
        let parent = path.parent().unwrap_or(&self.directory);
        file.write_at(len, &end)
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_directory(parent))
            .map_err(|error| disk_error("write", &path, error))
    }

    /// One that is gone is fine.
    pub(crate) fn remove(&self, id: PayloadId) -> Result<()> {
        let path = self.path(id);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk_error("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Everything there is, also what is only half written.
    pub(crate) fn list(&self) -> Result<Vec<PayloadId>> {
        let list = |path: &Path| self.disk.list(path).map_err(|error| disk_error("list", path, error));
        let mut ids = Vec::new();
        for directory in list(&self.directory)? {
            ids.extend(
                list(&self.directory.join(directory))?.iter().filter_map(|name| PayloadId::parse(name)),
            );
        }
        Ok(ids)
    }

    pub(crate) fn open(&self, id: PayloadId, len: u64) -> Result<Extent> {
        let path = self.path(id);
        let file = match self.disk.open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!("the file of payload {id} is missing")));
            }
            file => file.map_err(|error| disk_error("open", &path, error))?,
        };
        let mut end = [0; TRAILER];
        let at = len + 4 * blocks(len);
        let read = file.size().and_then(|size| {
            if size == at + TRAILER as u64 {
                file.read_at(at, &mut end)
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        });
        let table = read.ok().and_then(|()| parse_trailer(&end, id, len));
        let table = table.ok_or_else(|| damaged(format!("the end of the file of payload {id}")))?;
        Ok(Extent { id, len, file, table })
    }
}

fn trailer(id: PayloadId, len: u64, table: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER);
    bytes.put(MAGIC);
    bytes.put(id.as_bytes());
    bytes.put_u64(len);
    bytes.put_u32(table);
    bytes.put_u32(crc32c::crc32c(&bytes));
    bytes
}

fn parse_trailer(bytes: &[u8], id: PayloadId, len: u64) -> Option<u32> {
    let table = Reader(bytes.get(32..36)?).u32().ok()?;
    (trailer(id, len, table) == bytes).then_some(table)
}

/// An extent that is open for reading; it stays readable when its file is removed.
#[derive(Debug)]
pub(crate) struct Extent {
    id: PayloadId,
    len: u64,
    file: Arc<dyn DiskFile>,
    table: u32,
}

impl Extent {
    fn unreadable(&self, error: &io::Error) -> hanse_core::Error {
        damaged(format!("payload {} cannot be read: {error}", self.id))
    }

    /// The sound bytes of whole blocks from `first` on, `count` of them or up to the end.
    pub(crate) fn read(&self, first: u64, count: u64) -> Result<Buffer> {
        let start = first * BLOCK as u64;
        let end = ((first + count) * BLOCK as u64).min(self.len);
        let mut bytes = Buffer::of(end.saturating_sub(start) as usize);
        let mut sums = vec![0; 4 * bytes.len().div_ceil(BLOCK)];
        self.file.read_at(start, &mut bytes).map_err(|error| self.unreadable(&error))?;
        self.file.read_at(self.len + 4 * first, &mut sums).map_err(|error| self.unreadable(&error))?;
        for (n, (block, sum)) in bytes.chunks(BLOCK).zip(sums.chunks(4)).enumerate() {
            if block_crc(self.id, first + n as u64, block).to_le_bytes() != sum {
                return Err(damaged(format!("block {} of payload {}", first + n as u64, self.id)));
            }
        }
        Ok(bytes)
    }

    /// Whether the table of checksums is as it was written.
    pub(crate) fn check_table(&self) -> Result<()> {
        let mut sums = vec![0; 4 * blocks(self.len) as usize];
        self.file.read_at(self.len, &mut sums).map_err(|error| self.unreadable(&error))?;
        if crc32c::crc32c(&sums) != self.table {
            return Err(damaged(format!("the checksums of payload {}", self.id)));
        }
        Ok(())
    }
}
