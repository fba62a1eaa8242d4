//! Ceph's radosgw as the engine: objects are its own, and clients talk to it alone. It asks identity who they are; from here it
//! is told what projects may have.
//!
//! What it knows of a project is a user `<project>$<project>`, which it makes by itself at the project's first request
//! (`rgw_keystone_implicit_tenants`), or the reconciler before, if the project has limits.

mod accounts;
mod admin;
mod fetch;

use hanse_store::{Migration, Migrations};
use hanse_web::CatalogEntry;

pub use accounts::{Accounts, KIND, begin};
pub use admin::{Account, Admin, Settings, Used};

pub const MIGRATIONS: Migrations = Migrations {
    service: "objectstore",
    steps: &[Migration {
        version: 1,
        name: "radosgw",
        sql: include_str!("../../migrations/0001_radosgw.sql"),
    }],
};

/// The catalog's lines with radosgw behind them, which has Swift below another path. The names stay those of [`crate::CATALOG`]:
/// the ids of the services, on which limits hang, are made of them.
pub const CATALOG: [CatalogEntry; 3] = [
    crate::CATALOG[0],
    crate::CATALOG[1],
    CatalogEntry { path: "/swift/v1/AUTH_{project_id}", ..crate::CATALOG[2] },
];
