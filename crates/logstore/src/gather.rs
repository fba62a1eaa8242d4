//! What a large payload is written from, past the page cache: whoever writes it seldom reads it soon, and the copy into the
//! cache and the memory for it cost more than the disk.

use std::io;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disk::DiskFile;

/// What is written at once.
pub(crate) const LENGTH: usize = 1 << 20;
/// Memory and places in the file that go past the page cache are multiples of this: the largest sector there is.
const ALIGN: usize = 4096;

/// Gathers bytes that follow each other until there are enough of them to be written.
pub(crate) struct Gather {
    bytes: Vec<u8>,
    /// Where in the memory the first multiple of [`ALIGN`] is.
    skip: usize,
    filled: usize,
    /// Where in the file they belong.
    offset: u64,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    permit: OwnedSemaphorePermit,
}

impl Gather {
    /// `None` if there is no memory for it.
    pub(crate) fn new(memory: &std::sync::Arc<Semaphore>) -> Option<Gather> {
        let permit = memory.clone().try_acquire_many_owned((LENGTH + ALIGN) as u32).ok()?;
        let bytes = vec![0; LENGTH + ALIGN];
        let skip = bytes.as_ptr().align_offset(ALIGN);
        Some(Gather { bytes, skip, filled: 0, offset: 0, permit })
    }

    fn gathered(&self, len: usize) -> &[u8] {
        self.bytes.get(self.skip..self.skip + len).unwrap_or_default()
    }

    /// Takes bytes, and writes when there are enough.
    pub(crate) fn push(&mut self, file: &dyn DiskFile, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(LENGTH - self.filled));
            let start = self.skip + self.filled;
            if let Some(place) = self.bytes.get_mut(start..start + now.len()) {
                place.copy_from_slice(now);
            }
            self.filled += now.len();
            bytes = later;
            if self.filled == LENGTH {
                file.write_past_cache(self.offset, self.gathered(LENGTH))?;
                self.offset += LENGTH as u64;
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// Writes what is left. Nothing can be pushed behind it.
    pub(crate) fn finish(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let whole = self.filled - self.filled % ALIGN;
        if whole > 0 {
            file.write_past_cache(self.offset, self.gathered(whole))?;
        }
        // The last part of a sector goes the other way, as what follows it does.
        let rest = self.gathered(self.filled).get(whole..).unwrap_or_default();
        file.write_at(self.offset + whole as u64, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Access, Disk, Real, Sim};

    #[test]
    fn what_is_gathered_gets_to_its_place_on_every_disk() {
        let directory = tempfile::tempdir().unwrap();
        let sim = Sim::new();
        sim.create_directory(Path::new("/d")).unwrap();
        let memory = Arc::new(Semaphore::new(LENGTH + ALIGN));
        for (disk, root) in [(&sim as &dyn Disk, Path::new("/d")), (&Real, directory.path())] {
            for len in [0, 1, ALIGN - 1, ALIGN, LENGTH - 1, LENGTH, LENGTH + 1, 3 * LENGTH + 5 * ALIGN + 7] {
                let file = disk.open(&root.join(len.to_string()), Access::CreateLarge).unwrap();
                let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
                let mut gather = Gather::new(&memory).unwrap();
                assert!(Gather::new(&memory).is_none(), "its memory counts");
                for piece in bytes.chunks(65_552) {
                    gather.push(file.as_ref(), piece).unwrap();
                }
                gather.finish(file.as_ref()).unwrap();
                file.write_at(len as u64, b"end").unwrap();
                let mut found = vec![0; len + 3];
                file.read_at(0, &mut found).unwrap();
                assert!(found[..len] == bytes && found.ends_with(b"end"), "{len}");
            }
        }
    }
}
