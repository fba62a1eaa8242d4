//! One suite for every storage, and what only the real one can show: hostile images before QEMU, crashes,
//! the order of system calls, full disks.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod contract;
mod durability;
mod forge;
mod hostile;
mod limits;
mod scratch;
