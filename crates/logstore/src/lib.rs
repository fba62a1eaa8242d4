//! A durable ordered map whose records may own payloads: the floor that the S3 service stands on.
//!
//! The log is the truth: what [`Store::write`] has answered lies in it, checksummed and synced. The ordered index
//! beside it is derived, committed lazily, and can be made again from the log alone. See the crate's README for the
//! formats and for what is promised.

mod backup;
mod buffers;
mod change;
mod check;
mod compact;
mod disk;
mod extent;
mod frame;
mod gather;
mod index;
mod keeper;
mod log;
mod mark;
mod payload;
mod reading;
mod recover;
mod scrub;
mod staging;
mod store;
mod view;
mod wire;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::Error;

pub use backup::{Copied, restore};
pub use buffers::Buffer;
pub use change::{Change, Records};
pub use check::{Repair, Report, check};
pub use disk::{Access, Disk, DiskFile, Real, Sim, Space};
pub use payload::PayloadId;
pub use reading::Reading;
pub use recover::Damage;
pub use staging::{AsIs, Kept, Seal, Staged, Staging};
pub use store::Store;
pub use view::{Scan, View};

/// [`Error::name`] of what cannot be read because the disk gives other bytes than were written.
pub const DAMAGED: &str = "StorageDamaged";
/// [`Error::name`] of a write that there is no room for. Deleting goes on; so does writing, once there is room.
pub const FULL: &str = "StorageFull";
/// [`Error::name`] of opening a store that another process has open.
pub const IN_USE: &str = "StorageInUse";
/// [`Error::name`] of every write after one could not be made durable, until the store is opened again.
pub const FAILED: &str = "StorageFailed";

/// What payloads are checksummed by, in bytes.
pub const BLOCK: usize = 64 << 10;
/// The longest key, in bytes.
pub const KEY_MAX: usize = 8 << 10;
/// The longest value, in bytes.
pub const VALUE_MAX: usize = 2 << 20;
/// How many payloads a record may own (S3 has at most 10,000 parts).
pub const PAYLOADS_MAX: usize = 20_000;

/// A value and the payloads that it owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub value: bytes::Bytes,
    pub payloads: Vec<PayloadId>,
}

/// How a store is laid out and what it may take.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a segment of the log; it is allocated as a whole. A transaction has to fit into one.
    pub segment_bytes: u64,
    /// Payloads up to this size lie in the log, larger ones in files of their own.
    pub inline_limit: usize,
    /// The cap of all staged bytes in memory. Who finds none left waits or spills to the disk.
    pub memory: usize,
    /// The cap of what all readers together have read ahead, beyond the piece that each may.
    pub read_ahead: usize,
    /// The cache of the index, in bytes.
    pub index_cache: usize,
    /// So many bytes of log may follow a checkpoint of the index; what has to be replayed after a crash.
    pub checkpoint_bytes: u64,
    /// A checkpoint is taken at least so often while there are writes.
    pub checkpoint_every: Duration,
    /// Below so many free bytes only what deletes is written.
    pub reserve_bytes: u64,
    /// What compaction, scrubbing and sweeping may do.
    pub upkeep: Upkeep,
    pub disk: Arc<dyn Disk>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 128 << 20,
            inline_limit: 128 << 10,
            memory: 64 << 20,
            read_ahead: 64 << 20,
            index_cache: 24 << 20,
            checkpoint_bytes: 64 << 20,
            checkpoint_every: Duration::from_secs(5),
            reserve_bytes: 512 << 20,
            upkeep: Upkeep::default(),
            disk: Arc::new(Real),
        }
    }
}

/// Background work.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// Without it nothing runs by itself; tests then call each step.
    pub automatic: bool,
    /// A segment is compacted when less than this part of it lives.
    pub live_ratio: f64,
    /// What compaction reads in a second.
    pub compaction_bytes_per_second: u64,
    /// What the scrub reads in a second; zero turns it off.
    pub scrub_bytes_per_second: u64,
    /// From the end of one scrub to the start of the next.
    pub scrub_every: Duration,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep {
            automatic: true,
            live_ratio: 0.5,
            compaction_bytes_per_second: 32 << 20,
            scrub_bytes_per_second: 8 << 20,
            scrub_every: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

pub(crate) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::internal(format!("damaged: {what}")).named(DAMAGED)
}

pub(crate) fn full() -> Error {
    Error::unavailable("The storage is full.").named(FULL)
}

/// Says what was being done, and tells a full disk from other failures.
pub(crate) fn disk_error(what: &str, path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => full().because(error),
        _ => Error::internal(format!("cannot {what} {}: {error}", path.display())),
    }
}

pub(crate) fn index_error(error: impl Into<redb::Error>) -> Error {
    let error: redb::Error = error.into();
    match error {
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            damaged(format!("index: {io}"))
        }
        error => Error::internal(format!("index: {error}")),
    }
}

/// Locks without caring whether another holder panicked: what is guarded is replaced as a whole.
pub(crate) fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
