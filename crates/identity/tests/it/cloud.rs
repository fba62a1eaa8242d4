//! A cloud with nothing but identity.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hanse_core::{Cx, ManualClock, Secret};
use hanse_crypto::{
    FernetKeys, MasterKey, PasswordConfig, PasswordHasher, SigningKeys, TokenProvider, Tokens,
};
use hanse_identity::{
    BootstrapSpec, CATALOG, Deps, Identity, MIGRATIONS, ProjectUser, Settings, bootstrap, ensure_project_user,
};
use hanse_store::Db;
use hanse_testkit::{TestDb, context, databases};
use hanse_web::{Api, CatalogEntry, Metrics, mount};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub const PASSWORD: &str = "correct horse";

pub struct Cloud {
    pub cx: Cx,
    pub clock: Arc<ManualClock>,
    pub hasher: Arc<PasswordHasher>,
    pub db: Db,
    tokens: Arc<Tokens>,
    master: Arc<MasterKey>,
    router: Router,
    pub identity: Identity,
    settings: Settings,
    /// Kept until the cloud is gone; a second process lives off those of the first.
    _test: Option<(TestDb, TempDir)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn token(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        self.headers["x-subject-token"].to_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

/// One cloud on each engine, bootstrapped: user `admin`, and `demo` with the role member in the project `demo`.
pub async fn clouds() -> Vec<Cloud> {
    clouds_with(&Settings::default()).await
}

/// The same twice: with sealed tokens and with signed ones.
pub async fn clouds_of_each_provider() -> Vec<Cloud> {
    let mut all = clouds().await;
    all.extend(made(TokenProvider::Jws, &Settings::default()).await);
    all
}

/// The same with other settings.
pub async fn clouds_with(settings: &Settings) -> Vec<Cloud> {
    made(TokenProvider::Fernet, settings).await
}

async fn made(provider: TokenProvider, settings: &Settings) -> Vec<Cloud> {
    let (cx, clock) = context();
    let mut all = Vec::new();
    for test in databases(&cx, &[hanse_store::MIGRATIONS, MIGRATIONS]).await {
        let hasher = PasswordHasher::start(&cx, &PasswordConfig::cheap_for_tests()).unwrap();
        let keys = tempfile::tempdir().unwrap();
        let rings =
            (FernetKeys::new(keys.path().join("keys")), SigningKeys::new(keys.path().join("signing")));
        let tokens = Tokens::load(&cx, provider, rings.0, rings.1).unwrap();
        let (hasher, tokens) = (Arc::new(hasher), Arc::new(tokens));
        let admin_password = Secret::new(PASSWORD.to_owned());
        bootstrap(&test.db, &cx, &hasher, BootstrapSpec { admin_password }).await.unwrap();
        let master = Arc::new(MasterKey::load_or_create(&keys.path().join("master"), &cx).unwrap());
        let (router, identity) = router(&cx, &test.db, &hasher, &tokens, &master, settings);
        let (cx, clock, db) = (cx.clone(), clock.clone(), test.db.clone());
        let (settings, _test) = (settings.clone(), Some((test, keys)));
        let cloud = Cloud { cx, clock, hasher, db, tokens, master, router, identity, settings, _test };
        cloud.ensure("demo", "demo", "member").await;
        all.push(cloud);
    }
    all
}

fn router(
    cx: &Cx,
    db: &Db,
    hasher: &Arc<PasswordHasher>,
    tokens: &Arc<Tokens>,
    master: &Arc<MasterKey>,
    settings: &Settings,
) -> (Router, Identity) {
    let volume = CatalogEntry { kind: "block-storage", name: "cinder", path: "/volume/v3/{project_id}" };
    let elsewhere = CatalogEntry { kind: "s3", name: "hanse-s3", path: "" };
    let identity = Identity::new(Deps {
        db: db.clone(),
        hasher: hasher.clone(),
        tokens: tokens.clone(),
        master: master.clone(),
        catalog: vec![CATALOG, volume],
        elsewhere: vec![(elsewhere, "https://s3.cloud.test".to_owned())],
        public_url: "https://cloud.test".to_owned(),
        region: "RegionOne".to_owned(),
        settings: settings.clone(),
    });
    let api = Api {
        cx: cx.clone(),
        authenticator: identity.authenticator(),
        metrics: Metrics::default(),
        identity_url: "https://cloud.test/identity".into(),
    };
    (mount(Router::new(), &identity.service(), &api), identity)
}

impl Cloud {
    /// What a second process on the same database is: nothing in memory is shared.
    pub fn second_process(&self) -> Cloud {
        self.process_with(&self.settings)
    }

    /// The same with settings of its own.
    pub fn process_with(&self, settings: &Settings) -> Cloud {
        let (router, identity) =
            router(&self.cx, &self.db, &self.hasher, &self.tokens, &self.master, settings);
        Cloud {
            cx: self.cx.clone(),
            clock: self.clock.clone(),
            hasher: self.hasher.clone(),
            db: self.db.clone(),
            tokens: self.tokens.clone(),
            master: self.master.clone(),
            router,
            identity,
            settings: settings.clone(),
            _test: None,
        }
    }

    pub async fn ensure(&self, project: &str, user: &str, role: &str) {
        let wanted = ProjectUser {
            project: project.to_owned(),
            user: user.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
            role: role.to_owned(),
        };
        ensure_project_user(&self.db, &self.cx, &self.hasher, wanted).await.unwrap();
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/identity{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("x-auth-token", token)], body).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token, Value::Null).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.call("DELETE", path, token, Value::Null).await
    }

    /// Looks into `subject` as the owner of `token`.
    pub async fn on_token(&self, method: &str, token: &str, subject: &str) -> Answer {
        let headers = [("x-auth-token", token), ("x-subject-token", subject)];
        self.send(method, "/v3/auth/tokens", &headers, String::new()).await
    }

    pub async fn issue(&self, identity: Value, scope: Value) -> Answer {
        let mut auth = json!({ "identity": identity });
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        self.send("POST", "/v3/auth/tokens", &[], json!({ "auth": auth }).to_string()).await
    }

    pub async fn login(&self, user: &str, password: &str, scope: Value) -> Answer {
        self.issue(by_password(user, password), scope).await
    }

    pub async fn rescope(&self, token: &str, scope: Value) -> Answer {
        self.issue(json!({ "methods": ["token"], "token": { "id": token } }), scope).await
    }

    pub async fn admin(&self) -> String {
        self.login("admin", PASSWORD, in_project("admin")).await.token()
    }

    pub async fn demo(&self) -> String {
        self.login("demo", PASSWORD, in_project("demo")).await.token()
    }

    /// The id of the only object of that name.
    pub async fn id(&self, noun: &str, name: &str) -> String {
        let list = self.get(&format!("/v3/{noun}?name={name}"), &self.admin().await).await.expect(200);
        let found = list[noun].as_array().unwrap();
        assert_eq!(found.len(), 1, "{noun} {name}: {list}");
        found[0]["id"].as_str().unwrap().to_owned()
    }
}

pub fn by_password(user: &str, password: &str) -> Value {
    json!({
        "methods": ["password"],
        "password": { "user": { "name": user, "domain": { "id": "default" }, "password": password } },
    })
}

pub fn in_project(name: &str) -> Value {
    json!({ "project": { "name": name, "domain": { "name": "Default" } } })
}

pub fn role_names(token: &Value) -> Vec<String> {
    let roles = token["token"]["roles"].as_array().cloned().unwrap_or_default();
    roles.iter().map(|role| role["name"].as_str().unwrap().to_owned()).collect()
}
