//! Copies of a whole store: taken while it is written to, and put back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanse_core::{Context, Error, Result};
use redb::ReadableTable;

use crate::check::{Repair, Report, check};
use crate::disk::{Access, Disk};
use crate::extent::Extents;
use crate::index::{Home, Payload};
use crate::log::Segments;
use crate::store::Core;
use crate::wire::Put;
use crate::writer::Frozen;
use crate::{Options, PayloadId, damaged, disk_error, index_error};

/// Stands in a copy that is whole.
const SEAL: &str = "complete";
const PIECE: usize = 1 << 20;

/// What a copy holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub segments: u64,
    pub extents: u64,
    pub bytes: u64,
}

/// Writes the state of one moment to a directory, which must be empty or not there: the log up to then, and the files of
/// all payloads that it names, checked on the way. It holds no index; that is made when it is put back.
pub(crate) fn backup(core: &Arc<Core>, target: &Path) -> Result<Copied> {
    if let Some(failure) = core.failure() {
        return Err(failure);
    }
    let disk = core.options.disk.as_ref();
    require_empty(disk, target)?;
    // The view keeps everything that is copied from being compacted or removed.
    let Frozen { position, stats, view } = core.checkpoint()?;
    let segments = Segments::new(core.options.disk.clone(), target);
    let extents = Extents::new(core.options.disk.clone(), target);
    for directory in [segments.directory(), extents.directory()] {
        disk.create_directory(directory).map_err(|error| disk_error("make", directory, error))?;
    }
    let mut copied = Copied::default();
    for segment in core.segments.list()?.into_iter().filter(|segment| *segment <= position.segment) {
        let end = match stats.get(&segment) {
            Some(_) if segment == position.segment => position.offset,
            Some(stat) => stat.end,
            None => continue,
        };
        copied.bytes += copy(disk, &core.segments.path(segment), &segments.path(segment), Some(end))?;
        copied.segments += 1;
    }
    for item in view.snapshot().payloads.iter().map_err(index_error)? {
        let (key, value) = item.map_err(index_error)?;
        let payload = Payload::decode(value.value())?;
        let id = <[u8; 16]>::try_from(key.value()).map_err(|_| damaged("index: the name of a payload"))?;
        if payload.home == Home::Extent {
            let id = PayloadId::from_bytes(id);
            crate::scrub::check_payload(&core.segments, &core.extents, id, &payload, |_| Ok(()))?;
            let to = extents.path(id);
            let parent = to.parent().unwrap_or(target);
            disk.create_directory(parent).map_err(|error| disk_error("make", parent, error))?;
            copied.bytes += copy(disk, &core.extents.path(id), &to, None)?;
            disk.sync_directory(parent).map_err(|error| disk_error("sync", parent, error))?;
            copied.extents += 1;
        }
    }
    disk.sync_directory(segments.directory())
        .map_err(|error| disk_error("sync", segments.directory(), error))?;
    seal(disk, target, copied)?;
    Ok(copied)
}

/// Puts a copy into a directory that is empty or not there, makes its index and checks all of it.
///
/// # Errors
/// 409 if the copy is not whole or the directory is not empty; 500 if the disk fails.
pub fn restore(copy_of: &Path, target: &Path, options: &Options) -> Result<Report> {
    let disk = options.disk.as_ref();
    let sealed = disk.open(&copy_of.join(SEAL), Access::Read).and_then(|file| {
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
        file.read_at(0, &mut bytes).map(|()| bytes)
    });
    let Ok(sealed) = sealed else {
        return Err(Error::conflict(format!("{} is not a whole copy of a storage.", copy_of.display())));
    };
    require_empty(disk, target)?;
    let from = (Segments::new(options.disk.clone(), copy_of), Extents::new(options.disk.clone(), copy_of));
    let to = (Segments::new(options.disk.clone(), target), Extents::new(options.disk.clone(), target));
    for directory in [to.0.directory(), to.1.directory()] {
        disk.create_directory(directory).map_err(|error| disk_error("make", directory, error))?;
    }
    let mut copied = Copied::default();
    for segment in from.0.list()? {
        copied.bytes += copy(disk, &from.0.path(segment), &to.0.path(segment), None)?;
        copied.segments += 1;
    }
    disk.sync_directory(to.0.directory()).map_err(|error| disk_error("sync", to.0.directory(), error))?;
    for id in from.1.list()? {
        let path = to.1.path(id);
        let parent = path.parent().unwrap_or(target);
        disk.create_directory(parent).map_err(|error| disk_error("make", parent, error))?;
        copied.bytes += copy(disk, &from.1.path(id), &path, None)?;
        disk.sync_directory(parent).map_err(|error| disk_error("sync", parent, error))?;
        copied.extents += 1;
    }
    if sealed != seal_bytes(copied) {
        return Err(Error::conflict(format!(
            "{} does not hold what it held when it was made.",
            copy_of.display()
        )));
    }
    check(target, options, Repair::default())
}

fn require_empty(disk: &dyn Disk, directory: &Path) -> Result<()> {
    match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(names) if names.is_empty() => Ok(()),
        Ok(_) => Err(Error::conflict(format!("{} is not empty.", directory.display()))),
        Err(error) => Err(disk_error("list", directory, error)),
    }
}

/// Copies a file, or the beginning of it, and syncs it.
fn copy(disk: &dyn Disk, from: &Path, to: &Path, len: Option<u64>) -> Result<u64> {
    let run = || -> io::Result<u64> {
        let source = disk.open(from, Access::Read)?;
        let len = len.map_or_else(|| source.size(), Ok)?;
        let target = disk.open(to, Access::Create)?;
        let mut buffer = vec![0; PIECE];
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..(len - done).min(PIECE as u64) as usize];
            source.read_at(done, piece)?;
            target.write_at(done, piece)?;
            done += piece.len() as u64;
        }
        target.sync()?;
        Ok(len)
    };
    run().map_err(|error| disk_error("copy", from, error))
}

fn seal_bytes(copied: Copied) -> Vec<u8> {
    let mut bytes = b"HANSECPY".to_vec();
    [copied.segments, copied.extents, copied.bytes].iter().for_each(|field| bytes.put_u64(*field));
    bytes.put_u32(crc32c::crc32c(&bytes));
    bytes
}

fn seal(disk: &dyn Disk, target: &Path, copied: Copied) -> Result<()> {
    let path: PathBuf = target.join(SEAL);
    disk.sync_directory(target)
        .and_then(|()| disk.open(&path, Access::Create))
        .and_then(|file| file.write_at(0, &seal_bytes(copied)).and_then(|()| file.sync()))
        .and_then(|()| disk.sync_directory(target))
        .map_err(|error| disk_error("write", &path, error))
}

pub(crate) async fn in_background(core: Arc<Core>, target: PathBuf) -> Result<Copied> {
    tokio::task::spawn_blocking(move || backup(&core, &target)).await.context("the copy did not end")?
}
