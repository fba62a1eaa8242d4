//! What admins see of the machines, and everybody of the zone.

use hanse_core::Result;
use hanse_node::desired::Node;
use hanse_policy::{Caller, Verb};
use sha2::{Digest, Sha256};

use crate::Deps;
use crate::db::allocations::Used;
use crate::placement;

/// All nodes with what is taken of them.
pub async fn list(deps: &Deps, caller: &Caller, verb: Verb) -> Result<Vec<(Node, Used)>> {
    caller.scope(verb)?;
    placement::survey(&mut deps.db.read().await?).await
}

/// The number that the API of before 2.53 knows a node by: always the same for the same name.
pub fn number(node: &str) -> u32 {
    let digest = Sha256::digest(node.as_bytes());
    (u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1).max(1)
}
