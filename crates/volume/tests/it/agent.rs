//! An agent that does as it is told by the test.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hanse_core::{Error, Result, Uuid};
use hanse_node::StoredImage;
use hanse_node::agent::{Agent, Bytes};
use hanse_node::documents::{DiskFormat, Document, Spec};
use hanse_node::reports::{Hello, PROTOCOL, Report, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Willing,
    /// Takes note and says nothing.
    Silent,
    /// Fails at everything.
    Unable,
}

pub struct Pretend {
    name: String,
    disk_gib: u64,
    pub mood: Mutex<Mood>,
    pub seen: Mutex<Vec<Document>>,
    reports: tokio::sync::broadcast::Sender<Report>,
}

impl Pretend {
    pub fn new(name: &str, disk_gib: u64) -> Arc<Pretend> {
        let (reports, _) = tokio::sync::broadcast::channel(1000);
        let (mood, seen) = (Mutex::new(Mood::Willing), Mutex::default());
        Arc::new(Pretend { name: name.to_owned(), disk_gib, mood, seen, reports })
    }

    pub fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The newest document of an object.
    pub fn document(&self, id: &str) -> Option<Document> {
        self.seen.lock().unwrap().iter().rev().find(|seen| seen.id.to_string() == id).cloned()
    }
}

#[async_trait]
impl Agent for Pretend {
    fn hello(&self) -> Hello {
        Hello {
            node: self.name.clone(),
            release: "0.1.0".to_owned(),
            protocol: PROTOCOL,
            vcpus: 2,
            memory_mib: 1024,
            disk_gib: self.disk_gib,
            accelerator: "sim".to_owned(),
        }
    }

    async fn apply(&self, documents: Vec<Document>, _: bool) -> Result<()> {
        for document in documents {
            let state = match (*self.mood.lock().unwrap(), &document.spec) {
                (Mood::Willing, Spec::Absent { .. }) => Some(State::Gone),
                (Mood::Willing, _) => Some(State::Ready),
                (Mood::Unable, _) => Some(State::Failed { reason: "no space left on device".to_owned() }),
                (Mood::Silent, _) => None,
            };
            let (kind, id, revision) = (document.spec.kind(), document.id, document.revision);
            self.seen.lock().unwrap().push(document);
            if let Some(state) = state {
                _ = self.reports.send(Report { kind, id, revision, state });
            }
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let receiver = self.reports.subscribe();
        futures_util::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await.ok()?, receiver))
        })
        .boxed()
    }

    async fn console(&self, _: Uuid, _: usize) -> Result<Vec<u8>> {
        Err(Error::not_found("Guest", "x"))
    }

    async fn put_image(&self, _: Uuid, _: DiskFormat, _: u64, _: Bytes) -> Result<StoredImage> {
        Err(Error::not_implemented("images"))
    }

    async fn read_image(&self, _: Uuid) -> Result<(u64, Bytes)> {
        Err(Error::not_found("Image", "x"))
    }

    async fn delete_image(&self, _: Uuid) -> Result<()> {
        Ok(())
    }
}
