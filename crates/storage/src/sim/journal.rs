//! Where a simulated storage outlives its process: on shelves like the real one's, with a record in each entry.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use hanse_core::{Context, CrashPoints, Error, Result, Uuid};
use hanse_node::documents::Disk;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoredImage;
use crate::claims::Claim;
use crate::files::At;
use crate::files::shelf::{self, Shelf};

const RECORD: &str = "record.json";
const CONTENT: &str = "content";

pub(super) struct Journal {
    images: Shelf,
    disks: Shelf,
    crash: CrashPoints,
}

impl Journal {
    /// Opens the directory, sweeping out what an earlier process left half done.
    pub(super) fn open(directory: &Path, crash: CrashPoints) -> Result<Journal> {
        shelf::make_directory(directory, None)?;
        let images = Shelf::open(directory.join("images"), None)?;
        let disks = Shelf::open(directory.join("disks"), None)?;
        shelf::sync_directory(directory)?;
        Ok(Journal { images, disks, crash })
    }

    pub(super) fn images(&self) -> Result<BTreeMap<Uuid, (StoredImage, Bytes)>> {
        let read = |id| {
            let path = self.images.entry(id).join(CONTENT);
            let content = std::fs::read(&path).at("cannot read", &path)?;
            Ok((id, (record(&self.images, id)?, content.into())))
        };
        self.images.ids()?.into_iter().map(read).collect()
    }

    pub(super) fn disks(&self) -> Result<BTreeMap<Uuid, Disk>> {
        self.disks.ids()?.into_iter().map(|id| Ok((id, record(&self.disks, id)?))).collect()
    }

    pub(super) fn keep_image(&self, claim: Claim, image: &StoredImage, content: &[u8]) -> Result<()> {
        let partial = self.images.start(image.id, claim)?;
        self.crash.pass("storage.image_started")?;
        partial.write(CONTENT, content)?;
        self.crash.pass("storage.image_synced")?;
        partial.write(RECORD, &text(image)?)?;
        self.crash.pass("storage.image_recorded")?;
        partial.commit(&self.crash)
    }

    pub(super) fn drop_image(&self, claim: Claim, id: Uuid) -> Result<()> {
        self.images.remove(id, claim, &self.crash)
    }

    /// `present` tells whether the disk is there and only grows.
    pub(super) fn keep_disk(&self, id: Uuid, disk: &Disk, present: bool) -> Result<()> {
        if present {
            self.disks.replace(id, RECORD, &text(disk)?)?;
            return self.crash.pass("storage.disk_resized");
        }
        let partial = self.disks.start(id, self.claim(id)?)?;
        self.crash.pass("storage.disk_started")?;
        partial.write(RECORD, &text(disk)?)?;
        self.crash.pass("storage.disk_synced")?;
        partial.commit(&self.crash)
    }

    pub(super) fn drop_disk(&self, id: Uuid) -> Result<()> {
        self.disks.remove(id, self.claim(id)?, &self.crash)
    }

    /// Always there to be had: the simulator does one thing to its disks at a time.
    fn claim(&self, id: Uuid) -> Result<Claim> {
        self.disks
            .claims
            .take(id)
            .ok_or_else(|| Error::internal(format!("disk {id} is worked on twice at once")))
    }
}

fn text(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).context("cannot encode a record of the simulated storage")
}

fn record<T: DeserializeOwned>(shelf: &Shelf, id: Uuid) -> Result<T> {
    let path = shelf.entry(id).join(RECORD);
    let text = std::fs::read(&path).at("cannot read", &path)?;
    serde_json::from_slice(&text).context(format_args!("{} is damaged", path.display()))
}
