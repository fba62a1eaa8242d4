//! The real router, store and policy, and an agent that pretends, on both engines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod agent;
mod attachments;
mod inputs;
mod lifecycle;
mod lists;
mod orphans;
mod personas;
mod quotas;
mod world;
