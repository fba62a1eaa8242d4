//! State: one SQL text for SQLite (embedded) and PostgreSQL (scale-out).
//!
//! [`Db::read`] and [`Db::write`] are the only ways in. A write takes a [`hanse_policy::Grant`], runs in one
//! transaction (`BEGIN IMMEDIATE` on SQLite, `SERIALIZABLE` on PostgreSQL) and records who did what in the same
//! transaction. This is the only crate that knows rusqlite and sqlx.

pub mod audit;
mod coalesced;
mod column;
mod db;
mod failure;
mod migrate;
mod owned;
mod postgres;
mod query;
mod select;
mod sort;
mod sqlite;

pub use coalesced::{Coalesced, within};
pub use column::{Flag, FromColumn, Json, Value};
pub use db::{Condition, Conn, Db, Engine, Step, Tx};
pub use migrate::{Migration, Migrations};
pub use owned::{Owned, OwnedTable};
pub use query::{FromRow, Query, Row, STATEMENT, query};
pub use select::{Select, in_list};
pub use sort::SortKey;

/// The tables of this crate itself: the audit trail.
pub const MIGRATIONS: Migrations = Migrations {
    service: "store",
    steps: &[
        Migration { version: 1, name: "store", sql: include_str!("../migrations/0001_store.sql") },
        Migration { version: 2, name: "audit", sql: include_str!("../migrations/0002_audit.sql") },
    ],
};
