//! One suite for every hypervisor, and what only the real one can show.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod boot;
mod crash;
mod linux;
mod qemu;
mod sim;
mod suite;
