//! An agent that makes everything true at once, unless it is told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hanse_core::{Error, Result, Uuid};
use hanse_node::StoredImage;
use hanse_node::agent::{Agent, Bytes};
use hanse_node::documents::{DiskFormat, Document, Guest, Kind, Spec};
use hanse_node::reports::{Hello, PROTOCOL, Report, State};

pub struct Pretend {
    node: String,
    memory_mib: u64,
    reports: tokio::sync::broadcast::Sender<Report>,
    documents: Mutex<BTreeMap<(Kind, Uuid), Document>>,
    /// What to say of a kind of object instead of `Ready`.
    answers: Mutex<BTreeMap<Kind, State>>,
}

impl Pretend {
    pub fn new(node: &str, memory_mib: u64) -> Arc<Pretend> {
        let (reports, _) = tokio::sync::broadcast::channel(10_000);
        let node = node.to_owned();
        Arc::new(Pretend {
            node,
            memory_mib,
            reports,
            documents: Mutex::default(),
            answers: Mutex::default(),
        })
    }

    pub fn answer(&self, kind: Kind, state: Option<State>) {
        let mut answers = self.answers.lock().unwrap();
        match state {
            Some(state) => answers.insert(kind, state),
            None => answers.remove(&kind),
        };
    }

    fn reaction(&self, document: &Document) -> Report {
        let (kind, id, revision) = (document.spec.kind(), document.id, document.revision);
        let state = match document.spec {
            Spec::Absent { .. } => State::Gone,
            _ => self.answers.lock().unwrap().get(&kind).cloned().unwrap_or(State::Ready),
        };
        Report { kind, id, revision, state }
    }

    /// Reports something of its own accord.
    pub fn say(&self, kind: Kind, id: Uuid, state: State) {
        let revision = self.documents.lock().unwrap()[&(kind, id)].revision;
        self.reports.send(Report { kind, id, revision, state }).unwrap();
    }

    pub fn guest(&self, id: Uuid) -> Option<Guest> {
        match &self.documents.lock().unwrap().get(&(Kind::Guest, id))?.spec {
            Spec::Guest(guest) => Some(guest.clone()),
            _ => None,
        }
    }

    pub fn spec(&self, kind: Kind, id: Uuid) -> Option<Spec> {
        self.documents.lock().unwrap().get(&(kind, id)).map(|document| document.spec.clone())
    }
}

#[async_trait]
impl Agent for Pretend {
    fn hello(&self) -> Hello {
        Hello {
            node: self.node.clone(),
            release: "0.1.0".to_owned(),
            protocol: PROTOCOL,
            vcpus: 8,
            memory_mib: self.memory_mib,
            disk_gib: 10_000,
            accelerator: "sim".to_owned(),
        }
    }

    async fn apply(&self, documents: Vec<Document>, _: bool) -> Result<()> {
        for document in documents {
            let report = self.reaction(&document);
            self.documents.lock().unwrap().insert((document.spec.kind(), document.id), document);
            _ = self.reports.send(report);
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let receiver = self.reports.subscribe();
        // As the contract says: the state of everything, then every change.
        let all: Vec<Report> =
            self.documents.lock().unwrap().values().map(|document| self.reaction(document)).collect();
        let changes = futures_util::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await.ok()?, receiver))
        });
        futures_util::stream::iter(all).chain(changes).boxed()
    }

    async fn console(&self, guest: Uuid, limit: usize) -> Result<Vec<u8>> {
        self.guest(guest).ok_or_else(|| Error::not_found("Guest", guest))?;
        let text = "line 1\nline 2\nlogin: \n";
        Ok(text.as_bytes()[..text.len().min(limit)].to_vec())
    }

    async fn put_image(&self, _: Uuid, _: DiskFormat, _: u64, _: Bytes) -> Result<StoredImage> {
        Err(Error::not_implemented("no images here"))
    }

    async fn read_image(&self, id: Uuid) -> Result<(u64, Bytes)> {
        Err(Error::not_found("Image", id))
    }

    async fn delete_image(&self, _: Uuid) -> Result<()> {
        Ok(())
    }
}
