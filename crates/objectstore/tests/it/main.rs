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
mod object_store_client;
mod objects;
mod policies;
mod quotas;
mod radosgw;
mod strange;
mod swift;
mod swift_accounts;
mod swift_archives;
mod swift_copies;
mod swift_cors;
mod swift_ending;
mod swift_large;
mod swift_links;
mod swift_sharing;
mod swift_versions;
mod versions;
mod website;
