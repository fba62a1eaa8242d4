//! Payloads on their way in.

use std::sync::Arc;

use bytes::Bytes;
use hanse_core::{Context, Result};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::disk::DiskFile;
use crate::gather::{Gather, LENGTH as GATHER};
use crate::keeper::Chore;
use crate::payload::Checksums;
use crate::store::Core;
use crate::{PayloadId, disk_error, lock};

/// Removes the file of a payload that was not committed.
struct Guard {
    core: Arc<Core>,
    id: PayloadId,
    /// Whether there is a file that nobody would miss.
    file: bool,
}

impl Guard {
    fn new(core: Arc<Core>) -> Guard {
        let id = PayloadId::new(&core.cx);
        lock(&core.staged).insert(id);
        Guard { core, id, file: false }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.file {
            // If nobody takes the chore, the file is swept when the store is opened next.
            self.core.chores.send(Chore::Discard(self.id));
        } else {
            lock(&self.core.staged).remove(&self.id);
        }
    }
}

/// What is done with the bytes of a payload before they are kept, on a thread that may take its time.
pub trait Seal: Send {
    /// Takes bytes, and gives out what is ready.
    ///
    /// # Errors
    /// Its own, and those of [`Kept::add`].
    fn push(&mut self, bytes: &[u8], kept: &mut Kept) -> Result<()>;

    /// There are no more: gives out the rest.
    ///
    /// # Errors
    /// As [`Seal::push`].
    fn finish(&mut self, kept: &mut Kept) -> Result<()>;
}

/// Keeps the bytes as they are.
#[derive(Default)]
pub struct AsIs(Vec<u8>);

impl Seal for AsIs {
    fn push(&mut self, bytes: &[u8], kept: &mut Kept) -> Result<()> {
        self.0.extend_from_slice(bytes);
        kept.add(&mut self.0)
    }

    fn finish(&mut self, _: &mut Kept) -> Result<()> {
        Ok(())
    }
}

/// What has become of a payload so far.
pub struct Kept {
    /// Here, so that a file is not removed before whoever writes it has made it.
    guard: Guard,
    len: u64,
    sums: Checksums,
    /// All of it, if it goes to no file.
    small: Vec<u8>,
    file: Option<Arc<dyn DiskFile>>,
    /// `None` if there was no memory for it.
    gather: Option<Gather>,
}

impl Kept {
    /// Takes the bytes, and leaves memory that can be filled again.
    ///
    /// # Errors
    /// 503 named [`crate::FULL`] if the disk is full; 500 if it fails.
    pub fn add(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        self.sums.update(bytes);
        let offset = self.len;
        self.len += bytes.len() as u64;
        if !self.guard.file && self.small.is_empty() {
            std::mem::swap(&mut self.small, bytes);
        } else if !self.guard.file {
            self.small.extend_from_slice(bytes);
        } else {
            let file = self.file()?;
            match &mut self.gather {
                Some(gather) => gather.push(file.as_ref(), bytes),
                None => file.write_at(offset, bytes),
            }
            .map_err(|error| self.failed(error))?;
        }
        bytes.clear();
        Ok(())
    }

    fn file(&mut self) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let Guard { core, id, .. } = &self.guard;
        self.gather = Gather::new(&core.memory);
        Ok(self.file.insert(core.extents.create(*id)?).clone())
    }

    fn failed(&self, error: std::io::Error) -> hanse_core::Error {
        disk_error("write", &self.guard.core.extents.path(self.guard.id), error)
    }

    /// Brings a large one to the disk.
    fn finish(&mut self) -> Result<()> {
        let file = self.file()?;
        if let Some(gather) = &mut self.gather {
            gather.finish(file.as_ref()).map_err(|error| self.failed(error))?;
        }
        self.guard.core.extents.finish(self.guard.id, file.as_ref(), self.len, &self.sums.finish())
    }
}

/// What is written, and what writes it: one thing on its way from thread to thread.
struct Outlet {
    seal: Box<dyn Seal>,
    kept: Kept,
}

impl Outlet {
    fn push(&mut self, pieces: Vec<Bytes>, is_last: bool) -> Result<()> {
        for piece in pieces {
            self.seal.push(&piece, &mut self.kept)?;
        }
        if is_last { self.seal.finish(&mut self.kept) } else { Ok(()) }
    }
}

/// A payload that is being written. Dropping it deletes what was staged.
pub struct Staging {
    core: Arc<Core>,
    /// Whether it goes to a file.
    is_large: bool,
    /// Bytes that have come.
    len: u64,
    /// What was not written yet, as it came, and how much that is.
    pieces: Vec<Bytes>,
    held: usize,
    /// For these pieces.
    permit: Option<OwnedSemaphorePermit>,
    /// `None` while it is written to.
    outlet: Option<Outlet>,
    /// What is being written while more comes.
    writing: Option<JoinHandle<Result<Outlet>>>,
    failed: bool,
}

impl Staging {
    pub(crate) fn new(core: Arc<Core>, seal: Box<dyn Seal>) -> Staging {
        let guard = Guard::new(core.clone());
        let sums = Checksums::new(guard.id);
        let kept = Kept { guard, len: 0, sums, small: Vec::new(), file: None, gather: None };
        Staging {
            core,
            is_large: false,
            len: 0,
            pieces: Vec::new(),
            held: 0,
            permit: None,
            outlet: Some(Outlet { seal, kept }),
            writing: None,
            failed: false,
        }
    }

    /// Appends bytes. What does not fit into the memory that all staged payloads share goes to the disk at once.
    ///
    /// # Errors
    /// 503 named [`crate::FULL`] if the disk is full; 500 if it fails. The payload is lost then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if self.failed {
            return Err(failed_before());
        }
        // Unless it gets to its end, this payload is not whole.
        self.failed = true;
        self.len += bytes.len() as u64;
        let has_memory = self.reserve(bytes.len());
        self.held += bytes.len();
        self.pieces.push(bytes);
        let is_small = has_memory && self.len <= self.core.options.inline_limit as u64;
        if !is_small
            && !self.is_large
            && let Some(outlet) = &mut self.outlet
        {
            self.core.check_room()?;
            self.is_large = true;
            outlet.kept.guard.file = true;
        }
        if !has_memory || (self.is_large && self.held >= GATHER) {
            self.spill(false).await?;
        }
        if !has_memory {
            // What there is no memory for is not kept while it is written either.
            self.written().await?;
        }
        self.failed = false;
        Ok(())
    }

    /// Takes memory for more bytes, if there is some.
    fn reserve(&mut self, more: usize) -> bool {
        let Ok(count) = u32::try_from(more) else { return false };
        match self.core.memory.clone().try_acquire_many_owned(count) {
            Ok(permit) => {
                match &mut self.permit {
                    Some(held) => held.merge(permit),
                    None => self.permit = Some(permit),
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Begins to write what is held, after what was begun before.
    async fn spill(&mut self, is_last: bool) -> Result<()> {
        self.written().await?;
        let mut outlet = self.outlet.take().ok_or_else(failed_before)?;
        let (pieces, held) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.held));
        self.core.spend(held as u64);
        let permit = self.permit.take();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            outlet.push(pieces, is_last)?;
            if is_last {
                outlet.kept.finish()?;
            }
            Ok(outlet)
        }));
        Ok(())
    }

    /// Waits until everything that was begun to be written is.
    async fn written(&mut self) -> Result<()> {
        if let Some(writing) = self.writing.take() {
            self.outlet = Some(writing.await.context("a disk operation did not end")??);
        }
        Ok(())
    }

    /// Ends the payload. A large one is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Staging::write`].
    pub async fn finish(mut self) -> Result<Staged> {
        if self.failed {
            return Err(failed_before());
        }
        if self.is_large {
            self.spill(true).await?;
            self.written().await?;
        } else if let Some(outlet) = &mut self.outlet {
            outlet.push(std::mem::take(&mut self.pieces), true)?;
        }
        let Kept { guard, len, mut sums, small, .. } = self.outlet.take().ok_or_else(failed_before)?.kept;
        let content = match self.is_large {
            true => Content::Extent,
            false => Content::Inline { bytes: small.into(), crcs: sums.finish(), permit: self.permit },
        };
        Ok(Staged { guard, len, content })
    }
}

fn failed_before() -> hanse_core::Error {
    hanse_core::Error::internal("this payload has failed before")
}

enum Content {
    Inline {
        bytes: Bytes,
        crcs: Vec<u32>,
        #[expect(dead_code, reason = "it is given back when this is dropped")]
        permit: Option<OwnedSemaphorePermit>,
    },
    Extent,
}

/// A payload that is whole; [`crate::Change::attach`] makes it part of the store. Dropping it before deletes it.
pub struct Staged {
    guard: Guard,
    len: u64,
    content: Content,
}

impl Staged {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn id(&self) -> PayloadId {
        self.guard.id
    }

    /// The bytes and the checksums of one that goes into the log.
    pub(crate) fn inline(&self) -> Option<(&Bytes, &[u32])> {
        match &self.content {
            Content::Inline { bytes, crcs, .. } => Some((bytes, crcs)),
            Content::Extent => None,
        }
    }

    /// It belongs to a record now, or may: the file stays.
    pub(crate) fn keep(mut self) {
        self.guard.file = false;
    }
}
