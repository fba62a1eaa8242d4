//! One suite for every hypervisor, and what only the real one can show.

mod boot;
mod crash;
mod qemu;
mod sim;
mod suite;
