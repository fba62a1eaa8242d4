//! Servers, flavors and key pairs: OpenStack's Compute API v2.1 (Nova), with placement.

mod api;
mod attachments;
pub mod config;
mod db;
mod flavors;
mod keypairs;
mod model;
mod nodes;
pub mod orphans;
mod placement;
pub mod ports;
mod servers;
mod verbs;

use std::sync::Arc;

use hanse_core::{Microversion, VersionRange};
use hanse_node::desired::{Documents, Sealer};
use hanse_store::{Db, Migration, Migrations};
use hanse_web::{CatalogEntry, FaultStyle, Service};

pub use attachments::standing;
pub use config::Config;
pub use servers::KIND as SERVERS_KIND;

pub const MIGRATIONS: Migrations = Migrations {
    service: "compute",
    steps: &[
        Migration { version: 1, name: "compute", sql: include_str!("../migrations/0001_compute.sql") },
        Migration { version: 2, name: "flavors", sql: include_str!("../migrations/0002_flavors.sql") },
        Migration {
            version: 3,
            name: "attachment ids",
            sql: include_str!("../migrations/0003_attachment_ids.sql"),
        },
    ],
};

/// The microversions that are served.
pub const VERSIONS: VersionRange =
    VersionRange { min: Microversion::new(2, 1), max: Microversion::new(2, 3) };

/// What the service is made of.
#[derive(Clone)]
pub struct Deps {
    pub db: Db,
    pub documents: Documents,
    /// Encrypts user data at rest.
    pub sealer: Arc<dyn Sealer>,
    pub images: Arc<dyn ports::Images>,
    pub networks: Arc<dyn ports::Networks>,
    pub volumes: Arc<dyn ports::Volumes>,
    pub limits: Arc<dyn ports::Limits>,
    pub consoles: Arc<dyn ports::Consoles>,
    /// The address that clients reach the cloud under, without a slash at its end: `https://cloud.example:8443`.
    pub public_url: Arc<str>,
    pub config: Config,
}

/// The service, to be mounted at `/compute`. The hub must wake [`SERVERS_KIND`] for reports on guests and disks.
pub fn service(deps: Deps) -> Service {
    Service {
        name: "compute",
        path: "/compute",
        routes: api::routes(deps.clone()),
        faults: FaultStyle::Nova,
        microversions: Some(("compute", VERSIONS)),
        reconcilers: vec![Arc::new(servers::reconcile::Servers::new(deps))],
        verbs: verbs::VERBS,
        catalog: vec![CatalogEntry { kind: "compute", name: "nova", path: "/compute/v2.1" }],
    }
}
