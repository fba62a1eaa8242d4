//! Where volumes are put.

use std::collections::BTreeMap;

use hanse_core::Result;
use hanse_node::desired;
use hanse_store::Conn;

use crate::db;

struct Room {
    node: String,
    connected: bool,
    /// GiB that no volume was promised.
    free: i64,
}

async fn rooms(conn: &mut Conn) -> Result<Vec<Room>> {
    let promised: BTreeMap<String, i64> = db::volumes::promised(conn).await?.into_iter().collect();
    let nodes = desired::nodes(conn).await?;
    let room = |node: desired::Node| {
        let total = i64::try_from(node.hello.disk_gib).unwrap_or(i64::MAX);
        let free = total - promised.get(&node.name).copied().unwrap_or(0);
        Room { node: node.name, connected: node.connected, free }
    };
    Ok(nodes.into_iter().map(room).collect())
}

/// The node with the most room, if any has enough. One that is away just now gets the disk when it is back, so it is
/// taken if there is no other.
pub(crate) async fn choose(conn: &mut Conn, size: u32) -> Result<Option<String>> {
    let rooms = rooms(conn).await?.into_iter().filter(|room| room.free >= i64::from(size));
    Ok(rooms.max_by_key(|room| (room.connected, room.free)).map(|room| room.node))
}

/// Whether a disk there can grow by so many GiB.
pub(crate) async fn has_room(conn: &mut Conn, node: &str, growth: u32) -> Result<bool> {
    let rooms = rooms(conn).await?;
    Ok(rooms.iter().any(|room| room.node == node && room.free >= i64::from(growth)))
}
