//! The real listener on loopback, asked as clients ask it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod client;
mod cloud;
mod customer;
mod fuzz;
mod kms;
mod lifecycle;
mod lists;
mod lock;
mod logging;
mod multipart;
mod notifications;
mod objects;
mod policies;
mod quotas;
mod radosgw;
mod strange;
mod swift;
mod swift_large;
mod swift_sharing;
mod versions;
mod website;
