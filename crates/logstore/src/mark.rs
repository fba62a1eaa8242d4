//! How far the log is known to be on the disk, written beside it at each checkpoint. The index says that too; this is for
//! when the index is damaged, so that damage at the very end of the log is not taken for a torn write. After an orderly end
//! it also saves reading the blank rest of the newest segment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hanse_core::Result;

use crate::disk::{Access, Disk, DiskFile};
use crate::disk_error;
use crate::log::Position;
use crate::wire::{Malformed, Put, Reader};

/// What the mark says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    /// The log was on the disk at least up to here.
    pub position: Position,
    /// The store was closed, so there is nothing behind it.
    pub closed: bool,
}

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
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Result<(Mark, Synced)> {
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
            let mut bytes = [0; LEN];
            file.read_at(slot * SLOT, &mut bytes).ok()?;
            decode(&bytes).ok()
        };
        let newest = [read(0), read(1)].into_iter().flatten().max_by_key(|(turn, _)| *turn);
        let (turn, synced) = newest.unwrap_or_default();
        Ok((Mark { file, path, turn: AtomicU64::new(turn) }, synced))
    }

    pub(crate) fn set(&self, synced: Synced) -> Result<()> {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        self.file
            .write_at((turn % 2) * SLOT, &encode(turn, synced))
            .and_then(|()| self.file.sync())
            .map_err(|error| disk_error("write", &self.path, error))
    }
}

const LEN: usize = 49;

fn encode(turn: u64, synced: Synced) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.put_u32(MAGIC);
    let Position { segment, offset, batch, seq } = synced.position;
    [turn, segment, offset, batch, seq].iter().for_each(|field| bytes.put_u64(*field));
    bytes.put_u8(u8::from(synced.closed));
    bytes.put_u32(crc32c::crc32c(&bytes));
    bytes
}

fn decode(bytes: &[u8]) -> Result<(u64, Synced), Malformed> {
    let mut reader = Reader(bytes);
    let _magic = reader.u32()?;
    let turn = reader.u64()?;
    let position =
        Position { segment: reader.u64()?, offset: reader.u64()?, batch: reader.u64()?, seq: reader.u64()? };
    let synced = Synced { position, closed: reader.u8()? == 1 };
    if encode(turn, synced) == bytes { Ok((turn, synced)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Sim;

    #[test]
    fn the_newest_whole_slot_counts() {
        let sim = Sim::new();
        sim.create_directory(Path::new("/d")).unwrap();
        let at =
            |offset| Synced { position: Position { segment: 1, offset, batch: 2, seq: 3 }, closed: false };
        let (mark, synced) = Mark::open(&sim, Path::new("/d")).unwrap();
        assert_eq!(synced, Synced::default());
        mark.set(at(10)).unwrap();
        mark.set(Synced { closed: true, ..at(20) }).unwrap();
        assert_eq!(Mark::open(&sim, Path::new("/d")).unwrap().1, Synced { closed: true, ..at(20) });
        sim.flip(Path::new("/d/mark"), 12, 0);
        assert_eq!(Mark::open(&sim, Path::new("/d")).unwrap().1, at(10));
    }
}
