//! Volumes: OpenStack's Block Storage API v3 (Cinder).
//!
//! A volume is a disk on one node. The API writes its row and states the disk to the node in one transaction; the
//! node's report settles the row.

mod api;
mod attachments;
mod config;
mod db;
mod model;
mod nodes;
pub mod orphans;
pub mod ports;
mod quotas;
mod types;
mod verbs;
mod volumes;

use std::sync::Arc;

use hanse_core::{Microversion, VersionRange};
use hanse_node::desired::Documents;
use hanse_store::{Db, Migration, Migrations};
use hanse_web::{CatalogEntry, FaultStyle, Service};

pub use attachments::{Attachable, Use};
pub use config::Config;
pub use model::{Attachment, State};
pub use quotas::Quota;
pub use volumes::KIND as VOLUMES_KIND;

pub const MIGRATIONS: Migrations = Migrations {
    service: "volume",
    steps: &[
        Migration { version: 1, name: "volume", sql: include_str!("../migrations/0001_volume.sql") },
        Migration {
            version: 2,
            name: "attachment ids",
            sql: include_str!("../migrations/0002_attachment_ids.sql"),
        },
    ],
};

/// The microversions that are served.
pub const VERSIONS: VersionRange =
    VersionRange { min: Microversion::new(3, 0), max: Microversion::new(3, 0) };

/// The volume service. Cheap to clone. What other services may ask of it are its methods.
#[derive(Clone)]
pub struct Volume {
    pub(crate) db: Db,
    pub(crate) documents: Documents,
    /// The address that clients reach the cloud under, without a slash at its end.
    pub(crate) public_url: Arc<str>,
    pub(crate) config: Config,
}

impl Volume {
    /// `public_url` is scheme, host and port of the public address: `https://cloud.example:8443`.
    pub fn new(db: Db, documents: Documents, public_url: &str, config: Config) -> Volume {
        Volume { db, documents, public_url: public_url.trim_end_matches('/').into(), config }
    }
}

/// The service, to be mounted at `/volume`. The hub must wake [`VOLUMES_KIND`] for reports on disks.
pub fn service(volume: &Volume, servers: Arc<dyn ports::Servers>) -> Service {
    let entry = |kind, name| CatalogEntry { kind, name, path: "/volume/v3/{project_id}" };
    Service {
        name: "volume",
        path: "/volume",
        routes: api::routes(volume),
        faults: FaultStyle::Nova,
        microversions: Some(("volume", VERSIONS)),
        reconcilers: vec![Arc::new(volumes::reconcile::Volumes::new(volume.clone(), servers))],
        verbs: verbs::VERBS,
        // Older clients know the service by its alias.
        catalog: vec![entry("block-storage", "cinder"), entry("volumev3", "cinderv3")],
    }
}
