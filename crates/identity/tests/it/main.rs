//! The real router, store and policy, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access_keys;
mod assignments;
mod catalog;
mod cloud;
mod compliance;
mod delegation;
mod discovery;
mod engine;
mod escalation;
mod fuzz;
mod groups;
mod hierarchy;
mod limits;
mod lockout;
mod logins;
mod personas;
mod planes;
mod projects;
mod roles;
mod size;
mod tokens;
mod users;
