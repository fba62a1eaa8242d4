//! What an agent saw.

use hanse_core::Uuid;
use serde::{Deserialize, Serialize};

use crate::documents::Kind;

/// The state of one object on one node. Sent on change only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub kind: Kind,
    pub id: Uuid,
    /// The revision of the document that the agent has acted on.
    pub revision: i64,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Work is under way; says what is awaited.
    Pending { reason: String },
    /// The object is as desired. For a guest: it runs or is stopped, as the document says.
    Ready,
    /// A guest that should run does not: it powered itself off (Nova's SHUTOFF).
    Stopped,
    /// The agent cannot make it so; it tries again when a new revision comes.
    Failed { reason: String },
    /// Nothing of it is left on the node.
    Gone,
}

/// What a node offers; sent when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The name that the node goes by (`OS-EXT-SRV-ATTR:host`).
    pub node: String,
    pub release: String,
    /// Version of this contract; an agent of release N−1 speaks to a control plane of release N.
    pub protocol: u32,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub disk_gib: u64,
    /// `kvm`, `tcg` or `sim`; [`Hello::UNTRIED`] until the node has found out.
    pub accelerator: String,
}

impl Hello {
    /// Stands for the accelerator as long as no guest has been tried.
    pub const UNTRIED: &str = "unknown";
}

pub const PROTOCOL: u32 = 1;
