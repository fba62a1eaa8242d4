//! One cloud with nothing but networks in it.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use hanse_core::{CrashPoints, Cx, Error, Result, Timestamp};
use hanse_network::{Config, External, Network};
use hanse_node::desired::{Documents, Sealer};
use hanse_policy::{Caller, DomainRef, ProjectRef, Role, TokenScope};
use hanse_store::Migrations;
use hanse_testkit::{TestDb, context, databases};
use hanse_web::{Api, Authenticator, Metrics, mount};
use hanse_work::Runner;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const ALL: &[Migrations] =
    &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, hanse_node::MIGRATIONS, hanse_network::MIGRATIONS];

/// A token is `project:role`, or `:role` for one without a project.
struct Tokens;

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _: &Cx, token: &str) -> Result<Arc<Caller>> {
        let (project, role) = token.split_once(':').ok_or_else(|| Error::unauthorized("no such token"))?;
        Ok(Arc::new(caller(project, role)))
    }
}

pub fn caller(project: &str, role: &str) -> Caller {
    let order = ["reader", "member", "manager", "admin"];
    let rank = order.iter().position(|known| *known == role).unwrap();
    let domain = || DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    let scope = match project {
        "" => TokenScope::Unscoped,
        id => TokenScope::Project(ProjectRef { id: id.to_owned(), name: id.to_owned(), domain: domain() }),
    };
    let role = |name: &&str| Role { id: name.to_string(), name: name.to_string() };
    Caller {
        user_id: format!("user-of-{project}"),
        user_name: "ada".to_owned(),
        user_domain: domain(),
        scope,
        roles: order[..=rank].iter().map(role).collect(),
        expires_at: Timestamp(i64::MAX),
        audit_ids: vec!["audit".to_owned()],
        delegation: None,
    }
}

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
    pub documents: Documents,
    pub network: Network,
    pub router: Router,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// Neutron's name for what went wrong.
    pub fn fault(&self) -> (u16, &str) {
        (self.status, self.body["NeutronError"]["type"].as_str().unwrap_or(""))
    }
}

/// A member of the first project, of the second, and an admin.
pub const ADA: &str = "p1:member";
pub const BOB: &str = "p2:member";
pub const ADMIN: &str = "p9:admin";

impl World {
    /// One for each engine.
    pub async fn all() -> Vec<World> {
        let (cx, _) = context();
        let mut worlds = Vec::new();
        for test in databases(&cx, ALL).await {
            let documents = Documents::new(Arc::new(Plain));
            let config = Config { public_url: "https://cloud".to_owned(), ..Config::default() };
            let network = Network::new(test.db.clone(), documents.clone(), config);
            let api = Api {
                cx: cx.clone(),
                authenticator: Arc::new(Tokens),
                metrics: Metrics::default(),
                identity_url: "https://cloud/identity".into(),
            };
            let router = mount(Router::new(), &hanse_network::service(&network), &api);
            worlds.push(World { test, cx: cx.clone(), documents, network, router });
        }
        worlds
    }

    pub fn runner(&self) -> Runner {
        let reconcilers = hanse_network::service(&self.network).reconcilers;
        Runner::new(self.test.db.clone(), &self.cx, reconcilers, CrashPoints::none())
    }

    pub async fn call(&self, who: &str, method: &str, path: &str, body: Value) -> Answer {
        send(self.router.clone(), who, method, path, body).await
    }

    pub async fn get(&self, who: &str, path: &str) -> Value {
        let answer = self.call(who, "GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.body
    }

    /// Makes one object; the collection is the path.
    pub async fn make(&self, who: &str, collection: &str, object: Value) -> Value {
        let name = collection.strip_suffix('s').unwrap().replace('-', "_");
        let path = format!("/{collection}");
        let mut answer = self.call(who, "POST", &path, json!({ &name: object })).await;
        assert_eq!(answer.status, 201, "POST {path} {object}: {}", answer.body);
        answer.body[&name].take()
    }

    pub async fn change(&self, who: &str, collection: &str, id: &Value, change: Value) -> Answer {
        let name = collection.strip_suffix('s').unwrap().replace('-', "_");
        let path = format!("/{collection}/{}", id.as_str().unwrap());
        self.call(who, "PUT", &path, json!({ name: change })).await
    }

    pub async fn changed(&self, who: &str, collection: &str, id: &Value, change: Value) -> Value {
        let mut answer = self.change(who, collection, id, change).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let name = collection.strip_suffix('s').unwrap().replace('-', "_");
        answer.body[&name].take()
    }

    pub async fn delete(&self, who: &str, collection: &str, id: &Value) -> Answer {
        self.call(who, "DELETE", &format!("/{collection}/{}", id.as_str().unwrap()), Value::Null).await
    }

    pub async fn show(&self, who: &str, collection: &str, id: &Value) -> Value {
        let name = collection.strip_suffix('s').unwrap().replace('-', "_");
        self.get(who, &format!("/{collection}/{}", id.as_str().unwrap())).await[&name].take()
    }

    /// A network with one subnet: their ids.
    pub async fn subnet(&self, who: &str, cidr: &str) -> (Value, Value) {
        let network = self.make(who, "networks", json!({"name": "n"})).await["id"].take();
        let body = json!({"network_id": network, "cidr": cidr, "ip_version": 4});
        let subnet = self.make(who, "subnets", body).await["id"].take();
        (network, subnet)
    }

    /// The id of the network that leads out, 172.24.4.0/24.
    pub async fn external(&self) -> Value {
        let wanted = External {
            project_id: "p9".to_owned(),
            name: "public".to_owned(),
            cidr: "172.24.4.0/24".parse().unwrap(),
            gateway: "172.24.4.1".parse().unwrap(),
            pool: Some(("172.24.4.10".parse().unwrap(), "172.24.4.200".parse().unwrap())),
        };
        json!(self.network.seed_external(&self.cx, &wanted).await.unwrap())
    }

    pub async fn interface(&self, who: &str, router: &Value, verb: &str, body: Value) -> Answer {
        let path = format!("/routers/{}/{verb}_router_interface", router.as_str().unwrap());
        self.call(who, "PUT", &path, body).await
    }
}

pub async fn send(router: Router, who: &str, method: &str, path: &str, body: Value) -> Answer {
    let path = match path.strip_prefix('!') {
        Some(whole) => whole.to_owned(),
        None => format!("/network/v2.0{path}"),
    };
    let mut request = Request::builder().method(method).uri(&path);
    if !who.is_empty() {
        request = request.header("x-auth-token", who);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    assert!(status != 500, "{method} {path} broke");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    Answer { status, body }
}
