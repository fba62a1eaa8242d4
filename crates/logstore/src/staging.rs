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

/// A payload that is being written. Dropping it deletes what was staged.
pub struct Staging {
    guard: Guard,
    sums: Checksums,
    len: u64,
    /// What was not written yet, as it came, and how much that is.
    pieces: Vec<Bytes>,
    held: usize,
    /// For these pieces.
    permit: Option<OwnedSemaphorePermit>,
    file: Option<Arc<dyn DiskFile>>,
    /// `None` while it is written from, and if there was no memory for it.
    gather: Option<Gather>,
    /// What is being written while more comes.
    writing: Option<JoinHandle<Result<Option<Gather>>>>,
    failed: bool,
}

impl Staging {
    pub(crate) fn new(core: Arc<Core>) -> Staging {
        let guard = Guard::new(core);
        Staging {
            sums: Checksums::new(guard.id),
            guard,
            len: 0,
            pieces: Vec::new(),
            held: 0,
            permit: None,
            file: None,
            gather: None,
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
            return Err(hanse_core::Error::internal("this payload has failed before"));
        }
        // Unless it gets to its end, this payload is not whole.
        self.failed = true;
        self.sums.update(&bytes);
        self.len += bytes.len() as u64;
        let has_memory = self.reserve(bytes.len());
        self.held += bytes.len();
        self.pieces.push(bytes);
        let is_small = self.len <= self.guard.core.options.inline_limit as u64;
        let waits = has_memory && if self.file.is_none() { is_small } else { self.held < GATHER };
        if !waits {
            if self.file.is_none() {
                self.guard.core.check_room()?;
                self.guard.file = true;
                let (core, id) = (self.guard.core.clone(), self.guard.id);
                self.gather = Gather::new(&core.memory);
                self.file = Some(blocking(move || core.extents.create(id)).await?);
            }
            if !has_memory || self.held >= GATHER {
                self.spill(false).await?;
            }
            if !has_memory {
                // What there is no memory for is not kept while it is written either.
                self.written().await?;
            }
        }
        self.failed = false;
        Ok(())
    }

    /// Takes memory for more bytes, if there is some.
    fn reserve(&mut self, more: usize) -> bool {
        let Ok(count) = u32::try_from(more) else { return false };
        match self.guard.core.memory.clone().try_acquire_many_owned(count) {
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

    /// Begins to write what is held, after what was begun before; with what is gathered if nothing comes behind it.
    async fn spill(&mut self, is_last: bool) -> Result<()> {
        self.written().await?;
        let Some(file) = self.file.clone() else { return Ok(()) };
        let (pieces, held) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.held));
        let start = self.len - held as u64;
        self.guard.core.spend(held as u64);
        let path = self.guard.core.extents.path(self.guard.id);
        let permit = self.permit.take();
        let mut gather = self.gather.take();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let written = match &mut gather {
                Some(gather) => pieces
                    .iter()
                    .try_for_each(|piece| gather.push(file.as_ref(), piece))
                    .and_then(|()| if is_last { gather.finish(file.as_ref()) } else { Ok(()) }),
                None => {
                    let mut offset = start;
                    pieces.iter().try_for_each(|piece| {
                        file.write_at(offset, piece)?;
                        offset += piece.len() as u64;
                        Ok(())
                    })
                }
            };
            written.map(|()| gather).map_err(|error| disk_error("write", &path, error))
        }));
        Ok(())
    }

    /// Waits until everything that was begun to be written is.
    async fn written(&mut self) -> Result<()> {
        if let Some(writing) = self.writing.take() {
            self.gather = writing.await.context("a disk operation did not end")??;
        }
        Ok(())
    }

    /// Ends the payload. A large one is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Staging::write`].
    pub async fn finish(mut self) -> Result<Staged> {
        if self.failed {
            return Err(hanse_core::Error::internal("this payload has failed before"));
        }
        if self.file.is_none() {
            let crcs = self.sums.finish();
            let bytes = match &mut self.pieces[..] {
                [one] => std::mem::take(one),
                pieces => pieces.concat().into(),
            };
            let content = Content::Inline { bytes, crcs, permit: self.permit };
            return Ok(Staged { guard: self.guard, len: self.len, content });
        }
        self.spill(true).await?;
        self.written().await?;
        if let Some(file) = self.file.take() {
            let (core, id, len, crcs) =
                (self.guard.core.clone(), self.guard.id, self.len, self.sums.finish());
            blocking(move || core.extents.finish(id, file.as_ref(), len, &crcs)).await?;
        }
        Ok(Staged { guard: self.guard, len: self.len, content: Content::Extent })
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a disk operation did not end")?
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
