use std::collections::BTreeMap;

use hanse_core::{Result, Uuid};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Tx, query};

use super::amount;

/// What servers take of a node: virtual CPUs, MiB of memory, GiB of disk; and how many servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub servers: u32,
    pub vcpus: u64,
    pub memory_mib: u64,
    pub disk_gib: u64,
}

struct OfNode(String, Used);

impl FromRow for OfNode {
    fn from_row(row: &Row) -> Result<OfNode> {
        let used = Used {
            servers: row.get("servers")?,
            vcpus: row.get("vcpus")?,
            memory_mib: row.get("memory_mib")?,
            disk_gib: row.get("disk_gib")?,
        };
        Ok(OfNode(row.get("node")?, used))
    }
}

/// What is given out, counted anew.
pub async fn by_node(conn: &mut Conn) -> Result<BTreeMap<String, Used>> {
    let rows: Vec<OfNode> = query(
        "SELECT node, CAST(COUNT(*) AS BIGINT) AS servers, CAST(SUM(vcpus) AS BIGINT) AS vcpus,
                CAST(SUM(memory_mib) AS BIGINT) AS memory_mib, CAST(SUM(disk_gib) AS BIGINT) AS disk_gib
         FROM allocations GROUP BY node",
    )
    .all(conn)
    .await?;
    Ok(rows.into_iter().map(|OfNode(node, used)| (node, used)).collect())
}

pub async fn insert(tx: &mut Tx<'_>, server_id: Uuid, node: &str, need: &Used) -> Result<()> {
    query(
        "INSERT INTO allocations (server_id, node, vcpus, memory_mib, disk_gib) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(server_id)
    .bind(node)
    .bind(amount(need.vcpus))
    .bind(amount(need.memory_mib))
    .bind(amount(need.disk_gib))
    .execute(tx)
    .await
    .map(drop)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM allocations WHERE server_id = $1").bind(grant.target()).execute(tx).await.map(drop)
}
