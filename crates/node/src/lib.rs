//! The contract between the control plane and the agents.
//!
//! It has three shapes: *desired documents* with revisions that the control plane sends, *observed reports* that
//! an agent sends back, and *requests and byte streams* (console log, image bytes). The control plane never
//! calls a driver, and an agent never sees the database.
//!
//! An agent dials the control plane and then *serves*: HTTP/2 runs on that connection with the control plane as the
//! client. So an agent needs no inbound port, and multiplexing, flow control and cancellation are the protocol's.

pub mod agent;
pub mod desired;
pub mod documents;
pub mod hub;
mod link;
pub mod reports;

use hanse_store::{Migration, Migrations};

pub use link::StoredImage;

pub const MIGRATIONS: Migrations = Migrations {
    service: "node",
    steps: &[Migration { version: 1, name: "node", sql: include_str!("../migrations/0001_node.sql") }],
};
