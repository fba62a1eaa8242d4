//! Requests to the real listener of object storage, S3's and Swift's: begun as fine ones and spoilt as the bytes say.
#![no_main]
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../../crates/objectstore/tests/it/client.rs"]
mod client;
#[path = "../../crates/objectstore/tests/it/cloud.rs"]
mod cloud;
#[path = "../../crates/objectstore/tests/it/fuzz.rs"]
mod fuzz;

use std::sync::LazyLock;

use tokio::runtime::Runtime;

use crate::client::Client;
use crate::cloud::Cloud;

/// One listener for all of them: what one leaves behind the next may stumble over.
static WORLD: LazyLock<(Runtime, Cloud, Client)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let (cloud, client) = runtime.block_on(fuzz::world());
    (runtime, cloud, client)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (runtime, _, client) = &*WORLD;
    runtime.block_on(fuzz::ask(client, &mut fuzz::Choices::new(bytes)));
});
