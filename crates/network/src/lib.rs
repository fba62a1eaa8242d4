//! Neutron v2.0: networks, subnets, ports, routers, floating IPs and security groups.
//!
//! The API writes rows and wakes the reconciler of what they belong to; the reconciler renders the whole document of
//! that object from rows and states it to the nodes. Addresses are claimed in the transaction that needs them.

mod addresses;
mod api;
mod config;
mod db;
mod error;
mod floating_ips;
mod listing;
mod model;
mod networks;
mod nics;
pub mod orphans;
mod ports;
mod quotas;
mod reconcile;
mod render;
mod routers;
mod security_groups;
mod seed;
mod subnets;
mod verbs;

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_node::desired::Documents;
use hanse_node::documents::Kind;
use hanse_store::{Db, Migration, Migrations};
use hanse_web::{CatalogEntry, FaultStyle, Service};

pub use config::Config;
pub use nics::{DeviceFloatingIp, DevicePort, DeviceSubnet, FixedAddress, Nic, NicRequest, PortSpec};
pub use seed::External;

pub const MIGRATIONS: Migrations = Migrations {
    service: "network",
    steps: &[Migration { version: 1, name: "network", sql: include_str!("../migrations/0001_network.sql") }],
};

/// The network service. Cheap to clone. What other services may ask of it are its methods.
#[derive(Clone)]
pub struct Network {
    pub(crate) db: Db,
    pub(crate) documents: Documents,
    pub(crate) config: Arc<Config>,
}

impl Network {
    pub fn new(db: Db, documents: Documents, config: Config) -> Network {
        Network { db, documents, config: Arc::new(config) }
    }
}

/// The public API with its reconcilers.
pub fn service(network: &Network) -> Service {
    Service {
        name: "network",
        path: "/network",
        routes: api::routes(network),
        faults: FaultStyle::Neutron,
        microversions: None,
        reconcilers: reconcile::all(network),
        verbs: verbs::VERBS,
        catalog: vec![CatalogEntry { kind: "network", name: "neutron", path: "/network" }],
    }
}

/// Which reconciler a report of a node wakes: for the hub.
pub fn wakes() -> BTreeMap<Kind, &'static str> {
    BTreeMap::from([
        (Kind::Switch, reconcile::NETWORKS),
        (Kind::Port, reconcile::PORTS),
        (Kind::Router, reconcile::ROUTERS),
        (Kind::PortGroup, reconcile::SECURITY_GROUPS),
    ])
}

/// Which reconciler the hub wakes, with the name of the node, when a node connects.
pub fn wake_on_join() -> &'static str {
    reconcile::NODES
}
