//! Who did what: the audit trail that the store writes, as CADF events (DMTF DSP0262).
//!
//! Nothing here writes an event; [`hanse_store::Db::write`] does, in the transaction of the change.

mod api;
mod cadf;
mod db;
mod events;
mod retention;

use std::sync::Arc;

use hanse_store::Db;
use hanse_web::{CatalogEntry, FaultStyle, Service};

pub use events::{Position, Range, page};
pub use retention::Retention;

/// What the service is made of. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    pub(crate) db: Db,
    /// The address that clients reach the cloud under, without a slash at its end.
    pub(crate) public_url: Arc<str>,
}

/// The API, to be mounted at `/audit`. `public_url` is scheme, host and port of the public address.
pub fn service(db: Db, public_url: &str) -> Service {
    let audit = Audit { db, public_url: public_url.trim_end_matches('/').into() };
    Service {
        name: "audit",
        path: "/audit",
        routes: api::routes(audit),
        faults: FaultStyle::Keystone,
        microversions: None,
        reconcilers: Vec::new(),
        verbs: events::VERBS,
        catalog: vec![CatalogEntry { kind: "audit", name: "hanse-audit", path: "/audit/v1" }],
    }
}
