//! Filters, limits and markers of the lists of a real identity service on SQLite, as an admin; the first byte chooses
//! the list. Nothing is written, so an input means the same each time.
#![no_main]

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use hanse_core::{Cx, Secret};
use hanse_crypto::{
    FernetKeys, MasterKey, PasswordConfig, PasswordHasher, SigningKeys, TokenProvider, Tokens,
};
use hanse_identity::{BootstrapSpec, CATALOG, Deps, Identity, MIGRATIONS, Settings, bootstrap};
use hanse_store::Db;
use hanse_web::{Api, Metrics, Params, mount};
use http::Request;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const LISTS: &[&str] = &[
    "users",
    "groups",
    "projects",
    "domains",
    "roles",
    "role_assignments",
    "role_inferences",
    "regions",
    "services",
    "endpoints",
    "policies",
    "credentials",
    "registered_limits",
    "limits",
    "OS-TRUST/trusts",
    "OS-EP-FILTER/endpoint_groups",
    "domains/default/config",
    "auth/projects",
    "auth/domains",
    "auth/tokens",
];

struct World {
    runtime: Runtime,
    router: Router,
    token: String,
    _directory: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (cx, directory) = (Cx::system(), tempfile::tempdir().unwrap());
    let (router, token) = runtime.block_on(async {
        let file = directory.path().join("state.db");
        let db = Db::sqlite(&cx, &file, &[hanse_store::MIGRATIONS, MIGRATIONS]).await.unwrap();
        let hasher = Arc::new(PasswordHasher::start(&cx, &PasswordConfig::cheap_for_tests()).unwrap());
        let keys = (
            FernetKeys::new(directory.path().join("keys")),
            SigningKeys::new(directory.path().join("signing")),
        );
        let tokens = Tokens::load(&cx, TokenProvider::Fernet, keys.0, keys.1).unwrap();
        let admin_password = Secret::new("password".to_owned());
        bootstrap(&db, &cx, &hasher, BootstrapSpec { admin_password }).await.unwrap();
        let identity = Identity::new(Deps {
            db,
            hasher,
            tokens: Arc::new(tokens),
            master: Arc::new(MasterKey::load_or_create(&directory.path().join("master"), &cx).unwrap()),
            catalog: vec![CATALOG],
            elsewhere: Vec::new(),
            public_url: "https://cloud.test".to_owned(),
            region: "RegionOne".to_owned(),
            settings: Settings {
                token_life: std::time::Duration::from_secs(30 * 86_400),
                ..Settings::default()
            },
        });
        let api = Api {
            cx: cx.clone(),
            authenticator: identity.authenticator(),
            metrics: Metrics::default(),
            identity_url: "https://cloud.test/identity".into(),
        };
        let router = mount(Router::new(), &identity.service(), &api);
        let user = json!({ "name": "admin", "domain": { "id": "default" }, "password": "password" });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": "admin", "domain": { "id": "default" } } },
        }});
        let request = Request::post("/identity/v3/auth/tokens").body(Body::from(body.to_string())).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        (router, token)
    });
    World { runtime, router, token, _directory: directory }
});

fuzz_target!(|bytes: &[u8]| {
    let Some((list, query)) = bytes.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let params = Params::parse(query);
    let next = Params::parse(&params.with_marker("the next"));
    assert_eq!(next.get("marker"), Some("the next"));
    assert_eq!(
        next.iter().filter(|(key, _)| *key != "marker").count(),
        params.iter().filter(|(key, _)| *key != "marker").count()
    );
    let world = &*WORLD;
    let uri = format!("/identity/v3/{}?{query}", LISTS[usize::from(*list) % LISTS.len()]);
    let request =
        Request::get(&uri).header("x-auth-token", &world.token).header("x-subject-token", &world.token);
    // What is no address at all never reaches us.
    let Ok(request) = request.body(Body::empty()) else { return };
    let (status, body) = world.runtime.block_on(async {
        let (parts, body) = world.router.clone().oneshot(request).await.unwrap().into_parts();
        (parts.status.as_u16(), body.collect().await.unwrap().to_bytes())
    });
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    assert!(status < 500, "{uri}: {status} {body}");
    assert!(status < 400 || body["error"]["code"] == status, "{uri}: {status} {body}");
});
