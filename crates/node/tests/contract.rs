//! Both ends of the contract over a pipe in memory, on both engines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hanse_core::{Cx, Error, Kind as ErrorKind, Result, Uuid};
use hanse_node::StoredImage;
use hanse_node::agent::{self, Agent, Bytes};
use hanse_node::desired::{Documents, Sealer, nodes, report};
use hanse_node::documents::{Disk, DiskFormat, Document, Kind, Spec};
use hanse_node::hub::Hub;
use hanse_node::reports::{Hello, PROTOCOL, Report, State};
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::{Db, Migrations};
use hanse_testkit::{context, databases};
use tokio::io::AsyncReadExt;

const ALL: &[Migrations] = &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, hanse_node::MIGRATIONS];

/// Turns every byte around: enough to see that nothing is stored in the clear.
struct Inverter;

impl Sealer for Inverter {
    fn seal(&self, _: &Cx, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.iter().map(|byte| !byte).collect())
    }
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(sealed.iter().map(|byte| !byte).collect())
    }
}

/// Reports every disk as ready, keeps one image in memory.
struct Pretend {
    seen: Mutex<Vec<(Vec<Document>, bool)>>,
    reports: tokio::sync::broadcast::Sender<Report>,
    image: Mutex<Vec<u8>>,
    accelerator: Mutex<&'static str>,
}

#[async_trait]
impl Agent for Pretend {
    fn hello(&self) -> Hello {
        Hello {
            node: "n1".to_owned(),
            release: "0.1.0".to_owned(),
            protocol: PROTOCOL,
            vcpus: 2,
            memory_mib: 1024,
            disk_gib: 10,
            accelerator: (*self.accelerator.lock().unwrap()).to_owned(),
        }
    }

    async fn apply(&self, documents: Vec<Document>, complete: bool) -> Result<()> {
        for document in &documents {
            let state = if matches!(document.spec, Spec::Absent { .. }) { State::Gone } else { State::Ready };
            let (kind, id, revision) = (document.spec.kind(), document.id, document.revision);
            _ = self.reports.send(Report { kind, id, revision, state });
        }
        self.seen.lock().unwrap().push((documents, complete));
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let receiver = self.reports.subscribe();
        futures_util::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await.ok()?, receiver))
        })
        .boxed()
    }

    async fn console(&self, _: Uuid, limit: usize) -> Result<Vec<u8>> {
        if limit == 0 { Err(Error::not_found("Guest", "x")) } else { Ok(vec![b'x'; limit]) }
    }

    async fn put_image(&self, _: Uuid, _: DiskFormat, limit: u64, mut bytes: Bytes) -> Result<StoredImage> {
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).await.map_err(|error| Error::bad_request(error.to_string()))?;
        if all.len() as u64 > limit {
            return Err(Error::too_large("the image is too large"));
        }
        let size = all.len() as u64;
        *self.image.lock().unwrap() = all;
        Ok(StoredImage { size, virtual_size: size, md5: String::new(), sha512: String::new() })
    }

    async fn read_image(&self, _: Uuid) -> Result<(u64, Bytes)> {
        let all = self.image.lock().unwrap().clone();
        Ok((all.len() as u64, Box::pin(std::io::Cursor::new(all))))
    }

    async fn delete_image(&self, _: Uuid) -> Result<()> {
        Ok(())
    }
}

fn pretend() -> Arc<Pretend> {
    let (reports, _) = tokio::sync::broadcast::channel(100);
    Arc::new(Pretend {
        seen: Mutex::default(),
        reports,
        image: Mutex::default(),
        accelerator: Mutex::new("sim"),
    })
}

async fn put(db: &Db, cx: &Cx, documents: &Documents, id: Uuid, size: u64) -> i64 {
    let spec = &Spec::Disk(Disk { size_bytes: size, image: None });
    let grant = Grant::operator(cx, Verb::new("test:put", Rule::Admin), id.to_string());
    db.write(cx, &grant, |tx| Box::pin(documents.put(tx, cx, "n1", id, spec))).await.unwrap()
}

fn connect(hub: &Hub, agent: Arc<Pretend>) -> tokio::task::JoinHandle<()> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let hub = hub.clone();
    tokio::spawn(async move { _ = agent::serve(theirs, agent).await });
    tokio::spawn(async move { _ = hub.attend(ours).await })
}

/// Waits for something that must become true.
async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

fn hub(db: &Db, cx: &Cx, documents: &Documents) -> Hub {
    Hub::new(db.clone(), cx, documents.clone(), BTreeMap::from([(Kind::Disk, "test.disks")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_reaches_the_agent_and_its_report_wakes_the_reconciler() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let documents = Documents::new(Arc::new(Inverter));
        let (hub, agent) = (hub(&test.db, &cx, &documents), pretend());
        let (early, late) = (cx.uuid(), cx.uuid());
        put(&test.db, &cx, &documents, early, 1).await;
        let socket = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(socket.path().join("agent.sock")).unwrap();
        let running = hub.clone();
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { running.run(listener, stopped).await });
        connect(&hub, agent.clone());
        eventually("all documents arrive", async || {
            agent.seen.lock().unwrap().iter().any(|(_, complete)| *complete)
        })
        .await;
        let revision = put(&test.db, &cx, &documents, late, 2).await;
        assert_eq!(put(&test.db, &cx, &documents, late, 2).await, revision, "the same again changes nothing");
        eventually("the report is stored", async || {
            let mut conn = test.db.read().await.unwrap();
            report(&mut conn, "n1", Kind::Disk, late, revision).await.unwrap() == Some(State::Ready)
        })
        .await;
        let mut conn = test.db.read().await.unwrap();
        assert!(nodes(&mut conn).await.unwrap()[0].connected);
        let backlog = hanse_work::backlog(&mut conn).await.unwrap();
        assert_eq!(backlog[0].kind, "test.disks", "{}", test.engine);
        assert_eq!(report(&mut conn, "n1", Kind::Disk, late, revision + 1).await.unwrap(), None);
        stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_stream_both_ways_and_errors_keep_their_kind() {
    let (cx, _) = context();
    let test = databases(&cx, ALL).await.remove(0);
    let documents = Documents::new(Arc::new(Inverter));
    let (hub, agent) = (hub(&test.db, &cx, &documents), pretend());
    connect(&hub, agent.clone());
    let id = cx.uuid();
    eventually("the agent is connected", async || hub.console("n1", id, 1).await.is_ok()).await;
    let image: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let put = |limit| {
        hub.put_image("n1", id, DiskFormat::Raw, limit, Box::pin(std::io::Cursor::new(image.clone())))
    };
    assert_eq!(put(4_000_000).await.unwrap().size, 3_000_000);
    assert_eq!(put(10).await.unwrap_err().kind(), ErrorKind::TooLarge);
    put(4_000_000).await.unwrap();
    let (size, mut bytes) = hub.read_image("n1", id).await.unwrap();
    let mut back = Vec::new();
    bytes.read_to_end(&mut back).await.unwrap();
    assert_eq!((size, back == image), (3_000_000, true));
    assert_eq!(hub.console("n1", id, 0).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(hub.console("n2", id, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dials_again_gets_everything_again() {
    let (cx, _) = context();
    let test = databases(&cx, ALL).await.remove(0);
    let documents = Documents::new(Arc::new(Inverter));
    let (hub, agent) = (hub(&test.db, &cx, &documents), pretend());
    put(&test.db, &cx, &documents, cx.uuid(), 1).await;
    for round in 1..=2 {
        let session = connect(&hub, agent.clone());
        eventually("a complete delivery", async || agent.seen.lock().unwrap().len() == round).await;
        session.abort();
    }
    let seen = agent.seen.lock().unwrap();
    assert!(seen.iter().all(|(documents, complete)| *complete && documents.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_guests_run_on_is_learnt_later_without_another_connection() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let documents = Documents::new(Arc::new(Inverter));
        let (hub, agent) = (hub(&test.db, &cx, &documents), pretend());
        *agent.accelerator.lock().unwrap() = Hello::UNTRIED;
        let accelerator = async || {
            nodes(&mut test.db.read().await.unwrap()).await.unwrap().pop().map(|node| node.hello.accelerator)
        };
        connect(&hub, agent.clone());
        eventually("a node", async || accelerator().await.as_deref() == Some(Hello::UNTRIED)).await;
        *agent.accelerator.lock().unwrap() = "kvm";
        eventually("its accelerator", async || accelerator().await.as_deref() == Some("kvm")).await;
        assert_eq!(hub.connected(), ["n1"]);
        // Everything is sent once for each connection.
        assert_eq!(agent.seen.lock().unwrap().iter().filter(|(_, complete)| *complete).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_repeats_of_a_forgotten_object_is_not_stored() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let documents = Documents::new(Arc::new(Inverter));
        let (hub, agent) = (hub(&test.db, &cx, &documents), pretend());
        let (forgotten, kept) = (cx.uuid(), cx.uuid());
        let revision = put(&test.db, &cx, &documents, forgotten, 1).await;
        put(&test.db, &cx, &documents, kept, 1).await;
        let grant = Grant::operator(&cx, Verb::new("test:forget", Rule::Admin), forgotten.to_string());
        let forget = test.db.write(&cx, &grant, |tx| {
            let documents = &documents;
            Box::pin(documents.forget(tx, "n1", Kind::Disk, forgotten))
        });
        forget.await.unwrap();
        connect(&hub, agent.clone());
        eventually("a delivery", async || !agent.seen.lock().unwrap().is_empty()).await;
        let say =
            |id, state| agent.reports.send(Report { kind: Kind::Disk, id, revision: revision + 9, state });
        let seen = async |id| {
            let mut conn = test.db.read().await.unwrap();
            report(&mut conn, "n1", Kind::Disk, id, revision).await.unwrap()
        };
        // Until the hub listens, nobody hears.
        eventually("a report on what is there", async || {
            let _ = say(forgotten, State::Gone);
            let _ = say(kept, State::Stopped);
            seen(kept).await == Some(State::Stopped)
        })
        .await;
        assert_eq!(seen(forgotten).await, None, "{}", test.engine);
    }
}
