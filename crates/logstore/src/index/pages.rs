//! The file of the index, with a checksum of each page of 4 KiB.
//!
//! redb trusts what it reads; here a bit that the disk flipped is an error instead. Checksums lie in a page before each
//! group of 1,024. redb never writes to a page that its last durable state needs, so a torn page, or a torn page of
//! checksums of which only some entries changed, is one that nobody reads after a crash. The first page is the exception:
//! it has checksums of its own and none here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use crate::disk::{Access, Disk, DiskFile};
use crate::lock;

const PAGE: u64 = 4096;
const GROUP: u64 = PAGE / 4;

#[derive(Debug)]
pub(crate) struct Pages {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Logical.
    len: u64,
    groups: BTreeMap<u64, Group>,
}

#[derive(Debug)]
struct Group {
    sums: Vec<u8>,
    changed: bool,
}

/// Where a logical page stands in the file.
fn place(page: u64) -> u64 {
    (page + page / GROUP + 1) * PAGE
}

/// Where the checksums of a group stand.
fn sums_at(group: u64) -> u64 {
    group * (GROUP + 1) * PAGE
}

impl Pages {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Pages> {
        let file = match disk.open(path, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.open(path, Access::Create)?;
                disk.sync_directory(path.parent().unwrap_or(Path::new(".")))?;
                file
            }
            file => file?,
        };
        let pages = file.size()? / PAGE;
        let full = pages / (GROUP + 1) * GROUP;
        let rest = (pages % (GROUP + 1)).saturating_sub(1);
        let state = State { len: (full + rest) * PAGE, groups: BTreeMap::new() };
        Ok(Pages { file, state: Mutex::new(state) })
    }

    /// The checksum of a page, in the group that is loaded if need be.
    fn sum<'s>(&self, state: &'s mut State, page: u64) -> io::Result<(&'s mut Group, usize)> {
        let number = page / GROUP;
        let group = match state.groups.entry(number) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let mut sums = vec![0; PAGE as usize];
                if sums_at(number) + PAGE <= self.file.size()? {
                    self.file.read_at(sums_at(number), &mut sums)?;
                }
                entry.insert(Group { sums, changed: false })
            }
        };
        Ok((group, (page % GROUP) as usize * 4))
    }

    /// Reads a page without holding up others; only one that does not fit its checksum is looked at again when nobody
    /// writes.
    fn read_page(&self, page: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(place(page), buffer)?;
        if page == 0 || self.fits(&mut lock(&self.state), page, buffer)? {
            return Ok(());
        }
        let mut state = lock(&self.state);
        self.file.read_at(place(page), buffer)?;
        if self.fits(&mut state, page, buffer)? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("page {page} is damaged")))
    }

    fn fits(&self, state: &mut State, page: u64, bytes: &[u8]) -> io::Result<bool> {
        let (group, at) = self.sum(state, page)?;
        let expected = &group.sums[at..at + 4];
        // A page that was never written is a hole.
        Ok(checksum(page, bytes) == expected || (expected == [0; 4] && bytes.iter().all(|byte| *byte == 0)))
    }

    /// Writes a whole page that is not the first. The lock is held, so that nobody sees it without its checksum.
    fn write_page(&self, state: &mut State, page: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(place(page), bytes)?;
        let (group, at) = self.sum(state, page)?;
        group.sums[at..at + 4].copy_from_slice(&checksum(page, bytes));
        group.changed = true;
        Ok(())
    }
}

fn checksum(page: u64, bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(&page.to_le_bytes()), bytes).to_le_bytes()
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.state).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let len = lock(&self.state).len;
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = [0; PAGE as usize];
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let (page, within) = (at / PAGE, (at % PAGE) as usize);
            let part = (out.len() - done).min(PAGE as usize - within);
            if part == PAGE as usize {
                self.read_page(page, &mut out[done..done + part])?;
            } else {
                self.read_page(page, &mut buffer)?;
                out[done..done + part].copy_from_slice(&buffer[within..within + part]);
            }
            done += part;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let pages = len.div_ceil(PAGE);
        let size = if pages == 0 { 0 } else { place(pages - 1) + PAGE };
        // Blocks that are allotted now cannot be missing later, in the middle of a commit.
        if len > state.len {
            self.file.allocate(size)?
        } else {
            self.file.set_size(size)?
        }
        // What is beyond the end must read as zeros when the file grows again.
        let first = pages;
        let last = state.len.div_ceil(PAGE);
        for page in first..last {
            let (group, at) = self.sum(&mut state, page)?;
            group.sums[at..at + 4].fill(0);
            group.changed = true;
        }
        let groups = pages.div_ceil(GROUP);
        state.groups.retain(|number, _| *number < groups);
        state.len = pages * PAGE;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        for (number, group) in &mut state.groups {
            if group.changed {
                self.file.write_at(sums_at(*number), &group.sums)?;
                group.changed = false;
            }
        }
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (page, within) = (at / PAGE, (at % PAGE) as usize);
            let part = (data.len() - done).min(PAGE as usize - within);
            let bytes = &data[done..done + part];
            if page == 0 {
                self.file.write_at(place(0) + within as u64, bytes)?;
            } else if part == PAGE as usize {
                self.write_page(&mut lock(&self.state), page, bytes)?;
            } else {
                let mut whole = [0; PAGE as usize];
                self.read_page(page, &mut whole)?;
                whole[within..within + part].copy_from_slice(bytes);
                self.write_page(&mut lock(&self.state), page, &whole)?;
            }
            done += part;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Sim;

    fn fresh() -> (Sim, Pages) {
        let sim = Sim::new();
        sim.create_directory(Path::new("/d")).unwrap();
        let pages = Pages::open(&sim, Path::new("/d/i")).unwrap();
        (sim, pages)
    }

    #[test]
    fn what_is_written_is_read_across_pages_and_groups() {
        let (sim, pages) = fresh();
        pages.set_len(PAGE * (GROUP + 3)).unwrap();
        let bytes: Vec<u8> = (0..PAGE * 3).map(|n| (n % 251) as u8).collect();
        for offset in [0, 100, PAGE, PAGE * (GROUP - 1), PAGE * (GROUP - 1) + 9] {
            pages.write(offset, &bytes).unwrap();
            let mut read = vec![0; bytes.len()];
            pages.read(offset, &mut read).unwrap();
            assert!(read == bytes, "at {offset}");
        }
        pages.sync_data().unwrap();
        let again = Pages::open(&sim, Path::new("/d/i")).unwrap();
        assert_eq!(again.len().unwrap(), PAGE * (GROUP + 3));
        let mut read = vec![0; bytes.len()];
        again.read(PAGE * (GROUP - 1) + 9, &mut read).unwrap();
        assert!(read == bytes);
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let (sim, pages) = fresh();
        pages.set_len(PAGE * 4).unwrap();
        pages.write(PAGE, &[5; 4096]).unwrap();
        pages.sync_data().unwrap();
        sim.flip(Path::new("/d/i"), place(1) + 77, 3);
        let error = pages.read(PAGE, &mut [0; 4096]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros() {
        let (_, pages) = fresh();
        pages.set_len(PAGE * 4).unwrap();
        pages.write(PAGE * 3, &[5; 4096]).unwrap();
        pages.set_len(PAGE * 2).unwrap();
        pages.set_len(PAGE * 4).unwrap();
        let mut read = [1; 4096];
        pages.read(PAGE * 3, &mut read).unwrap();
        assert_eq!(read, [0; 4096]);
    }
}
