//! What a service crate hands to the wiring.

use std::sync::Arc;

use axum::Router;
use hanse_core::VersionRange;
use hanse_policy::Verb;
use hanse_work::Reconciler;

use crate::fault::FaultStyle;

/// One public API with everything behind it.
pub struct Service {
    /// The crate's name: `identity`, `compute`.
    pub name: &'static str,
    /// Where the routes are mounted: `/compute`.
    pub path: &'static str,
    pub routes: Router,
    pub faults: FaultStyle,
    /// For APIs with microversions: the service type that stands in `OpenStack-API-Version`, and what is offered.
    pub microversions: Option<(&'static str, VersionRange)>,
    pub reconcilers: Vec<Arc<dyn Reconciler>>,
    /// Every verb that the service asks for, so that the wiring can list and check them.
    pub verbs: &'static [Verb],
    pub catalog: Vec<CatalogEntry>,
}

/// One line of the Keystone catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Service type (`compute`) and name (`nova`).
    pub kind: &'static str,
    pub name: &'static str,
    /// Path below the public address, which is that of the APIs unless the service has a listener of its own:
    /// `/compute/v2.1`.
    pub path: &'static str,
}
