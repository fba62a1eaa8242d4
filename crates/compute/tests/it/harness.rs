use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanse_compute::ports::Volumes;
use hanse_compute::{Config, Deps, SERVERS_KIND, service};
use hanse_core::{CrashPoints, Cx, ManualClock, Result, Uuid};
use hanse_node::agent;
use hanse_node::desired::{Documents, Sealer};
use hanse_node::documents::Kind;
use hanse_node::hub::Hub;
use hanse_policy::Grant;
use hanse_store::{Db, Migrations, query};
use hanse_testkit::{Answer, Client, TestDb, context, databases};
use hanse_work::{Reconciler, Runner};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::Pretend;
use crate::ports::{IMAGE, Neighbours, Shelf, neighbours};

const ALL: &[Migrations] = &[
    hanse_store::MIGRATIONS,
    hanse_work::MIGRATIONS,
    hanse_node::MIGRATIONS,
    hanse_compute::MIGRATIONS,
    hanse_volume::MIGRATIONS,
];

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

pub struct Bench {
    pub cx: Cx,
    pub clock: Arc<ManualClock>,
    pub test: TestDb,
    pub client: Client,
    pub runner: Runner,
    pub hub: Hub,
    pub agent: Arc<Pretend>,
    pub neighbours: Arc<Neighbours>,
    directory: TempDir,
    _stop: DropGuard,
}

/// One bench for each engine, with one connected node of 8 GiB.
pub async fn benches() -> Vec<Bench> {
    benches_with(Config::default(), CrashPoints::none()).await
}

pub async fn benches_with(config: Config, crash: CrashPoints) -> Vec<Bench> {
    benches_beside(config, crash, 8192, |_, _, neighbours| Beside {
        volumes: neighbours.clone(),
        reconcilers: Vec::new(),
    })
    .await
}

/// A neighbour of the tests' choice, with what works for it.
pub struct Beside {
    pub volumes: Arc<dyn Volumes>,
    pub reconcilers: Vec<Arc<dyn Reconciler>>,
}

/// With a node of so many MiB, and volumes of the caller's choice.
pub async fn benches_beside(
    config: Config,
    crash: CrashPoints,
    memory_mib: u64,
    mut beside: impl FnMut(&Db, &Documents, &Arc<Neighbours>) -> Beside,
) -> Vec<Bench> {
    let (cx, clock) = context();
    let mut all = Vec::new();
    for test in databases(&cx, ALL).await {
        let documents = Documents::new(Arc::new(Inverter));
        let wakes = BTreeMap::from([(Kind::Guest, SERVERS_KIND), (Kind::Disk, SERVERS_KIND)]);
        let neighbours = neighbours();
        let Beside { volumes, reconcilers } = beside(&test.db, &documents, &neighbours);
        let hub = Hub::new(test.db.clone(), &cx, documents.clone(), wakes);
        let hub = reconcilers.iter().fold(hub, |hub, beside| hub.waking(Kind::Disk, beside.kind()));
        let service = service(Deps {
            db: test.db.clone(),
            documents,
            sealer: Arc::new(Inverter),
            images: Arc::new(Shelf),
            networks: neighbours.clone(),
            volumes,
            limits: Arc::new(config.quota),
            consoles: Arc::new(hub.clone()),
            public_url: "https://cloud.example".into(),
            config: config.clone(),
        });
        let client = Client::new(&cx, &service);
        let reconcilers = service.reconcilers.into_iter().chain(reconcilers).collect();
        let runner = Runner::new(test.db.clone(), &cx, reconcilers, crash.clone());
        let agent = Pretend::new("node-1", memory_mib);
        let stop = CancellationToken::new();
        let bench = Bench {
            cx: cx.clone(),
            clock: clock.clone(),
            test,
            client,
            runner,
            hub,
            agent,
            neighbours,
            directory: tempfile::tempdir().unwrap(),
            _stop: stop.clone().drop_guard(),
        };
        bench.listen(stop);
        bench.connect(bench.agent.clone()).await;
        all.push(bench);
    }
    all
}

impl Bench {
    /// Lets an agent dial, as it does in a real cloud. Aborting the task cuts it off.
    pub async fn connect(&self, agent: Arc<Pretend>) -> JoinHandle<()> {
        let before = self.connected().await;
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let session = tokio::spawn(async move { _ = agent::serve(stream, agent).await });
        self.eventually("the agent is connected", async || self.connected().await > before).await;
        session
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    fn listen(&self, stop: CancellationToken) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.run(listener, stop).await });
    }

    async fn connected(&self) -> i64 {
        self.count("nodes WHERE connected = 1").await
    }

    pub async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        let (count,): (i64,) = query(sql).one(&mut self.test.db.read().await.unwrap()).await.unwrap();
        count
    }

    /// Waits for something that must become true, while the reconcilers work.
    pub async fn eventually(&self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        for _ in 0..12_000 {
            self.runner.drain().await.unwrap();
            if check().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never happened on {}: {what}", self.test.engine);
    }

    pub async fn try_create(&self, token: &str, more: Value) -> Answer {
        let mut server = json!({"name": "web", "imageRef": IMAGE, "flavorRef": "SCS-1L-1"});
        for (name, value) in more.as_object().unwrap() {
            server[name] = value.clone();
        }
        self.client.post("/compute/v2.1/servers", token, json!({ "server": server })).await
    }

    /// Asks for a server and returns its id.
    pub async fn create(&self, token: &str, more: Value) -> Uuid {
        let body = self.try_create(token, more).await.expect(202).json();
        body["server"]["id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn show(&self, id: Uuid) -> Value {
        let path = format!("/compute/v2.1/servers/{id}");
        self.client.get(&path, "admin@ops").await.expect(200).json()["server"].take()
    }

    pub async fn reaches(&self, id: Uuid, status: &str) {
        let what = format!("{id} becomes {status}");
        self.eventually(&what, async || {
            let server = self.show(id).await;
            server["status"] == status && server["OS-EXT-STS:task_state"].is_null()
        })
        .await;
    }

    pub async fn active(&self, token: &str, more: Value) -> Uuid {
        let id = self.create(token, more).await;
        self.reaches(id, "ACTIVE").await;
        id
    }

    pub async fn act(&self, token: &str, id: Uuid, action: Value) -> Answer {
        self.client.post(&format!("/compute/v2.1/servers/{id}/action"), token, action).await
    }

    pub async fn gone(&self, id: Uuid) {
        let path = format!("/compute/v2.1/servers/{id}");
        let what = format!("{id} is gone");
        self.eventually(&what, async || self.client.get(&path, "admin@ops").await.status == 404).await;
    }

    /// No row of any server is left anywhere.
    pub async fn assert_nothing_left(&self) {
        for table in [
            "servers",
            "allocations",
            "server_actions",
            "attachments",
            "node_documents",
            "node_reports",
            "work_items",
        ] {
            let what = format!("{table} is empty");
            self.eventually(&what, async || self.count(table).await == 0).await;
        }
        assert!(self.neighbours.ports.lock().unwrap().is_empty());
        assert!(self.neighbours.volumes.lock().unwrap().is_empty());
    }

    /// Makes everything that waits due: PostgreSQL's clock is not the test's.
    pub async fn wake_all(&self) {
        let grant = Grant::reconciler(&self.cx, "test", "all");
        let due = "UPDATE work_items SET due_at = 0";
        self.test.db.write(&self.cx, &grant, |tx| Box::pin(query(due).execute(tx))).await.unwrap();
    }
}
