//! A cloud with nothing but volumes in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{CrashPoints, Cx, ManualClock, Result, Timestamp, Uuid};
use hanse_node::agent;
use hanse_node::desired::{Documents, Sealer, nodes};
use hanse_node::documents::Kind;
use hanse_node::hub::Hub;
use hanse_policy::{Caller, DomainRef, ProjectRef, Role, TokenScope};
use hanse_store::{Migrations, query};
use hanse_testkit::{Answer, Client, TestDb, context, databases};
use hanse_volume::{Config, VOLUMES_KIND, Volume, service};
use hanse_work::Runner;
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::agent::Pretend;

const ALL: &[Migrations] =
    &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, hanse_node::MIGRATIONS, hanse_volume::MIGRATIONS];

pub const ADA: &str = "member@p1";
pub const BOB: &str = "member@p2";
pub const ADMIN: &str = "admin@office";

struct Plain;

impl Sealer for Plain {
    fn seal(&self, _: &Cx, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.to_vec())
    }
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(sealed.to_vec())
    }
}

pub struct World {
    pub test: TestDb,
    pub cx: Cx,
    pub clock: Arc<ManualClock>,
    pub volume: Volume,
    pub client: Client,
    pub agent: Arc<Pretend>,
    hub: Hub,
    stop: CancellationToken,
    _socket: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn caller(role: &str, project: &str) -> Caller {
    let domain = || DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    let order = ["reader", "member"];
    let rank = order.iter().position(|known| *known == role).unwrap();
    let named = |name: &&str| Role { id: name.to_string(), name: name.to_string() };
    Caller {
        user_id: format!("user-{role}@{project}"),
        user_name: role.to_owned(),
        user_domain: domain(),
        scope: TokenScope::Project(ProjectRef {
            id: project.to_owned(),
            name: project.to_owned(),
            domain: domain(),
        }),
        roles: order[..=rank].iter().map(named).collect(),
        expires_at: Timestamp(i64::MAX),
        audit_ids: vec!["audit".to_owned()],
        delegation: None,
    }
}

/// The path of a resource in the project of a token.
pub fn path(token: &str, rest: &str) -> String {
    format!("/volume/v3/{}{rest}", token.split_once('@').unwrap().1)
}

impl World {
    /// One on each engine, with the node `n1` of 1000 GiB.
    pub async fn all() -> Vec<World> {
        World::with_room(1000).await
    }

    pub async fn with_room(disk_gib: u64) -> Vec<World> {
        let (cx, clock) = context();
        let mut all = Vec::new();
        for test in databases(&cx, ALL).await {
            let documents = Documents::new(Arc::new(Plain));
            let wakes = BTreeMap::from([(Kind::Disk, VOLUMES_KIND)]);
            let hub = Hub::new(test.db.clone(), &cx, documents.clone(), wakes);
            let socket = tempfile::tempdir().unwrap();
            let listener = tokio::net::UnixListener::bind(socket.path().join("agent.sock")).unwrap();
            let stop = CancellationToken::new();
            let (running, stopped) = (hub.clone(), stop.clone());
            tokio::spawn(async move { running.run(listener, stopped).await });
            // The hub forgets old sessions when it starts; ours comes after.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let volume = Volume::new(test.db.clone(), documents, "https://cloud.example/", Config::default());
            let client = Client::new(&cx, &service(&volume));
            let (cx, clock, agent) = (cx.clone(), clock.clone(), Pretend::new("n1", disk_gib));
            let world = World { test, cx, clock, volume, client, agent, hub, stop, _socket: socket };
            world.join(&world.agent).await;
            all.push(world);
        }
        all
    }

    /// Connects an agent and waits until it is known.
    pub async fn join(&self, agent: &Arc<Pretend>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (hub, serving) = (self.hub.clone(), agent.clone());
        tokio::spawn(async move { _ = agent::serve(theirs, serving).await });
        tokio::spawn(async move { _ = hub.attend(ours).await });
        let name = agent::Agent::hello(&**agent).node;
        self.eventually("the node is connected", async || {
            let all = nodes(&mut self.test.db.read().await.unwrap()).await.unwrap();
            all.iter().any(|node| node.name == name && node.connected)
        })
        .await;
    }

    /// Waits for something that must become true; time passes meanwhile.
    pub async fn eventually(&self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if check().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.clock.advance(Duration::from_millis(500));
        }
        panic!("never happened on {}: {what}", self.test.engine);
    }

    pub fn runner(&self, crash: CrashPoints) -> Runner {
        let reconcilers = service(&self.volume).reconcilers;
        Runner::new(self.test.db.clone(), &self.cx, reconcilers, crash)
    }

    pub async fn call(&self, method: Method, token: &str, rest: &str, body: Value) -> Answer {
        self.client.call(method, &path(token, rest), token, body).await
    }

    pub async fn get(&self, token: &str, rest: &str) -> Answer {
        self.call(Method::GET, token, rest, Value::Null).await
    }

    pub async fn post(&self, token: &str, rest: &str, body: Value) -> Answer {
        self.call(Method::POST, token, rest, body).await
    }

    pub async fn delete(&self, token: &str, id: &str) -> Answer {
        self.call(Method::DELETE, token, &format!("/volumes/{id}"), Value::Null).await
    }

    pub async fn act(&self, token: &str, id: &str, body: Value) -> Answer {
        self.post(token, &format!("/volumes/{id}/action"), body).await
    }

    /// Asks for a volume of 1 GiB and returns its id.
    pub async fn create(&self, token: &str, more: Value) -> String {
        let mut wanted = json!({ "size": 1 });
        wanted.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let answer = self.post(token, "/volumes", json!({ "volume": wanted })).await.expect(202).json();
        answer["volume"]["id"].as_str().unwrap().to_owned()
    }

    /// The same without a node's help.
    pub async fn available(&self, token: &str, more: Value) -> String {
        let id = self.create(token, more).await;
        self.act(ADMIN, &id, json!({ "os-reset_status": { "status": "available" } })).await.expect(202);
        id
    }

    pub async fn status(&self, id: &str) -> String {
        let answer = self.get(ADMIN, &format!("/volumes/{id}")).await;
        match answer.status.as_u16() {
            200 => answer.json()["volume"]["status"].as_str().unwrap().to_owned(),
            404 => "gone".to_owned(),
            other => panic!("{other}: {}", answer.text()),
        }
    }

    /// Works until the volume has the status.
    pub async fn settle(&self, id: &str, status: &str) {
        self.settle_through(id, status, CrashPoints::none()).await;
    }

    pub async fn settle_through(&self, id: &str, status: &str, crash: CrashPoints) {
        let runner = self.runner(crash);
        self.eventually(&format!("{id} is {status}"), async || {
            runner.drain().await.unwrap();
            self.status(id).await == status
        })
        .await;
        // What a crash left of the work is done too.
        self.eventually("no work is left", async || {
            runner.drain().await.unwrap();
            self.count("work_items").await == 0
        })
        .await;
    }

    pub async fn count(&self, table: &str) -> i64 {
        let mut conn = self.test.db.read().await.unwrap();
        let (count,): (i64,) =
            query(format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}")).one(&mut conn).await.unwrap();
        count
    }

    pub async fn assert_nothing_left(&self) {
        for table in ["volumes", "volume_attachments", "node_documents", "node_reports", "work_items"] {
            assert_eq!(self.count(table).await, 0, "{table} on {}", self.test.engine);
        }
    }

    pub fn uuid(&self, id: &str) -> Uuid {
        id.parse().unwrap()
    }
}
