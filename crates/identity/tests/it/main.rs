//! The real router, store and policy, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod assignments;
mod cloud;
mod discovery;
mod logins;
mod personas;
mod projects;
mod roles;
mod tokens;
mod users;
