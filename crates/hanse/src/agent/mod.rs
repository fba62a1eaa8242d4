//! The agent: makes true on this machine what the control plane's documents say.
//!
//! It holds no state of its own that matters: documents come again with every connection, and what is on the machine
//! is read back from the drivers. Each object is worked on by one task at a time, so that a slow guest holds up
//! nobody else.

mod disks;
mod guests;
pub mod metadata;
mod network;
mod reports;
mod turns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use hanse_core::{CrashPoints, Error, Kind as ErrorKind, Result, Uuid};
use hanse_hypervisor::Hypervisor;
use hanse_node::StoredImage;
use hanse_node::agent::{Agent, Bytes, serve};
use hanse_node::documents::{DiskFormat, Document, Kind, Spec};
use hanse_node::reports::{Hello, Report, State};
use hanse_sdn::Sdn;
use hanse_storage::Storage;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use reports::Reports;
use turns::Turns;

/// The hands of the agent.
#[derive(Clone)]
pub struct Drivers {
    pub hypervisor: Arc<dyn Hypervisor>,
    pub network: Arc<dyn Sdn>,
    pub storage: Arc<dyn Storage>,
}

/// The agent of one machine. Cheap to clone.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    drivers: Drivers,
    hello: Mutex<Hello>,
    documents: Mutex<BTreeMap<(Kind, Uuid), Document>>,
    reports: Reports,
    turns: Turns,
    network_changed: Notify,
    crash: CrashPoints,
    /// Where the revision is noted that a guest was last started for.
    started: PathBuf,
}

/// Looked at again after this time, whatever happens: a driver's event may have been missed.
const TIMER: Duration = Duration::from_secs(30);

impl Machine {
    pub fn new(hello: Hello, drivers: Drivers, directory: &Path, crash: CrashPoints) -> Machine {
        Machine(Arc::new(Inner {
            drivers,
            hello: Mutex::new(hello),
            documents: Mutex::default(),
            reports: Reports::default(),
            turns: Turns::default(),
            network_changed: Notify::new(),
            crash,
            started: directory.join("started"),
        }))
    }

    /// Notes what the trial guest has shown; the control plane asks until it knows.
    pub fn accelerator(&self, name: &str) {
        name.clone_into(&mut lock(&self.0.hello).accelerator);
    }

    /// Serves the control plane behind `socket` until `stop` is cancelled. Guests run on after that.
    ///
    /// # Errors
    /// If the agent's own directory cannot be used.
    pub async fn run(&self, socket: &Path, stop: CancellationToken) -> Result<()> {
        std::fs::create_dir_all(&self.0.started).map_err(|error| {
            Error::unavailable(format!("cannot make {}", self.0.started.display())).because(error)
        })?;
        let work = async {
            tokio::join!(
                self.clone().watch_network(),
                self.watch_guests(),
                self.look_again(),
                self.dial(socket)
            );
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
        Ok(())
    }

    async fn dial(&self, socket: &Path) {
        loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => {
                    tracing::info!("connected to the control plane");
                    let ended = serve(stream, Arc::new(self.clone())).await;
                    tracing::info!(error = ended.err().map(|error| error.to_string()), "disconnected");
                }
                Err(error) => tracing::debug!(%error, "the control plane is not there"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn watch_guests(&self) {
        use tokio::sync::broadcast::error::RecvError;
        let mut events = self.0.drivers.hypervisor.events();
        // A driver watches the guests that it has looked at once.
        match self.0.drivers.hypervisor.list().await {
            Ok(guests) => {
                for id in guests {
                    if let Err(error) = self.0.drivers.hypervisor.observe(id).await {
                        tracing::warn!(%id, %error, "cannot look at a guest");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "cannot list the guests of this machine"),
        }
        loop {
            match events.recv().await {
                Ok(id) => self.poke(Kind::Guest, id),
                Err(RecvError::Lagged(_)) => self.poke_all(Kind::Guest),
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn look_again(&self) {
        loop {
            tokio::time::sleep(TIMER).await;
            self.poke_all(Kind::Guest);
            self.0.network_changed.notify_one();
        }
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<(Kind, Uuid), Document>> {
        lock(&self.0.documents)
    }

    fn document(&self, kind: Kind, id: Uuid) -> Option<Document> {
        self.documents().get(&(kind, id)).cloned()
    }

    fn poke_all(&self, kind: Kind) {
        let ids: Vec<Uuid> = self.documents().keys().filter(|key| key.0 == kind).map(|key| key.1).collect();
        for id in ids {
            self.poke(kind, id);
        }
    }

    /// Has someone look at the object: now, or once more if someone is looking.
    fn poke(&self, kind: Kind, id: Uuid) {
        match kind {
            Kind::Guest | Kind::Disk => {
                let machine = self.clone();
                self.0.turns.take((kind, id), move || {
                    let machine = machine.clone();
                    Box::pin(async move { machine.turn(kind, id).await })
                });
            }
            Kind::Switch | Kind::Port | Kind::Router | Kind::PortGroup => self.0.network_changed.notify_one(),
        }
    }

    /// One look at a guest or a disk. Returns after what time to look again if nothing happens before.
    async fn turn(&self, kind: Kind, id: Uuid) -> Option<Duration> {
        let document = self.document(kind, id)?;
        let result = match &document.spec {
            Spec::Guest(guest) => self.guest(id, document.revision, guest).await,
            Spec::Disk(disk) => self.disk(id, disk).await,
            Spec::Absent { was: Kind::Guest } => self.remove_guest(id).await,
            Spec::Absent { was: Kind::Disk } => self.remove_disk(id).await,
            _ => return None,
        };
        let (state, again) = match result {
            Ok(state @ State::Pending { .. }) => (state, Some(TIMER)),
            Ok(state) => {
                self.0.turns.succeeded((kind, id));
                (state, None)
            }
            Err(error) => {
                let removal = matches!(document.spec, Spec::Absent { .. });
                self.judge(kind, id, &error, removal)
            }
        };
        self.report(Report { kind, id, revision: document.revision, state });
        again
    }

    /// What a failure means: some can only be answered by the user, some pass, and some did not after a while.
    fn judge(&self, kind: Kind, id: Uuid, error: &Error, removal: bool) -> (State, Option<Duration>) {
        let failures = self.0.turns.failed((kind, id));
        tracing::warn!(kind = kind.as_str(), %id, failures, %error, "cannot make it so");
        let hopeless =
            matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::NotFound | ErrorKind::NotImplemented);
        // A removal is tried for ever: nobody could ask for it again.
        if !removal && (hopeless || failures >= ATTEMPTS) {
            let reason =
                if error.kind() == ErrorKind::Internal { error.detail() } else { error.message().to_owned() };
            return (State::Failed { reason }, None);
        }
        let reason = format!("failed {failures} times, trying again: {}", error.detail());
        (State::Pending { reason }, Some(Duration::from_millis(250 << failures.min(6))))
    }

    fn report(&self, report: Report) {
        let (kind, id) = (report.kind, report.id);
        if !self.0.reports.set(report) {
            return;
        }
        // Guests wait for their disks and ports.
        if matches!(kind, Kind::Disk | Kind::Port) {
            let waiting: Vec<Uuid> = self
                .documents()
                .values()
                .filter_map(|document| match &document.spec {
                    Spec::Guest(guest) => (guest.disks.iter().any(|disk| disk.id == id)
                        || guest.nics.iter().any(|nic| nic.port_id == id))
                    .then_some(document.id),
                    _ => None,
                })
                .collect();
            for guest in waiting {
                self.poke(Kind::Guest, guest);
            }
        }
    }
}

/// How often something is tried before it counts as failed.
const ATTEMPTS: u32 = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Agent for Machine {
    fn hello(&self) -> Hello {
        lock(&self.0.hello).clone()
    }

    async fn apply(&self, documents: Vec<Document>, complete: bool) -> Result<()> {
        let mut changed = Vec::new();
        {
            let mut known = self.documents();
            if complete {
                // A document vanishes only after we have reported the object gone. What is on the machine without
                // one (the database was lost, say) is left alone: guests are never removed for want of a document.
                let keep: std::collections::BTreeSet<_> =
                    documents.iter().map(|document| (document.spec.kind(), document.id)).collect();
                known.retain(|key, _| keep.contains(key));
                self.0.reports.retain(|key| keep.contains(key));
            }
            for document in documents {
                let key = (document.spec.kind(), document.id);
                if known.get(&key).is_none_or(|current| current.revision < document.revision) {
                    known.insert(key, document);
                    changed.push(key);
                } else if complete {
                    changed.push(key);
                }
            }
        }
        for key in &changed {
            self.0.turns.succeeded(*key);
        }
        for (kind, id) in changed {
            self.poke(kind, id);
            // What the metadata service tells a guest is part of the network.
            if kind == Kind::Guest {
                self.0.network_changed.notify_one();
            }
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        self.0.reports.stream()
    }

    async fn console(&self, guest: Uuid, limit: usize) -> Result<Vec<u8>> {
        self.0.drivers.hypervisor.console(guest, limit.min(1 << 20)).await
    }

    async fn put_image(&self, id: Uuid, format: DiskFormat, limit: u64, bytes: Bytes) -> Result<StoredImage> {
        let stored = self.0.drivers.storage.put_image(id, format, Box::new(bytes), limit).await?;
        Ok(StoredImage {
            size: stored.size_bytes,
            virtual_size: stored.virtual_size_bytes,
            md5: stored.md5,
            sha512: stored.sha512,
        })
    }

    async fn read_image(&self, id: Uuid) -> Result<(u64, Bytes)> {
        let (size, bytes) = self.0.drivers.storage.read_image(id).await?;
        Ok((size, Box::pin(bytes)))
    }

    async fn delete_image(&self, id: Uuid) -> Result<()> {
        self.0.drivers.storage.delete_image(id).await
    }
}
