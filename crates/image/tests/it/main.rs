//! The Image API through the real router, store and policy, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod data;
mod harness;
mod images;
mod routes;
