//! The ordered index of the log: records by key, payloads by id, and how far into the log it reaches.

mod apply;
mod entry;
mod pages;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hanse_core::{Context, Result};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::log::Position;
use crate::wire::{Malformed, Put, Reader};
use crate::{Options, PayloadId, damaged, index_error, lock};

pub(crate) use apply::{Applied, Freed, Mode};
pub(crate) use entry::{Entry, Home, Payload};

pub(crate) type Bytes = &'static [u8];
const RECORDS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("records");
const PAYLOADS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("payloads");
/// Deleted keys, while the index is made again from the log.
const TOMBSTONES: TableDefinition<'_, Bytes, u64> = TableDefinition::new("tombstones");
const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
const DAMAGE: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("damage");
const CHECKPOINT: &str = "checkpoint";

/// The name of the index below the store's directory.
pub(crate) const FILE: &str = "index";

/// What lives in a segment, in bytes as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub live: u64,
    /// Of deletions, which are needed while older segments may hold what they delete.
    pub tombstones: u64,
    /// Where its last frame ends.
    pub end: u64,
}

pub(crate) type Stats = BTreeMap<u64, Stat>;

/// How far the index on the disk reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub position: Position,
    pub stats: Stats,
}

#[derive(Debug)]
pub(crate) struct Index {
    /// The state after the last commit, for all who read until the next one.
    latest: Mutex<Option<Arc<Snapshot>>>,
    database: Database,
}

impl Index {
    /// Opens the index, or makes an empty one. What was not checkpointed is not in it.
    pub(crate) fn open(directory: &Path, name: &str, options: &Options) -> Result<Index> {
        let path = directory.join(name);
        let backend = pages::Pages::open(options.disk.as_ref(), &path).context("cannot open the index")?;
        let mut builder = redb::Builder::new();
        builder.set_cache_size(options.index_cache);
        let database = builder.create_with_backend(backend).map_err(index_error)?;
        Ok(Index { latest: Mutex::default(), database })
    }

    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let txn = self.database.begin_read().map_err(index_error)?;
        let table = match txn.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table.map_err(index_error)?,
        };
        let Some(stored) = table.get(CHECKPOINT).map_err(index_error)? else { return Ok(None) };
        Checkpoint::decode(stored.value())
            .map(Some)
            .map_err(|Malformed| damaged("index: its position in the log"))
    }

    pub(crate) fn begin(&self) -> Result<WriteTransaction> {
        let mut txn = self.database.begin_write().map_err(index_error)?;
        txn.set_durability(Durability::None).map_err(index_error)?;
        Ok(txn)
    }

    /// What is committed is seen by every snapshot that is asked for from then on.
    pub(crate) fn commit(&self, txn: WriteTransaction) -> Result<()> {
        let done = txn.commit().map_err(index_error);
        let before = lock(&self.latest).take();
        // Not while others wait for the lock.
        drop(before);
        done
    }

    /// Makes all that was committed durable, together with the position in the log that it reaches to.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let mut txn = self.database.begin_write().map_err(index_error)?;
        // Without it the whole index would be read when it is opened after a crash.
        txn.set_quick_repair(true);
        {
            let mut table = txn.open_table(META).map_err(index_error)?;
            table.insert(CHECKPOINT, checkpoint.encode().as_slice()).map_err(index_error)?;
        }
        self.commit(txn)
    }

    /// Takes down what is damaged, instead of what was known before.
    pub(crate) fn note_damage(&self, damaged: &BTreeMap<Vec<u8>, String>) -> Result<()> {
        let txn = self.begin()?;
        {
            let mut table = txn.open_table(DAMAGE).map_err(index_error)?;
            table.retain(|_, _| false).map_err(index_error)?;
            for (key, what) in damaged {
                table.insert(key.as_slice(), what.as_bytes()).map_err(index_error)?;
            }
        }
        self.commit(txn)
    }

    /// The state after the last commit. To begin a transaction and to open its tables costs more than a small read, so it is done once
    /// for each commit; under the lock, so that no state of before a commit is kept after it.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let mut latest = lock(&self.latest);
        if let Some(snapshot) = &*latest {
            return Ok(snapshot.clone());
        }
        let txn = self.database.begin_read().map_err(index_error)?;
        let snapshot = Arc::new(Snapshot {
            records: txn.open_table(RECORDS).map_err(index_error)?,
            payloads: txn.open_table(PAYLOADS).map_err(index_error)?,
            damage: txn.open_table(DAMAGE).map_err(index_error)?,
        });
        *latest = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Forgets what only a rebuild needs, and makes sure that all tables are there.
    pub(crate) fn settle(&self) -> Result<()> {
        let txn = self.begin()?;
        Tables::open(&txn, Mode::InOrder)?;
        txn.open_table(DAMAGE).map_err(index_error)?;
        txn.delete_table(TOMBSTONES).map_err(index_error)?;
        self.commit(txn)
    }
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Position { segment, offset, batch, seq } = self.position;
        [segment, offset, batch, seq].iter().for_each(|field| bytes.put_u64(*field));
        for (segment, stat) in &self.stats {
            [*segment, stat.live, stat.tombstones, stat.end].iter().for_each(|field| bytes.put_u64(*field));
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Checkpoint, Malformed> {
        let mut reader = Reader(bytes);
        let position = Position {
            segment: reader.u64()?,
            offset: reader.u64()?,
            batch: reader.u64()?,
            seq: reader.u64()?,
        };
        let mut stats = Stats::new();
        while !reader.is_empty() {
            let segment = reader.u64()?;
            stats
                .insert(segment, Stat { live: reader.u64()?, tombstones: reader.u64()?, end: reader.u64()? });
        }
        Ok(Checkpoint { position, stats })
    }
}

/// The index as of one commit.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub records: redb::ReadOnlyTable<Bytes, Bytes>,
    pub payloads: redb::ReadOnlyTable<Bytes, Bytes>,
    pub damage: redb::ReadOnlyTable<Bytes, Bytes>,
}

impl Lookup for Snapshot {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        read_entry(&self.records, key)
    }

    fn payload(&self, id: PayloadId) -> Result<Option<Payload>> {
        read_payload(&self.payloads, id)
    }
}

/// Records and payloads by name.
pub(crate) trait Lookup {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>>;
    fn payload(&self, id: PayloadId) -> Result<Option<Payload>>;
}

/// What a closure of [`crate::Store::write`] sees below its own changes.
pub(crate) trait Base: Lookup {
    fn entries<'b>(&'b self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<EntryIter<'b>>;
}

pub(crate) type EntryIter<'b> = Box<dyn Iterator<Item = Result<(Vec<u8>, Entry)>> + 'b>;

/// The tables in a write transaction.
pub(crate) struct Tables<'txn> {
    records: redb::Table<'txn, Bytes, Bytes>,
    payloads: redb::Table<'txn, Bytes, Bytes>,
    /// While the index is made again.
    tombstones: Option<redb::Table<'txn, Bytes, u64>>,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn open(txn: &'txn WriteTransaction, mode: Mode) -> Result<Tables<'txn>> {
        let tombstones = match mode {
            Mode::InOrder => None,
            Mode::Rebuild => Some(txn.open_table(TOMBSTONES).map_err(index_error)?),
        };
        Ok(Tables {
            records: txn.open_table(RECORDS).map_err(index_error)?,
            payloads: txn.open_table(PAYLOADS).map_err(index_error)?,
            tombstones,
        })
    }
}

impl Lookup for Tables<'_> {
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        read_entry(&self.records, key)
    }

    fn payload(&self, id: PayloadId) -> Result<Option<Payload>> {
        read_payload(&self.payloads, id)
    }
}

impl Base for Tables<'_> {
    fn entries<'b>(&'b self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<EntryIter<'b>> {
        if is_empty(&range) {
            return Ok(Box::new(std::iter::empty()));
        }
        let found = self.records.range::<&[u8]>(range).map_err(index_error)?;
        Ok(Box::new(found.map(|item| {
            let (key, value) = item.map_err(index_error)?;
            Ok((key.value().to_vec(), Entry::decode(value.value())?))
        })))
    }
}

/// A range that holds nothing; the index panics on some of them.
pub(crate) fn is_empty(range: &(Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match *range {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to) | Bound::Included(to)) => {
            from >= to
        }
        _ => false,
    }
}

fn read_entry(table: &impl ReadableTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<Entry>> {
    let found = table.get(key).map_err(index_error)?;
    found.map(|value| Entry::decode(value.value())).transpose()
}

fn read_payload(table: &impl ReadableTable<Bytes, Bytes>, id: PayloadId) -> Result<Option<Payload>> {
    let found = table.get(id.as_bytes().as_slice()).map_err(index_error)?;
    found.map(|value| Payload::decode(value.value())).transpose()
}

/// Shared by all who read.
pub(crate) type SharedIndex = Arc<Index>;
