//! Images: OpenStack's Image API v2 (Glance). The bytes live in a store behind [`ports::ImageStore`].

mod api;
pub mod config;
mod data;
mod db;
mod images;
mod model;
pub mod orphans;
pub mod ports;

use std::sync::Arc;

use hanse_core::CrashPoints;
use hanse_store::{Db, Migration, Migrations};
use hanse_web::{CatalogEntry, FaultStyle, Service};

pub use config::Config;
pub use data::DATA_KIND;
pub use images::usable;
pub use model::{Image, Status, Visibility};

pub const MIGRATIONS: Migrations = Migrations {
    service: "image",
    steps: &[Migration { version: 1, name: "image", sql: include_str!("../migrations/0001_image.sql") }],
};

/// What the service is made of.
#[derive(Clone)]
pub struct Deps {
    pub db: Db,
    pub store: Arc<dyn ports::ImageStore>,
    /// The address that clients reach the cloud under, without a slash at its end: `https://cloud.example:8443`.
    pub public_url: Arc<str>,
    pub config: Config,
    pub crash: CrashPoints,
}

/// The service, to be mounted at `/image`.
pub fn service(deps: Deps) -> Service {
    let reconciler = data::reconcile::Data::new(deps.db.clone(), deps.store.clone());
    Service {
        name: "image",
        path: "/image",
        routes: api::routes(deps),
        faults: FaultStyle::Glance,
        microversions: None,
        reconcilers: vec![Arc::new(reconciler)],
        verbs: images::VERBS,
        catalog: vec![CatalogEntry { kind: "image", name: "glance", path: "/image" }],
    }
}
