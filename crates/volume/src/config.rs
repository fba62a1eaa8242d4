//! What the operator may set.

use serde::{Deserialize, Serialize};

/// Settings of the volume service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many volumes a project may have unless its own limits say otherwise; -1 is without limit.
    pub volumes: i64,
    /// How many GiB they may have together.
    pub gigabytes: i64,
    /// GiB of the largest volume that anybody can have.
    pub max_size: u32,
    /// How many entries the metadata of a volume may have.
    pub metadata_items: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { volumes: 100, gigabytes: 10_000, max_size: 16_384, metadata_items: 128 }
    }
}
