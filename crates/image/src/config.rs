//! What the operator may set.

use serde::{Deserialize, Serialize};

/// Limits of the image service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many images a project may have.
    pub images_per_project: u32,
    /// How large the data of one image may be, in bytes.
    pub max_image_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config { images_per_project: 100, max_image_bytes: 100 << 30 }
    }
}
