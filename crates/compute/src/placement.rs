//! Which node a server goes to: decided by counting, in the transaction that creates it.

use hanse_core::{Result, Timestamp};
use hanse_node::desired::{Node, nodes};
use hanse_store::Conn;

use crate::Config;
use crate::db::allocations::{Used, by_node};

/// What a node has to give: virtual CPUs, MiB of memory, GiB of disk.
pub fn capacity(node: &Node, config: &Config) -> Used {
    // Far below 2^52, so nothing is lost on the way through a float; a negative ratio gives nothing.
    let vcpus = (f64::from(node.hello.vcpus) * config.cpu_allocation_ratio).floor().max(0.0);
    Used { servers: 0, vcpus: vcpus as u64, memory_mib: node.hello.memory_mib, disk_gib: node.hello.disk_gib }
}

/// What all nodes have, with what is taken of it.
pub async fn survey(conn: &mut Conn) -> Result<Vec<(Node, Used)>> {
    let used = by_node(conn).await?;
    let nodes = nodes(conn).await?;
    let with_used = |node: Node| {
        let used = used.get(&node.name).copied().unwrap_or_default();
        (node, used)
    };
    Ok(nodes.into_iter().map(with_used).collect())
}

/// The node with the most free memory that has room, if any has. One that has gone away a moment ago is taken if there
/// is no other: it is back soon, and the server is built then.
pub async fn choose(conn: &mut Conn, config: &Config, need: &Used, now: Timestamp) -> Result<Option<String>> {
    let best = survey(conn)
        .await?
        .into_iter()
        .filter(|(node, _)| node.is_expected(now))
        .filter_map(|(node, used)| {
            let free = free(&capacity(&node, config), &used, need)?;
            Some(((node.connected, free), node.name))
        })
        // Of two equal ones the first by name, so that the choice can be foretold.
        .max_by(|(one, a), (two, b)| one.cmp(two).then_with(|| b.cmp(a)));
    Ok(best.map(|(_, name)| name))
}

/// How much memory is left after the need is met, if it can be.
fn free(capacity: &Used, used: &Used, need: &Used) -> Option<u64> {
    let left = |capacity: u64, used: u64, need: u64| capacity.checked_sub(used.saturating_add(need));
    left(capacity.vcpus, used.vcpus, need.vcpus)?;
    left(capacity.disk_gib, used.disk_gib, need.disk_gib)?;
    left(capacity.memory_mib, used.memory_mib, need.memory_mib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_only_if_every_resource_has_it() {
        let used = |vcpus, memory_mib, disk_gib| Used { servers: 0, vcpus, memory_mib, disk_gib };
        let capacity = used(8, 1000, 20);
        assert_eq!(free(&capacity, &used(6, 500, 10), &used(2, 500, 10)), Some(0), "to the last bit");
        assert_eq!(free(&capacity, &used(7, 0, 0), &used(2, 1, 1)), None, "no CPUs");
        assert_eq!(free(&capacity, &used(0, 999, 0), &used(1, 2, 1)), None, "no memory");
        assert_eq!(free(&capacity, &used(0, 0, 20), &used(1, 1, 1)), None, "no disk");
        assert_eq!(free(&used(1, 1, 1), &used(5, 5, 5), &used(0, 0, 0)), None, "a node that has shrunk");
    }
}
