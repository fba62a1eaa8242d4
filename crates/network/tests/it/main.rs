//! The promises of the network service, through its real router, store and policy, on both engines.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod devices;
mod documents;
mod floating_ips;
mod lists;
mod networks;
mod orphans;
mod ports;
mod quotas;
mod races;
mod routers;
mod security_groups;
mod world;
