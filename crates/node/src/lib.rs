//! The contract between the control plane and the agents.
//!
//! It has three shapes: *desired documents* with revisions that the control plane sends, *observed reports* that
//! an agent sends back, and *requests and byte streams* (console log, image bytes). The control plane never
//! calls a driver, and an agent never sees the database.

pub mod documents;
pub mod reports;
