//! What projects may use, and use.

use hanse_core::Result;
use hanse_policy::Grant;
use hanse_store::{Conn, Json, Select, Tx, query};

use crate::quotas::Limits;

/// What an admin set for the project.
pub(crate) async fn show(conn: &mut Conn, project_id: &str) -> Result<Limits> {
    let row: Option<(Json<Limits>,)> =
        Select::from("volume_quotas", "limits").eq("project_id", project_id).optional(conn).await?;
    Ok(row.map(|row| row.0.0).unwrap_or_default())
}

/// Sets it for the project that the grant names.
pub(crate) async fn update(tx: &mut Tx<'_>, grant: &Grant, limits: &Limits) -> Result<()> {
    query(
        "INSERT INTO volume_quotas (project_id, limits) VALUES ($1, $2)
         ON CONFLICT (project_id) DO UPDATE SET limits = $2",
    )
    .bind(grant.target())
    .bind(Json(limits))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM volume_quotas WHERE project_id = $1").bind(grant.target()).execute(tx).await?;
    Ok(())
}

/// How many volumes the project has, and how many GiB they have together: counted, never stored.
pub(crate) async fn used(conn: &mut Conn, project_id: &str) -> Result<(i64, i64)> {
    query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(wanted_size), 0) AS BIGINT)
         FROM volumes WHERE project_id = $1",
    )
    .bind(project_id)
    .one(conn)
    .await
}
