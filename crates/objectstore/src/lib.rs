//! Object storage: S3 and Swift on the log store. See the crate's README for what is offered.

mod access;
mod attributes;
mod buckets;
mod completing;
mod conditions;
mod copies;
mod cors;
mod crypt;
mod customer;
mod encryption;
mod ending;
mod expiry;
mod facts;
mod fault;
mod front;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hashing;
mod intake;
mod keys;
mod kms;
mod lifecycle;
mod lists;
mod lock;
mod logging;
mod look;
mod markup;
mod multipart;
mod notifications;
mod objects;
mod offered;
mod outbound;
mod outgoing;
mod parsed;
mod policies;
mod policy;
pub mod ports;
mod query;
mod quotas;
pub mod radosgw;
mod reads;
mod record;
mod server;
mod service;
mod sums;
mod swift;
mod tagging;
mod verbs;
mod versions;
mod website;

use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Cx, Error, Result};
use hanse_crypto::MasterKey;
use hanse_logstore::Store;
use hanse_store::Db;
use hanse_web::{CatalogEntry, Metrics};

use crate::crypt::ProjectKeys;
use crate::hashing::Hashing;
use crate::logging::Logs;
use crate::notifications::Notifications;
use crate::parsed::Parsed;
use crate::policy::Policy;
use crate::quotas::Quotas;
use crate::record::Bucket;

pub use notifications::{Webhook, check_webhooks};
pub use verbs::VERBS;

/// The catalog's lines: `s3` as SCS-0123 names it, what its next version calls it, and Swift. They stand below an address of
/// their own.
pub const CATALOG: [CatalogEntry; 3] = [
    CatalogEntry { kind: "s3", name: "hanse-s3", path: "" },
    CatalogEntry { kind: "object-store-s3", name: "hanse-s3", path: "" },
    CatalogEntry { kind: "object-store", name: "swift", path: "/v1/AUTH_{project_id}" },
];

/// What the wiring hands in.
pub struct Deps {
    pub cx: Cx,
    /// For the audit trail.
    pub db: Db,
    pub store: Store,
    pub keys: Arc<dyn ports::Keys>,
    pub limits: Arc<dyn ports::Limits>,
    pub tokens: Arc<dyn ports::Tokens>,
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
    /// Below which each bucket that is a website is one. Without it, none is served.
    pub website_domain: Option<String>,
    /// Where notifications may be sent.
    pub webhooks: Vec<Webhook>,
    /// How many events of a bucket wait for one webhook.
    pub events: u64,
    /// The longest silence within a request's body.
    pub silence: Duration,
    /// How many buckets a project may have, unless it has a limit of its own. Source: S3 User Guide, "Bucket quotas".
    pub buckets: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            region: "regionone".to_owned(),
            domain: None,
            website_domain: None,
            webhooks: Vec::new(),
            events: 100_000,
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
    tokens: Arc<dyn ports::Tokens>,
    master: Arc<MasterKey>,
    projects: ProjectKeys,
    hashing: Hashing,
    quotas: Quotas,
    buckets: Parsed<Arc<Bucket>>,
    policies: Parsed<Policy>,
    logs: Logs,
    notifications: Arc<Notifications>,
    metrics: Metrics,
    settings: Settings,
}

/// # Errors
/// 400 if it is no domain name in small letters.
fn check_domain(domain: &str) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if domain.contains('.') && domain.split('.').all(is_label) {
        return Ok(());
    }
    Err(Error::bad_request(format!("'{domain}' is no domain name in small letters, such as s3.example.org")))
}

/// Whether buckets may have names below the one, and websites below the other: no name may be both.
///
/// # Errors
/// 400 if one of them is no domain name in small letters, or lies below the other.
pub fn check_domains(domain: Option<&str>, website: Option<&str>) -> Result<()> {
    for known in domain.iter().chain(&website) {
        check_domain(known)?;
    }
    let is_below = |name: &str, other: &str| {
        name.strip_suffix(other).is_some_and(|own| own.is_empty() || own.ends_with('.'))
    };
    match (domain, website) {
        (Some(domain), Some(website)) if is_below(domain, website) || is_below(website, domain) => {
            Err(Error::bad_request(format!("of '{domain}' and '{website}' neither may lie below the other")))
        }
        _ => Ok(()),
    }
}

/// What S3 calls a region of the cloud: small letters, digits and hyphens.
pub fn region(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

impl ObjectStore {
    /// # Errors
    /// 400 if a domain is none, or a webhook.
    pub fn new(deps: Deps, mut settings: Settings) -> Result<ObjectStore> {
        check_domains(settings.domain.as_deref(), settings.website_domain.as_deref())?;
        check_webhooks(&deps.cx, &settings.webhooks)?;
        settings.region = region(&settings.region);
        Ok(ObjectStore(Arc::new(Inner {
            projects: ProjectKeys::new(deps.store.clone(), deps.master.clone()),
            quotas: Quotas::new(deps.limits),
            buckets: Parsed::default(),
            policies: Parsed::default(),
            logs: Logs::default(),
            notifications: Arc::new(Notifications::new(settings.events)),
            metrics: deps.metrics,
            cx: deps.cx,
            db: deps.db,
            store: deps.store,
            hashing: Hashing::new(),
            keys: deps.keys,
            tokens: deps.tokens,
            master: deps.master,
            settings,
        })))
    }

    fn find_bucket(&self, name: &str) -> Result<Option<Arc<Bucket>>> {
        let found = self.0.store.view()?.get(&keys::bucket(name))?;
        let read = |value: &[u8]| record::from_json(value).map(Arc::new);
        found.map(|record| self.0.buckets.of(name, &record.value, read)).transpose()
    }
}
