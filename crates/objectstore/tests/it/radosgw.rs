//! The users of projects in radosgw follow the projects. What answers is a pretended Admin Ops API; `make test-ceph` has the real
//! one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hanse_core::{CrashPoints, Cx, ManualClock, Result, Secret, hex};
use hanse_objectstore::ports::{Limits, Project, Projects, Quota};
use hanse_objectstore::radosgw::{self, Accounts, Admin, Settings};
use hanse_testkit::{context, databases};
use hanse_work::Runner;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

const SECRET: &str = "the secret of the admin";

/// Longer than from one pass to the next.
const LATER: Duration = Duration::from_secs(20);
/// Longer than what was set is believed to stand.
const MUCH_LATER: Duration = Duration::from_secs(3600);

/// What radosgw knows, by the ids of its users.
#[derive(Default)]
struct Radosgw {
    users: BTreeMap<String, Value>,
    /// Requests that change something.
    writes: usize,
    is_down: bool,
}

fn user(name: &str, kind: &str) -> Value {
    json!({
        "display_name": name, "type": kind, "suspended": 0, "max_buckets": 1000,
        "user_quota": { "enabled": false, "max_size": -1, "max_objects": -1 },
        "stats": { "size": 0, "num_objects": 0 },
    })
}

/// Whether the request is signed as the documentation of the signature says, over the query in the order of its names.
fn is_signed(request: &Request<Incoming>) -> bool {
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    let mut pairs: Vec<(&str, &str)> =
        request.uri().query().unwrap().split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (date, hash) = (header("x-amz-date"), header("x-amz-content-sha256"));
    let canonical = format!(
        "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{hash}\nx-amz-date:{date}\n\nhost;x-amz-content-sha256;x-amz-date\n{hash}",
        request.method(),
        request.uri().path(),
        query.join("&"),
        header("host"),
    );
    let scope = format!("{}/us-east-1/s3", &date[..8]);
    let digest = hex(Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}/aws4_request\n{digest}");
    let signature = hanse_crypto::sign_version_4(&Secret::new(SECRET.to_owned()), &scope, &text).unwrap();
    let authorization = header("authorization");
    authorization.contains(&format!("Credential=ADMIN/{scope}/aws4_request,"))
        && authorization.ends_with(&format!("Signature={signature}"))
}

impl Radosgw {
    fn answer(&mut self, request: &Request<Incoming>) -> (u16, Value) {
        if self.is_down {
            return (503, Value::Null);
        }
        if !is_signed(request) {
            return (403, json!({ "Code": "SignatureDoesNotMatch" }));
        }
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap()
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| {
                (name.to_owned(), value.replace("%24", "$").replace("%3A", ":").replace("%20", " "))
            })
            .collect();
        if query.contains_key("list") {
            // One at a time, so that there are pages.
            let marker = query.get("marker").map_or("", |marker| marker.trim_start_matches("at:"));
            let left: Vec<&String> = self.users.keys().filter(|uid| uid.as_str() > marker).collect();
            let page: Vec<&&String> = left.iter().take(1).collect();
            let marker = page.first().map(|uid| format!("at:{uid}")).unwrap_or_default();
            return (200, json!({ "keys": page, "truncated": left.len() > 1, "marker": marker }));
        }
        let uid = &query["uid"];
        if *request.method() != Method::GET {
            self.writes += 1;
        }
        if *request.method() == Method::PUT && !query.contains_key("quota") {
            self.users.insert(uid.clone(), user(&query["display-name"], "rgw"));
        }
        let Some(known) = self.users.get_mut(uid) else {
            return (404, json!({ "Code": "NoSuchUser" }));
        };
        let number = |name: &str| query.get(name).map(|text| text.parse::<i64>().unwrap());
        if let Some(buckets) = number("max-buckets") {
            known["max_buckets"] = json!(buckets);
        }
        if let Some(suspended) = query.get("suspended") {
            known["suspended"] = json!(u8::from(suspended == "true"));
        }
        if query.contains_key("quota") {
            known["user_quota"] = json!({
                "enabled": query["enabled"] == "true",
                "max_size": number("max-size"), "max_objects": number("max-objects"),
            });
        }
        (200, known.clone())
    }
}

/// Serves it until the test ends.
async fn serve(radosgw: Arc<Mutex<Radosgw>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let radosgw = radosgw.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (status, body) = radosgw.lock().unwrap().answer(&request);
                let answer =
                    Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
                async move { Ok::<_, Infallible>(answer.unwrap()) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

#[derive(Default)]
struct Identity {
    projects: Mutex<Vec<Project>>,
    limits: Mutex<BTreeMap<String, Quota>>,
}

#[async_trait]
impl Projects for Identity {
    async fn all(&self, _: &Cx) -> Result<Vec<Project>> {
        Ok(self.projects.lock().unwrap().clone())
    }
}

#[async_trait]
impl Limits for Identity {
    async fn of(&self, _: &Cx, project_id: &str) -> Result<Quota> {
        Ok(self.limits.lock().unwrap().get(project_id).copied().unwrap_or_default())
    }
}

/// Hanse and a radosgw that already knows the project `used`, and one of another cloud.
struct World {
    radosgw: Arc<Mutex<Radosgw>>,
    identity: Arc<Identity>,
    runner: Runner,
    clock: Arc<ManualClock>,
    cx: Cx,
    /// Whose work is woken before each pass.
    woken: Option<hanse_store::Db>,
}

fn settings(address: SocketAddr, secret: &str) -> Settings {
    Settings {
        endpoint: format!("http://{address}"),
        access_key: "ADMIN".to_owned(),
        secret_key: Secret::new(secret.to_owned()),
        ca: None,
    }
}

impl World {
    /// One on each engine.
    async fn all() -> Vec<(World, hanse_testkit::TestDb)> {
        let (cx, clock) = context();
        let mut worlds = Vec::new();
        for test in
            databases(&cx, &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, radosgw::MIGRATIONS]).await
        {
            let radosgw = Arc::new(Mutex::new(Radosgw::default()));
            for (uid, kind) in [("used$used", "keystone"), ("other$other", "keystone"), ("admin", "rgw")] {
                radosgw.lock().unwrap().users.insert(uid.to_owned(), user(uid, kind));
            }
            let address = serve(radosgw.clone()).await;
            let admin = Arc::new(Admin::new(&cx, settings(address, SECRET)).unwrap());
            let identity = Arc::new(Identity::default());
            for id in ["used", "blue", "plain"] {
                let project = Project { id: id.to_owned(), name: format!("the {id} one"), enabled: true };
                identity.projects.lock().unwrap().push(project);
            }
            let accounts = Accounts::new(admin, identity.clone(), identity.clone(), test.db.clone());
            let runner = Runner::new(test.db.clone(), &cx, vec![Arc::new(accounts)], CrashPoints::none());
            radosgw::begin(&test.db, &cx).await.unwrap();
            let woken = (test.engine != "sqlite").then(|| test.db.clone());
            let (cx, clock) = (cx.clone(), clock.clone());
            worlds.push((World { radosgw, identity, runner, clock, cx, woken }, test));
        }
        worlds
    }

    fn limit(&self, project: &str, quota: Quota) {
        self.identity.limits.lock().unwrap().insert(project.to_owned(), quota);
    }

    fn enable(&self, project: &str, enabled: bool) {
        let mut projects = self.identity.projects.lock().unwrap();
        projects.iter_mut().filter(|known| known.id == project).for_each(|known| known.enabled = enabled);
    }

    fn delete(&self, project: &str) {
        self.identity.projects.lock().unwrap().retain(|known| known.id != project);
    }

    async fn pass(&self, after: Duration) {
        self.clock.advance(after);
        // PostgreSQL's work goes by the time of the server, which nobody puts forward.
        if let Some(db) = &self.woken {
            radosgw::begin(db, &self.cx).await.unwrap();
        }
        self.runner.drain().await.unwrap();
    }

    fn of(&self, project: &str) -> Value {
        self.radosgw.lock().unwrap().users.get(&format!("{project}${project}")).cloned().unwrap_or_default()
    }

    fn writes(&self) -> usize {
        std::mem::take(&mut self.radosgw.lock().unwrap().writes)
    }
}

#[tokio::test]
async fn radosgw_learns_the_limits_of_projects_and_nothing_twice() {
    for (world, _test) in World::all().await {
        world.limit("blue", Quota { buckets: Some(3), objects: Some(10), bytes: Some(1 << 40) });
        world.pass(LATER).await;
        let blue = world.of("blue");
        assert_eq!(blue["display_name"], "the blue one");
        assert_eq!(blue["max_buckets"], 3);
        assert_eq!(
            blue["user_quota"],
            json!({ "enabled": true, "max_size": 1_u64 << 40, "max_objects": 10 })
        );
        assert_eq!(world.of("plain"), Value::Null, "it has neither limits nor objects");
        assert!(world.writes() > 0);
        world.pass(LATER).await;
        world.pass(MUCH_LATER).await;
        assert_eq!(world.writes(), 0, "all is as it should be");

        world.limit("used", Quota { buckets: Some(0), objects: None, bytes: Some(0) });
        world.limit("blue", Quota::default());
        world.pass(LATER).await;
        assert_eq!(world.of("used")["max_buckets"], -1);
        assert_eq!(
            world.of("used")["user_quota"],
            json!({ "enabled": true, "max_size": 0, "max_objects": -1 })
        );
        assert_eq!(world.of("blue")["user_quota"]["enabled"], false);
        assert_eq!(world.of("blue")["max_buckets"], 1000);

        // Somebody else changes it.
        world.radosgw.lock().unwrap().users.get_mut("used$used").unwrap()["max_buckets"] = json!(7);
        for _ in 0..40 {
            world.pass(LATER).await;
        }
        assert_eq!(world.of("used")["max_buckets"], -1);
    }
}

#[tokio::test]
async fn nobody_is_let_into_a_project_that_is_disabled_or_gone_and_nothing_is_deleted() {
    for (world, _test) in World::all().await {
        world.pass(LATER).await;
        world.enable("used", false);
        world.pass(LATER).await;
        assert_eq!(world.of("used")["suspended"], 1);
        world.enable("used", true);
        world.pass(LATER).await;
        assert_eq!(world.of("used")["suspended"], 0);
        world.delete("used");
        world.pass(LATER).await;
        assert_eq!(world.of("used")["suspended"], 1);
        assert_eq!(world.of("other")["suspended"], 0, "it is another cloud's");
        world.writes();
        world.pass(MUCH_LATER).await;
        assert_eq!(world.writes(), 0);
        assert_eq!(world.radosgw.lock().unwrap().users.len(), 3);
    }
}

#[tokio::test]
async fn what_radosgw_could_not_be_told_it_is_told_when_it_answers_again() {
    for (world, _test) in World::all().await {
        world.limit("blue", Quota { objects: Some(1), ..Quota::default() });
        world.radosgw.lock().unwrap().is_down = true;
        for _ in 0..3 {
            world.pass(MUCH_LATER).await;
        }
        assert_eq!(world.of("blue"), Value::Null);
        world.radosgw.lock().unwrap().is_down = false;
        world.pass(MUCH_LATER).await;
        assert_eq!(world.of("blue")["user_quota"]["max_objects"], 1);
    }
}

#[tokio::test]
async fn a_wrong_secret_is_said_and_shown_to_nobody() {
    let (cx, _) = context();
    let address = serve(Arc::new(Mutex::new(Radosgw::default()))).await;
    Admin::new(&cx, settings(address, SECRET)).unwrap().check().await.unwrap();
    let error = Admin::new(&cx, settings(address, "wrong")).unwrap().check().await.unwrap_err().detail();
    assert!(error.contains("SignatureDoesNotMatch") && !error.contains("wrong"), "{error}");
}
