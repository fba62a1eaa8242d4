//! How far the log is known to be on the disk, written beside it at each checkpoint. The index says that too; this is for
//! when the index is damaged, so that damage at the very end of the log is not taken for a torn write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hanse_core::Result;

use crate::disk::{Access, Disk, DiskFile};
use crate::disk_error;
use crate::log::Position;
use crate::wire::{Malformed, Put, Reader};

const FILE: &str = "mark";
const MAGIC: u32 = 0x4b4d_4c48;
/// Two slots in turns, each a page of its own: one is always whole.
const SLOT: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Mark {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    turn: AtomicU64,
}

impl Mark {
    /// Opens the mark, or makes it, and says where it stands.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Result<(Mark, Position)> {
        let path = directory.join(FILE);
        let open = || match disk.open(&path, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.open(&path, Access::Create)?;
                disk.sync_directory(directory)?;
                Ok(file)
            }
            file => file,
        };
        let file = open().map_err(|error| disk_error("open", &path, error))?;
        let read = |slot| {
            let mut bytes = [0; 48];
            file.read_at(slot * SLOT, &mut bytes).ok()?;
            decode(&bytes).ok()
        };
        let newest = [read(0), read(1)].into_iter().flatten().max_by_key(|(turn, _)| *turn);
        let (turn, position) = newest.unwrap_or_default();
        Ok((Mark { file, path, turn: AtomicU64::new(turn) }, position))
    }

    pub(crate) fn set(&self, position: Position) -> Result<()> {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        self.file
            .write_at((turn % 2) * SLOT, &encode(turn, position))
            .and_then(|()| self.file.sync())
            .map_err(|error| disk_error("write", &self.path, error))
    }
}

fn encode(turn: u64, position: Position) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    bytes.put_u32(MAGIC);
    for field in [turn, position.segment, position.offset, position.batch, position.seq] {
        bytes.put_u64(field);
    }
    bytes.put_u32(crc32c::crc32c(&bytes));
    bytes
}

fn decode(bytes: &[u8]) -> Result<(u64, Position), Malformed> {
    let mut reader = Reader(bytes);
    let _magic = reader.u32()?;
    let turn = reader.u64()?;
    let position =
        Position { segment: reader.u64()?, offset: reader.u64()?, batch: reader.u64()?, seq: reader.u64()? };
    if encode(turn, position) == bytes { Ok((turn, position)) } else { Err(Malformed) }
}
