//! The one file that knows every service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hanse_core::{CrashPoints, Cx, Result};
use hanse_crypto::{FernetTokens, MasterKey, PasswordHasher};
use hanse_identity::{BootstrapSpec, Deps, Identity, ProjectUser, Settings};
use hanse_node::desired::{Documents, Sealer};
use hanse_node::documents::Kind;
use hanse_node::hub::Hub;
use hanse_store::{Db, Migrations};
use hanse_web::{Api, CatalogEntry, Metrics, Service, mount};
use hanse_work::Runner;

use crate::config::Config;
use crate::health;
use crate::process::Errand;

/// The tables of everything, in the order in which they may refer to each other.
pub const MIGRATIONS: &[Migrations] =
    &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, hanse_node::MIGRATIONS, hanse_identity::MIGRATIONS];

/// What stands in the catalog.
const CATALOG: &[CatalogEntry] = &[hanse_identity::CATALOG];

/// What the control plane is made of.
pub struct ControlPlane {
    pub hub: Hub,
    pub runner: Runner,
    pub router: Router,
}

/// The keys that the process has opened.
pub struct Keys {
    pub master: Arc<MasterKey>,
    pub tokens: Arc<FernetTokens>,
    pub hasher: Arc<PasswordHasher>,
}

/// Seals desired documents under the master key.
struct DocumentSealer(Arc<MasterKey>);

const DOCUMENTS: &str = "node documents";

impl Sealer for DocumentSealer {
    fn seal(&self, cx: &Cx, plain: &[u8]) -> Result<Vec<u8>> {
        self.0.seal(cx, DOCUMENTS, plain)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.open(DOCUMENTS, sealed)?.expose().clone())
    }
}

/// Puts the services together.
pub fn control_plane(cx: &Cx, config: &Config, db: &Db, keys: &Keys, metrics: &Metrics) -> ControlPlane {
    let documents = Documents::new(Arc::new(DocumentSealer(keys.master.clone())));
    let hub = Hub::new(db.clone(), cx, documents, wakes());
    let identity = Identity::new(Deps {
        db: db.clone(),
        hasher: keys.hasher.clone(),
        tokens: keys.tokens.clone(),
        catalog: CATALOG.to_vec(),
        public_url: config.api.public_url.clone(),
        region: config.api.region.clone(),
        settings: Settings {
            token_life: Duration::from_secs(u64::from(config.identity.token_minutes) * 60),
            ..Settings::default()
        },
    });
    let services: Vec<Service> = vec![identity.service()];
    let api = Api {
        cx: cx.clone(),
        authenticator: identity.authenticator(),
        metrics: metrics.clone(),
        identity_url: format!("{}/identity", config.api.public_url).into(),
    };
    let router = services
        .iter()
        .fold(health::routes(db.clone(), metrics.clone()), |router, service| mount(router, service, &api));
    let reconcilers = services.into_iter().flat_map(|service| service.reconcilers).collect();
    let runner = Runner::new(db.clone(), cx, reconcilers, CrashPoints::from_environment());
    ControlPlane { hub, runner, router }
}

/// Which reconciler a report of an agent wakes.
fn wakes() -> BTreeMap<Kind, &'static str> {
    BTreeMap::new()
}

/// Makes what a new cloud begins with, where it is missing.
///
/// # Errors
/// If it cannot be written.
pub async fn bootstrap(cx: &Cx, db: &Db, hasher: &PasswordHasher, errand: Errand) -> Result<()> {
    hanse_identity::bootstrap(db, cx, hasher, BootstrapSpec { admin_password: errand.admin_password })
        .await?;
    let demo = ProjectUser {
        project: "demo".to_owned(),
        user: "demo".to_owned(),
        password: errand.demo_password,
        role: "member".to_owned(),
    };
    hanse_identity::ensure_project_user(db, cx, hasher, demo).await?;
    Ok(())
}
