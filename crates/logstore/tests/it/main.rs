//! The store as its users see it, on a real file system and on one that crashes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod basic;
mod full;
mod kill;
mod model;
mod offline;
mod oracle;
mod scratch;
mod upkeep;
