//! Object storage with its listener, and keys of a few users.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hanse_core::{Clock as _, Cx, Error, ManualClock, OsRandom, Result, Secret};
use hanse_crypto::MasterKey;
use hanse_logstore::{Options, Store};
use hanse_objectstore::ports::{Key, Keys, Limits, Quota, Tokens};
use hanse_objectstore::{Deps, ObjectStore, Settings, Webhook};
use hanse_policy::{Caller, DomainRef, ProjectRef, Role, TokenScope};
use hanse_store::Db;
use hanse_web::{Listener, Metrics};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// Below which buckets have names.
pub const DOMAIN: &str = "s3.test";

/// Below which websites are.
pub const SITES: &str = "site.test";

/// So many events of a bucket wait for a webhook.
pub const WAITING: u64 = 20;

/// Who has which key: `<role>-<project>`, with the role and those that it implies.
#[derive(Default)]
pub struct TestKeys {
    callers: Mutex<BTreeMap<String, Caller>>,
    quotas: Mutex<BTreeMap<String, Quota>>,
}

pub fn secret(access: &str) -> String {
    format!("the secret of {access}")
}

fn caller(roles: &[&str], project: &str) -> Caller {
    let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    let project = ProjectRef { id: project.to_owned(), name: project.to_owned(), domain: domain.clone() };
    Caller {
        user_id: format!("user-{}", roles.join("-")),
        user_name: "somebody".to_owned(),
        user_domain: domain,
        scope: TokenScope::Project(project),
        roles: roles.iter().map(|role| Role { id: (*role).to_owned(), name: (*role).to_owned() }).collect(),
        expires_at: hanse_core::Timestamp(i64::MAX),
        audit_ids: Vec::new(),
        delegation: None,
    }
}

impl TestKeys {
    fn new() -> TestKeys {
        let keys = TestKeys::default();
        for project in ["mine", "other"] {
            for roles in [&["reader"][..], &["member", "reader"], &["manager", "member", "reader"]] {
                keys.give(&format!("{}-{project}", roles[0]), roles, project);
            }
        }
        keys.give("admin-admin", &["admin", "manager", "member", "reader"], "admin");
        keys.give("nothing-mine", &["other"], "mine");
        keys
    }

    pub fn give(&self, access: &str, roles: &[&str], project: &str) {
        self.callers.lock().unwrap().insert(access.to_owned(), caller(roles, project));
    }

    /// A key of a user and a project with ids as policies name them.
    pub fn give_to(&self, access: &str, user_id: &str, roles: &[&str], project: &str) {
        let caller = Caller { user_id: user_id.to_owned(), ..caller(roles, project) };
        self.callers.lock().unwrap().insert(access.to_owned(), caller);
    }

    pub fn limit(&self, project: &str, quota: Quota) {
        self.quotas.lock().unwrap().insert(project.to_owned(), quota);
    }

    pub fn take(&self, access: &str) {
        self.callers.lock().unwrap().remove(access);
    }
}

#[async_trait]
impl Keys for TestKeys {
    async fn find(&self, _: &Cx, access: &str) -> Result<Option<Key>> {
        let found = self.callers.lock().unwrap().get(access).cloned();
        Ok(found.map(|caller| Key { secret: Secret::new(secret(access)), caller: Arc::new(caller) }))
    }
}

/// The token of a user is called as their key is.
#[async_trait]
impl Tokens for TestKeys {
    async fn authenticate(&self, _: &Cx, token: &str) -> Result<Arc<Caller>> {
        let found = self.callers.lock().unwrap().get(token).cloned();
        found.map(Arc::new).ok_or_else(|| Error::unauthorized("no such token"))
    }
}

/// Limits are those that a test sets.
#[async_trait]
impl Limits for TestKeys {
    async fn of(&self, _: &Cx, project_id: &str) -> Result<Quota> {
        Ok(self.quotas.lock().unwrap().get(project_id).copied().unwrap_or_default())
    }
}

/// A running service.
pub struct Cloud {
    pub address: SocketAddr,
    pub keys: Arc<TestKeys>,
    pub store: Store,
    pub db: Db,
    pub metrics: Metrics,
    /// Behind which it lives; signatures are compared with the real time.
    pub clock: Arc<ManualClock>,
    pub service: ObjectStore,
    webhooks: Vec<Webhook>,
    directory: TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Cloud {
    pub async fn start() -> Cloud {
        Cloud::with_webhooks(Vec::new()).await
    }

    /// One whose operator lets notifications be sent there.
    pub async fn with_webhooks(webhooks: Vec<Webhook>) -> Cloud {
        Cloud::in_directory(tempfile::tempdir().unwrap(), webhooks).await
    }

    async fn in_directory(directory: TempDir, webhooks: Vec<Webhook>) -> Cloud {
        let clock = Arc::new(ManualClock::at(Cx::system().now()));
        let cx = Cx::new(clock.clone(), Arc::new(OsRandom));
        let path = |name: &str| directory.path().join(name);
        let store = Store::open(&cx, &path("objects"), Options::default()).unwrap();
        let db = Db::sqlite(&cx, &path("state.db"), &[hanse_store::MIGRATIONS]).await.unwrap();
        let master = Arc::new(MasterKey::load_or_create(&path("master.key"), &cx).unwrap());
        let keys = Arc::new(TestKeys::new());
        let metrics = Metrics::default();
        let deps = Deps {
            cx,
            db: db.clone(),
            store: store.clone(),
            keys: keys.clone(),
            limits: keys.clone(),
            tokens: keys.clone(),
            master,
            metrics: metrics.clone(),
        };
        let settings = Settings {
            domain: Some(DOMAIN.to_owned()),
            website_domain: Some(SITES.to_owned()),
            webhooks: webhooks.clone(),
            events: WAITING,
            ..Settings::default()
        };
        let service = ObjectStore::new(deps, settings).unwrap();
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let listener =
            Listener::bind(anywhere, "listen", None, hanse_web::Limits::default(), Metrics::default())
                .await
                .unwrap();
        let (address, stop) = (listener.address().unwrap(), CancellationToken::new());
        let running = tokio::spawn(service.clone().serve(listener, stop.clone()));
        Cloud { address, keys, store, db, metrics, clock, service, webhooks, directory, stop, running }
    }

    /// Ends the service and starts it again on the same directory.
    pub async fn restarted(self) -> Cloud {
        self.stop.cancel();
        self.running.await.unwrap();
        drop(self.service);
        self.store.close().await;
        self.db.close().await;
        Cloud::in_directory(self.directory, self.webhooks).await
    }

    pub fn now(&self) -> hanse_core::Timestamp {
        self.clock.now()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client with a key: `member-mine` and so on.
    pub fn client(&self, access: &str) -> Client {
        Client::new(self.address, access, &secret(access))
    }

    /// A member of the project `mine`, who has made a bucket.
    pub async fn member(&self, bucket: &str) -> Client {
        let client = self.client("member-mine");
        client.put(&format!("/{bucket}"), b"").await.expect(200);
        client
    }
}
