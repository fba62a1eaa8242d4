use std::collections::BTreeMap;

use hanse_core::Result;
use hanse_policy::Grant;
use hanse_store::{Conn, Tx, query};

use crate::quotas::Resource;

/// What an admin has set for a project; the rest are defaults.
pub async fn show(conn: &mut Conn, project: &str) -> Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = query("SELECT resource, value FROM network_quotas WHERE project_id = $1")
        .bind(project)
        .all(conn)
        .await?;
    Ok(rows.into_iter().collect())
}

pub async fn list(conn: &mut Conn) -> Result<BTreeMap<String, BTreeMap<String, i64>>> {
    let rows: Vec<(String, String, i64)> =
        query("SELECT project_id, resource, value FROM network_quotas").all(conn).await?;
    let mut all: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (project, resource, value) in rows {
        all.entry(project).or_default().insert(resource, value);
    }
    Ok(all)
}

/// Of the project that the grant names.
pub async fn update(tx: &mut Tx<'_>, grant: &Grant, resource: Resource, value: i64) -> Result<()> {
    query(
        "INSERT INTO network_quotas (project_id, resource, value) VALUES ($1, $2, $3)
         ON CONFLICT (project_id, resource) DO UPDATE SET value = $3",
    )
    .bind(grant.target())
    .bind(resource.name())
    .bind(value)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM network_quotas WHERE project_id = $1").bind(grant.target()).execute(tx).await?;
    Ok(())
}

/// How much of it a project has: counted, never stored.
pub async fn used(conn: &mut Conn, project: &str, resource: Resource) -> Result<i64> {
    let (used,): (i64,) =
        query(format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {} WHERE project_id = $1", resource.table()))
            .bind(project)
            .one(conn)
            .await?;
    Ok(used)
}
