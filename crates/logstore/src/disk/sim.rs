//! A file system in memory that can lose power.
//!
//! Every effect is one step. [`Sim::crash_after`] lets the disk die after so many more; from then on every call
//! fails. [`Sim::reboot`] is what is found afterwards: what was synced, and of the rest whatever the dice say: each
//! write whole, torn at sectors, or not at all, in any order; each name there or not.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Access, Disk, DiskFile, Space};
use crate::lock;

const SECTOR: usize = 512;

/// Clones share the disk.
#[derive(Clone, Debug)]
pub struct Sim(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Names as they are, and as they are on the disk.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
    files: Vec<Content>,
    steps: u64,
    dies_at: Option<u64>,
    dead: bool,
    capacity: Option<u64>,
    locked: BTreeSet<PathBuf>,
    syncs_fail: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync.
    pending: Vec<Effect>,
}

#[derive(Clone, Debug)]
enum Effect {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Effect {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Effect::Size(size) => to.resize(*size, 0),
            Effect::Write(offset, bytes) => {
                if to.len() < offset + bytes.len() {
                    to.resize(offset + bytes.len(), 0);
                }
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Default for Sim {
    fn default() -> Sim {
        Sim::new()
    }
}

impl Sim {
    pub fn new() -> Sim {
        Sim(Arc::default())
    }

    /// How many effects there were.
    pub fn steps(&self) -> u64 {
        lock(&self.0).steps
    }

    /// The disk dies after so many more effects; the one that it dies in may be done in part.
    pub fn crash_after(&self, steps: u64) {
        let mut state = lock(&self.0);
        state.dies_at = Some(state.steps + steps);
    }

    pub fn is_dead(&self) -> bool {
        lock(&self.0).dead
    }

    /// How many bytes fit on the disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0).capacity = bytes;
    }

    /// Lets every sync fail, or no longer.
    pub fn fail_syncs(&self, fail: bool) {
        lock(&self.0).syncs_fail = fail;
    }

    /// The disk after the power came back. `dice` gives numbers below its argument.
    #[must_use]
    pub fn reboot(&self, mut dice: impl FnMut(u64) -> u64) -> Sim {
        let state = lock(&self.0);
        let files: Vec<Content> = state
            .files
            .iter()
            .map(|file| {
                let content = survivors(file, &mut dice);
                Content { durable: content.clone(), now: content, pending: Vec::new() }
            })
            .collect();
        let mut names = state.durable_names.clone();
        for (name, file) in &state.names {
            if !names.contains_key(name) && dice(2) == 0 {
                names.insert(name.clone(), *file);
            }
        }
        for name in state.durable_names.keys() {
            if !state.names.contains_key(name) && dice(2) == 0 {
                names.remove(name);
            }
        }
        Sim(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            directories: state.directories.clone(),
            files,
            capacity: state.capacity,
            ..State::default()
        })))
    }

    /// All files with their sizes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = lock(&self.0);
        state.names.iter().map(|(name, file)| (name.clone(), state.files[*file].now.len() as u64)).collect()
    }

    /// Flips a bit, as a failing disk does. Nothing if it is not there.
    pub fn flip(&self, path: &Path, offset: u64, bit: u8) {
        let mut state = lock(&self.0);
        let Some(file) = state.names.get(path).copied() else { return };
        let content = &mut state.files[file];
        for bytes in [&mut content.now, &mut content.durable] {
            if let Some(byte) = usize::try_from(offset).ok().and_then(|offset| bytes.get_mut(offset)) {
                *byte ^= 1 << (bit & 7);
            }
        }
    }
}

/// What is left of a file: the synced content, and any part of what came later.
fn survivors(file: &Content, dice: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let mut content = file.durable.clone();
    // Often all or nothing, as a prefix; else each for itself.
    let mode = dice(4);
    let prefix = dice(file.pending.len() as u64 + 1) as usize;
    for (index, effect) in file.pending.iter().enumerate() {
        let keep = match mode {
            0 => true,
            1 => index < prefix,
            _ => dice(3) != 0,
        };
        let torn = mode != 0 && dice(3) == 0;
        match effect {
            Effect::Write(offset, bytes) if keep && torn => {
                for (start, end) in sectors(*offset, bytes.len()) {
                    if dice(2) == 0 {
                        Effect::Write(offset + start, bytes[start..end].to_vec()).apply(&mut content);
                    }
                }
            }
            effect if keep => effect.apply(&mut content),
            _ => {}
        }
    }
    content
}

/// The parts of a write that reach the disk as a whole, relative to its start.
fn sectors(offset: usize, len: usize) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < len {
        let end = len.min(start + SECTOR - (offset + start) % SECTOR);
        parts.push((start, end));
        start = end;
    }
    parts
}

fn dead() -> io::Error {
    io::Error::other("the disk is dead")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    /// One more effect. The last one is recorded and fails all the same: nobody knows whether it happened.
    fn step(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.steps += 1;
        if self.dies_at.is_some_and(|at| self.steps > at) {
            self.dead = true;
        }
        Ok(self.dead)
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.len() as u64).sum()
    }

    fn room_for(&self, more: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more as u64 > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn effect(&mut self, file: usize, effect: Effect) -> io::Result<()> {
        self.alive()?;
        let content = &self.files[file];
        let size = match &effect {
            Effect::Write(offset, bytes) => content.now.len().max(offset + bytes.len()),
            Effect::Size(size) => *size,
        };
        self.room_for(size.saturating_sub(content.now.len()))?;
        let last = self.step()?;
        effect.apply(&mut self.files[file].now);
        self.files[file].pending.push(effect);
        if last { Err(dead()) } else { Ok(()) }
    }
}

impl Disk for Sim {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.alive()?;
        state.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = lock(&self.0);
        state.alive()?;
        if !state.directories.contains(path) {
            return Err(missing());
        }
        let all = state.names.keys().chain(&state.directories);
        let within = all.filter(|name| name.parent() == Some(path));
        Ok(within.filter_map(|name| name.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = lock(&self.0);
        state.alive()?;
        let file = match (state.names.get(path).copied(), access) {
            (Some(_), Access::Create | Access::CreateLarge) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(file), _) => file,
            (None, Access::Create | Access::CreateLarge) => {
                if !path.parent().is_some_and(|parent| state.directories.contains(parent)) {
                    return Err(missing());
                }
                state.room_for(1)?;
                let last = state.step()?;
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(path.to_owned(), file);
                if last {
                    return Err(dead());
                }
                file
            }
            (None, _) => return Err(missing()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.alive()?;
        if !state.names.contains_key(path) {
            return Err(missing());
        }
        let last = state.step()?;
        state.names.remove(path);
        if last { Err(dead()) } else { Ok(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        state.alive()?;
        let last = state.step()?;
        let file = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), file);
        if last { Err(dead()) } else { Ok(()) }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.0);
        if state.step()? {
            return Err(dead());
        }
        let state = &mut *state;
        state.durable_names.retain(|name, _| name.parent() != Some(path));
        let now = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        state.durable_names.extend(now.map(|(name, file)| (name.clone(), *file)));
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = lock(&self.0);
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(Space { total, free: total.saturating_sub(state.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !lock(&self.0).locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

struct SimLock {
    disk: Sim,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        lock(&self.disk.0).locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Sim,
    file: usize,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let state = lock(&self.disk.0);
        state.alive()?;
        Ok(state.files[self.file].now.len() as u64)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        lock(&self.disk.0).effect(self.file, Effect::Size(size))
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        if self.size()? < size { self.set_size(size) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = lock(&self.disk.0);
        state.alive()?;
        let content = &state.files[self.file].now;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(content.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        lock(&self.disk.0).effect(self.file, Effect::Write(offset, bytes.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.0);
        if state.syncs_fail {
            return Err(io::Error::other("the disk cannot sync"));
        }
        if state.step()? {
            return Err(dead());
        }
        let content = &mut state.files[self.file];
        for effect in std::mem::take(&mut content.pending) {
            effect.apply(&mut content.durable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let sim = Sim::new();
        let (directory, path) = (Path::new("/d"), Path::new("/d/f"));
        sim.create_directory(directory).unwrap();
        let file = sim.open(path, Access::Create).unwrap();
        file.write_at(0, &[1; 2000]).unwrap();
        file.sync().unwrap();
        assert!(sim.reboot(|_| 1).files().is_empty(), "the name was not synced");
        sim.sync_directory(directory).unwrap();
        file.write_at(0, &[2; 2000]).unwrap();
        // All kept; and each torn at sectors, with every second sector lost.
        for (first, expected) in [(0, [2, 2]), (2, [1, 2])] {
            let mut rolls = [first, 0, 1, 0, 1, 0].into_iter();
            let after = sim.reboot(|_| rolls.next().unwrap_or(0));
            let mut bytes = [0; 2000];
            after.open(path, Access::Read).unwrap().read_at(0, &mut bytes).unwrap();
            assert_eq!([bytes[0], bytes[600]], expected);
        }
    }

    #[test]
    fn a_dead_disk_does_nothing_more() {
        let sim = Sim::new();
        sim.create_directory(Path::new("/d")).unwrap();
        sim.crash_after(1);
        let file = sim.open(Path::new("/d/f"), Access::Create).unwrap();
        file.write_at(0, b"x").unwrap_err();
        assert!(sim.is_dead());
        file.sync().unwrap_err();
        sim.list(Path::new("/d")).unwrap_err();
    }
}
