//! The behaviour of the real engine, packet by packet. Each test makes a namespace that plays the host, so that
//! no two meet and the machine's own network is never touched. Needs root, `ip`, `nft`, `ping` and `busybox`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is a test")]

mod convergence;
mod guest_services;
mod host;
mod isolation;
mod model;
mod routing;
mod security_groups;
mod workload;
