//! Object storage: S3 on the log store. See the crate's README for what is offered.

mod access;
mod buckets;
mod conditions;
mod copies;
mod cors;
mod crypt;
mod fault;
mod front;
mod intake;
mod keys;
mod lists;
mod multipart;
mod objects;
mod outgoing;
mod policy;
pub mod ports;
mod record;
mod server;
mod service;
mod sums;
mod tagging;
mod verbs;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Cx, Result};
use hanse_crypto::MasterKey;
use hanse_logstore::Store;
use hanse_store::Db;
use hanse_web::{CatalogEntry, Metrics};

use crate::crypt::ProjectKeys;
use crate::record::Bucket;

pub use verbs::VERBS;

/// The catalog's lines: `s3` as SCS-0123 names it, and what its next version calls it. They stand below an address of
/// their own.
pub const CATALOG: [CatalogEntry; 2] = [
    CatalogEntry { kind: "s3", name: "hanse-s3", path: "" },
    CatalogEntry { kind: "object-store-s3", name: "hanse-s3", path: "" },
];

/// What the wiring hands in.
pub struct Deps {
    pub cx: Cx,
    /// For the audit trail.
    pub db: Db,
    pub store: Store,
    pub keys: Arc<dyn ports::Keys>,
    pub master: Arc<MasterKey>,
    pub metrics: Metrics,
}

/// How it is reached, and what clients may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `GetBucketLocation` says: in small letters, whatever the catalog calls it, since `s3s` knows no others.
    pub region: String,
    /// Below which each bucket has a name of its own.
    pub domain: Option<String>,
    /// Connections open at once; further ones are closed at once.
    pub connections: usize,
    /// From accepting a connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last; also how long an idle connection is kept.
    pub head: Duration,
    /// The longest silence within a request's body.
    pub silence: Duration,
    /// How many buckets a project may have. Source: S3 User Guide, "Bucket quotas".
    pub buckets: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            region: "regionone".to_owned(),
            domain: None,
            connections: 4096,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            buckets: 1000,
        }
    }
}

/// The service. Cheap to clone; one a process.
#[derive(Clone)]
pub struct ObjectStore(Arc<Inner>);

struct Inner {
    cx: Cx,
    db: Db,
    store: Store,
    keys: Arc<dyn ports::Keys>,
    metrics: Metrics,
    projects: ProjectKeys,
    settings: Settings,
}

/// What S3 calls a region of the cloud: small letters, digits and hyphens.
pub fn region(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

impl ObjectStore {
    /// # Errors
    /// 400 if the domain is none.
    pub fn new(deps: Deps, mut settings: Settings) -> Result<ObjectStore> {
        server::check_domain(settings.domain.as_deref())?;
        settings.region = region(&settings.region);
        Ok(ObjectStore(Arc::new(Inner {
            projects: ProjectKeys::new(deps.store.clone(), deps.master),
            cx: deps.cx,
            db: deps.db,
            store: deps.store,
            keys: deps.keys,
            metrics: deps.metrics,
            settings,
        })))
    }

    fn find_bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let found = self.0.store.view()?.get(&keys::bucket(name))?;
        found.map(|record| record::from_json(&record.value)).transpose()
    }
}
