//! The Compute API through the real router, store, policy and agent contract, on both engines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod agent;
mod claims;
mod crashes;
mod flavors;
mod harness;
mod keypairs;
mod lists;
mod nodes;
mod ports;
mod power;
mod races;
mod routes;
mod servers;
mod volumes;
