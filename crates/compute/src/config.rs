//! What the operator may set.

use serde::{Deserialize, Serialize};

use crate::ports::Quota;

/// Settings of the compute service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many virtual CPUs are given out for each real one. Memory and disk are never given out twice.
    pub cpu_allocation_ratio: f64,
    /// What each project may use unless its own limits say otherwise.
    pub quota: Quota,
    /// How many entries the metadata of a server may have.
    pub metadata_items: u32,
    /// How many key pairs a user may have.
    pub key_pairs: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config { cpu_allocation_ratio: 4.0, quota: Quota::default(), metadata_items: 128, key_pairs: 100 }
    }
}
