//! The one file that knows every service.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hanse_compute::ports::Quota;
use hanse_core::{CrashPoints, Cx, Error, Result};
use hanse_crypto::{MasterKey, PasswordHasher, Tokens};
use hanse_identity::{BootstrapSpec, Deps, Identity, ProjectUser};
use hanse_logstore::Store;
use hanse_network::{External, Network};
use hanse_node::desired::{Documents, Sealer};
use hanse_node::documents::Kind;
use hanse_node::hub::Hub;
use hanse_objectstore::ObjectStore;
use hanse_objectstore::radosgw::{self, Accounts, Admin};
use hanse_policy::Verb;
use hanse_store::{Db, Migrations};
use hanse_volume::Volume;
use hanse_web::{Api, Metrics, Service, mount};
use hanse_work::{Reconciler, Runner};
use ipnet::IpNet;

use crate::config::{Config, Engine};
use crate::health;
use crate::orphans::Owners;
use crate::ports::{IdentityService, ImageService, NetworkService, NodeStore, ServerService, VolumeService};
use crate::process::Errand;
use crate::webhooks::Webhook;

/// The tables of everything, in the order in which they may refer to each other.
pub const MIGRATIONS: &[Migrations] = &[
    hanse_store::MIGRATIONS,
    hanse_work::MIGRATIONS,
    hanse_node::MIGRATIONS,
    hanse_identity::MIGRATIONS,
    hanse_image::MIGRATIONS,
    hanse_network::MIGRATIONS,
    hanse_compute::MIGRATIONS,
    hanse_volume::MIGRATIONS,
    hanse_objectstore::radosgw::MIGRATIONS,
];

/// What the control plane is made of.
pub struct ControlPlane {
    pub hub: Hub,
    pub runner: Runner,
    pub router: Router,
    pub object_store: ObjectStoreOn,
}

/// How long radosgw may believe what identity told it, before it asks again: so long a key or a role that was taken away goes
/// on there. Its clock may be ahead of ours by less than this.
const RADOSGW_BELIEVES: Duration = Duration::from_secs(60);

/// Who asks radosgw, if it is the engine.
///
/// # Errors
/// 400 if its keys cannot be read.
pub fn radosgw(cx: &Cx, config: &Config) -> Result<Option<Arc<Admin>>> {
    let settings = config.objectstore.radosgw.as_ref().map(|radosgw| radosgw.settings()).transpose()?;
    settings.map(|settings| Ok(Arc::new(Admin::new(cx, settings)?))).transpose()
}

/// Makes object storage on a store that is open.
pub type ObjectStoreOn = Box<dyn Fn(Store) -> Result<ObjectStore> + Send>;

/// The keys that the process has opened.
pub struct Keys {
    pub master: Arc<MasterKey>,
    pub tokens: Arc<Tokens>,
    pub hasher: Arc<PasswordHasher>,
}

/// Seals what services keep under the master key: desired documents, user data.
struct MasterSealer(Arc<MasterKey>);

const PURPOSE: &str = "documents";

impl Sealer for MasterSealer {
    fn seal(&self, cx: &Cx, plain: &[u8]) -> Result<Vec<u8>> {
        self.0.seal(cx, PURPOSE, plain)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.open(PURPOSE, sealed)?.expose().clone())
    }
}

/// Puts the services together.
///
/// # Errors
/// 400 if the configuration makes no sense.
pub fn control_plane(
    cx: &Cx,
    config: &Config,
    db: &Db,
    keys: &Keys,
    metrics: &Metrics,
) -> Result<ControlPlane> {
    let Services { hub, crash, identity, all, .. } = services(cx, config, db, keys)?;
    let api = Api {
        cx: cx.clone(),
        authenticator: identity.authenticator(),
        metrics: metrics.clone(),
        identity_url: format!("{}/identity/v3", config.api.public_url).into(),
    };
    let radosgw = radosgw(cx, config)?;
    let router =
        all.iter().fold(health::routes(db.clone(), metrics.clone(), radosgw.clone()), |router, service| {
            mount(router, service, &api)
        });
    let mut reconcilers: Vec<Arc<dyn Reconciler>> =
        all.into_iter().flat_map(|service| service.reconcilers).collect();
    if let Some(admin) = radosgw {
        let of_identity = Arc::new(IdentityService(identity.clone()));
        reconcilers.push(Arc::new(Accounts::new(admin, of_identity.clone(), of_identity, db.clone())));
    }
    let runner = Runner::new(db.clone(), cx, reconcilers, crash);
    let object_store = object_store(cx, config, db, keys, metrics, identity)?;
    Ok(ControlPlane { hub, runner, router, object_store })
}

fn object_store(
    cx: &Cx,
    config: &Config,
    db: &Db,
    keys: &Keys,
    metrics: &Metrics,
    identity: Identity,
) -> Result<ObjectStoreOn> {
    let settings = hanse_objectstore::Settings {
        region: config.api.region.clone(),
        domain: config.objectstore.domain.clone(),
        website_domain: config.objectstore.website_domain.clone(),
        webhooks: config.objectstore.webhooks.iter().map(Webhook::open).collect::<Result<_>>()?,
        ..hanse_objectstore::Settings::default()
    };
    hanse_objectstore::check_webhooks(cx, &settings.webhooks)?;
    let (cx, db, master, metrics) = (cx.clone(), db.clone(), keys.master.clone(), metrics.clone());
    let of_identity = Arc::new(IdentityService(identity));
    Ok(Box::new(move |store| {
        let deps = hanse_objectstore::Deps {
            cx: cx.clone(),
            db: db.clone(),
            store,
            keys: of_identity.clone(),
            limits: of_identity.clone(),
            tokens: of_identity.clone(),
            master: master.clone(),
            metrics: metrics.clone(),
        };
        ObjectStore::new(deps, settings.clone())
    }))
}

/// All services of this cloud, and what they share.
pub struct Services {
    hub: Hub,
    crash: CrashPoints,
    pub identity: Identity,
    pub owners: Owners,
    pub all: Vec<Service>,
}

impl Services {
    /// Everything that can be asked of this cloud.
    pub fn verbs(&self) -> Vec<Verb> {
        self.all.iter().flat_map(|service| service.verbs).chain(hanse_objectstore::VERBS).copied().collect()
    }
}

/// # Errors
/// 400 if the configuration makes no sense.
pub fn services(cx: &Cx, config: &Config, db: &Db, keys: &Keys) -> Result<Services> {
    let sealer: Arc<dyn Sealer> = Arc::new(MasterSealer(keys.master.clone()));
    let documents = Documents::new(sealer.clone());
    let crash = CrashPoints::from_environment();
    let public_url: Arc<str> = config.api.public_url.as_str().into();
    let hub = hub(cx, db, documents.clone());
    let network = network(config, db, documents.clone());
    let volume = Volume::new(db.clone(), documents.clone(), &public_url, hanse_volume::Config::default());
    let image = hanse_image::Deps {
        db: db.clone(),
        store: Arc::new(NodeStore(hub.clone())),
        public_url: public_url.clone(),
        config: hanse_image::Config::default(),
        crash: crash.clone(),
    };
    let compute = hanse_compute::Deps {
        db: db.clone(),
        documents,
        sealer,
        images: Arc::new(ImageService(db.clone())),
        networks: Arc::new(NetworkService(network.clone())),
        volumes: Arc::new(VolumeService(volume.clone())),
        limits: Arc::new(Quota::default()),
        consoles: Arc::new(hub.clone()),
        public_url,
        config: hanse_compute::Config {
            cpu_allocation_ratio: config.compute.cpu_allocation_ratio,
            ..hanse_compute::Config::default()
        },
    };
    let mut services: Vec<Service> = vec![
        hanse_image::service(image.clone()),
        hanse_network::service(&network),
        hanse_volume::service(&volume, Arc::new(ServerService(db.clone()))),
        hanse_compute::service(compute.clone()),
        hanse_audit::service(db.clone(), &config.api.public_url),
    ];
    let owners = Owners { db: db.clone(), compute, network, volume, image };
    let identity = identity(config, db, keys, &services)?;
    services.push(identity.service());
    Ok(Services { hub, crash, identity, owners, all: services })
}

/// The connections to the agents, and which reconcilers their reports wake.
fn hub(cx: &Cx, db: &Db, documents: Documents) -> Hub {
    Hub::new(db.clone(), cx, documents, hanse_network::wakes())
        .waking(Kind::Guest, hanse_compute::SERVERS_KIND)
        .waking(Kind::Disk, hanse_compute::SERVERS_KIND)
        .waking(Kind::Disk, hanse_volume::VOLUMES_KIND)
        .waking_on_join(hanse_network::wake_on_join())
}

fn network(config: &Config, db: &Db, documents: Documents) -> Network {
    let settings = hanse_network::Config {
        public_url: config.api.public_url.clone(),
        ..hanse_network::Config::default()
    };
    Network::new(db.clone(), documents, settings)
}

/// Identity knows the catalog of all the others.
fn identity(config: &Config, db: &Db, keys: &Keys, others: &[Service]) -> Result<Identity> {
    let mut catalog = vec![hanse_identity::CATALOG];
    catalog.extend(others.iter().flat_map(|service| service.catalog.iter().copied()));
    let (entries, gateway) = match config.objectstore.engine {
        Engine::Embedded => (hanse_objectstore::CATALOG, None),
        Engine::Radosgw => (radosgw::CATALOG, Some(RADOSGW_BELIEVES)),
    };
    let object_storage = entries.map(|entry| (entry, config.objectstore.public_url.clone()));
    Ok(Identity::new(Deps {
        db: db.clone(),
        hasher: keys.hasher.clone(),
        tokens: keys.tokens.clone(),
        master: keys.master.clone(),
        catalog,
        elsewhere: object_storage.into(),
        public_url: config.api.public_url.clone(),
        region: config.api.region.clone(),
        settings: hanse_identity::Settings { gateway, ..config.identity.settings()? },
    }))
}

/// Makes what a new cloud begins with, where it is missing.
///
/// # Errors
/// If it cannot be written.
pub async fn bootstrap(cx: &Cx, config: &Config, db: &Db, keys: &Keys, errand: Errand) -> Result<()> {
    let hasher = &keys.hasher;
    let spec = BootstrapSpec { admin_password: errand.admin_password };
    let project_id = hanse_identity::bootstrap(db, cx, hasher, spec).await?;
    let demo = ProjectUser {
        project: "demo".to_owned(),
        user: "demo".to_owned(),
        password: errand.demo_password,
        role: "member".to_owned(),
    };
    hanse_identity::ensure_project_user(db, cx, hasher, demo).await?;
    let (IpNet::V4(cidr), IpAddr::V4(gateway)) = (config.network.public_cidr, config.host_address()) else {
        return Err(Error::bad_request("network.public_cidr must be an IPv4 network"));
    };
    let external = External { project_id, name: "public".to_owned(), cidr, gateway, pool: None };
    let documents = Documents::new(Arc::new(MasterSealer(keys.master.clone())));
    network(config, db, documents).seed_external(cx, &external).await?;
    Ok(())
}
