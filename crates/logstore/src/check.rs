//! What an operator runs on a store that nobody has open: the check of everything, the index made again, a copy put back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use hanse_core::Result;
use redb::ReadableTable;

use crate::extent::Extents;
use crate::index::{Checkpoint, FILE, Index, Lookup, Payload, Snapshot};
use crate::log::Segments;
use crate::mark::{Mark, Synced};
use crate::recover::{self, Damage, Recovered, Replay};
use crate::scrub::{check_payload, check_segment};
use crate::{DAMAGED, Options, PayloadId, disk_error, index_error};

/// Where an index is made that the other is compared with.
const SECOND: &str = "index.check";

/// What a check may change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    /// Puts an index made from the log alone in the place of the one that is there.
    pub rebuild_index: bool,
    /// Goes on without what is lost: records whose last change is lost are what they were before. Without it a store
    /// that has lost a part of its log takes no writes.
    pub accept_loss: bool,
    /// Removes files that no record leads to. Opening the store does that, too.
    pub remove_orphans: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub records: u64,
    pub payloads: u64,
    pub payload_bytes: u64,
    pub segments: u64,
    /// What the disk does not give back as it was written.
    pub damages: Vec<Damage>,
    /// Where index and log say different things.
    pub differences: Vec<String>,
    /// Files of payloads that no record leads to.
    pub orphans: Vec<PayloadId>,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty() && self.differences.is_empty()
    }
}

/// Reads every frame and every block, makes a second index from the log alone, and compares. As opening does, it ends
/// the log before what a crash has torn.
///
/// # Errors
/// 503 named [`crate::IN_USE`] if a process has the store open; 500 if the disk fails. Damage is no error but in the report.
pub fn check(directory: &Path, options: &Options, repair: Repair) -> Result<Report> {
    let disk = options.disk.clone();
    let _held = crate::store::hold(disk.as_ref(), directory)?;
    let segments = Arc::new(Segments::new(disk.clone(), directory));
    let extents = Extents::new(disk.clone(), directory);
    let mut report = Report::default();

    let first = recover::recover(directory, &segments, options)?;
    let second = from_log(directory, &segments, options)?;
    let (found, made) = (first.index.snapshot()?, second.index.snapshot()?);
    report.note(first.damages.iter().chain(&second.damages).cloned(), &made)?;
    report.compare_records(&found, &made)?;
    report.compare_payloads(&found, &made)?;
    for (segment, stat) in &second.stats {
        report.segments += 1;
        let damaged = check_segment(&segments, *segment, stat.end, |_| Ok(()))?;
        report.note(damaged.into_values().map(|what| Damage { what, payload: None }), &made)?;
    }
    report.check_payloads(&found, &segments, &extents)?;
    report.find_orphans(&found, &made, &extents)?;
    drop((found, made));

    // An index that says something else than the log must go; one that was never whole is already made again.
    if repair.rebuild_index || (repair.accept_loss && second.lost.is_any()) {
        put_in_place(directory, first, second, options)?;
    } else {
        drop(second);
        let path = directory.join(SECOND);
        disk.remove(&path).map_err(|error| disk_error("remove", &path, error))?;
    }
    if repair.remove_orphans {
        report.orphans.iter().try_for_each(|id| extents.remove(*id))?;
    }
    Ok(report)
}

/// An index made from the log alone, beside the one that is there.
fn from_log(directory: &Path, segments: &Arc<Segments>, options: &Options) -> Result<Recovered> {
    let path = directory.join(SECOND);
    match options.disk.remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(disk_error("remove", &path, error));
        }
        _ => {}
    }
    let index = Index::open(directory, SECOND, options)?;
    let (mark, synced) = Mark::open(options.disk.as_ref(), directory)?;
    recover::finish(index, mark, Replay { synced, ..Replay::default() }, segments, options)
}

fn put_in_place(directory: &Path, first: Recovered, second: Recovered, options: &Options) -> Result<()> {
    drop(first);
    let position = second.tail.position;
    // From here on the log is read from its end only, past what is lost.
    second.index.save(&Checkpoint { position, stats: second.stats.clone() })?;
    second.mark.set(Synced { position, closed: false })?;
    drop(second);
    let (from, to) = (directory.join(SECOND), directory.join(FILE));
    options
        .disk
        .rename(&from, &to)
        .and_then(|()| options.disk.sync_directory(directory))
        .map_err(|error| disk_error("move", &from, error))
}

impl Report {
    /// Adds damages, each once; that of a payload only if some record names it.
    fn note(&mut self, damages: impl IntoIterator<Item = Damage>, index: &Snapshot) -> Result<()> {
        for damage in damages {
            if let Some(id) = damage.payload
                && index.payload(id)?.is_none()
            {
                continue;
            }
            if !self.damages.contains(&damage) {
                self.damages.push(damage);
            }
        }
        Ok(())
    }

    fn compare_records(&mut self, found: &Snapshot, made: &Snapshot) -> Result<()> {
        let differ = |entry: &[u8], other: Option<redb::AccessGuard<'_, crate::index::Bytes>>| {
            other.is_none_or(|other| other.value() != entry)
        };
        for item in found.records.iter().map_err(index_error)? {
            let (key, entry) = item.map_err(index_error)?;
            self.records += 1;
            if differ(entry.value(), made.records.get(key.value()).map_err(index_error)?) {
                self.differences.push(format!(
                    "record {} in the index is not as the log has it",
                    key.value().escape_ascii()
                ));
            }
        }
        for item in made.records.iter().map_err(index_error)? {
            let (key, _) = item.map_err(index_error)?;
            if found.records.get(key.value()).map_err(index_error)?.is_none() {
                self.differences
                    .push(format!("record {} of the log is not in the index", key.value().escape_ascii()));
            }
        }
        Ok(())
    }

    fn compare_payloads(&mut self, found: &Snapshot, made: &Snapshot) -> Result<()> {
        let mut counted: BTreeMap<PayloadId, u32> = BTreeMap::new();
        for item in found.records.iter().map_err(index_error)? {
            let (_, entry) = item.map_err(index_error)?;
            for id in crate::index::Entry::decode(entry.value())?.record.payloads {
                *counted.entry(id).or_default() += 1;
            }
        }
        let other: BTreeMap<PayloadId, Payload> = payloads(made)?.into_iter().collect();
        for (id, payload) in payloads(found)? {
            if counted.remove(&id) != Some(payload.refs) {
                self.differences.push(format!("payload {id} is counted {} times in the index", payload.refs));
            }
            if other.get(&id) != Some(&payload) {
                self.differences.push(format!("payload {id} in the index is not as the log has it"));
            }
        }
        self.differences
            .extend(counted.keys().map(|id| format!("payload {id} is named and not in the index")));
        Ok(())
    }

    fn check_payloads(&mut self, index: &Snapshot, segments: &Segments, extents: &Extents) -> Result<()> {
        for (id, payload) in payloads(index)? {
            self.payloads += 1;
            self.payload_bytes += payload.len;
            match check_payload(segments, extents, id, &payload, |_| Ok(())) {
                Err(error) if error.name() == Some(DAMAGED) => {
                    let known = self.damages.iter().any(|damage| damage.payload == Some(id));
                    if !known {
                        self.damages.push(Damage { what: error.detail(), payload: Some(id) });
                    }
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn find_orphans(&mut self, found: &Snapshot, made: &Snapshot, extents: &Extents) -> Result<()> {
        let there: BTreeSet<PayloadId> = extents.list()?.into_iter().collect();
        for id in there {
            if found.payload(id)?.is_none() && made.payload(id)?.is_none() {
                self.orphans.push(id);
            }
        }
        Ok(())
    }
}

fn payloads(index: &Snapshot) -> Result<Vec<(PayloadId, Payload)>> {
    let mut all = Vec::new();
    for item in index.payloads.iter().map_err(index_error)? {
        let (key, value) = item.map_err(index_error)?;
        let id =
            <[u8; 16]>::try_from(key.value()).map_err(|_| crate::damaged("index: the name of a payload"))?;
        all.push((PayloadId::from_bytes(id), Payload::decode(value.value())?));
    }
    Ok(all)
}
