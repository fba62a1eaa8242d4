//! Roles and what they imply.

use hanse_core::{Page, Result};
use hanse_policy::Grant;
use hanse_store::{Conn, Tx, query};

use super::rows::select;
use crate::model::Role;

pub(crate) async fn named(conn: &mut Conn, ids: &[String], page: &Page) -> Result<(Vec<Role>, bool)> {
    select::<Role>().any("id", ids).page(conn, page).await
}

pub(crate) async fn all(conn: &mut Conn) -> Result<Vec<Role>> {
    select::<Role>().all(conn).await
}

/// Which role implies which.
pub(crate) async fn implications(conn: &mut Conn) -> Result<Vec<(String, String)>> {
    query("SELECT prior_role_id, implied_role_id FROM implied_roles ORDER BY 1, 2").all(conn).await
}

/// Makes the role that the grant names imply another.
pub(crate) async fn imply(tx: &mut Tx<'_>, grant: &Grant, implied: &str) -> Result<()> {
    query(
        "INSERT INTO implied_roles (prior_role_id, implied_role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(grant.target())
    .bind(implied)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn imply_no_more(tx: &mut Tx<'_>, grant: &Grant, implied: &str) -> Result<u64> {
    query("DELETE FROM implied_roles WHERE prior_role_id = $1 AND implied_role_id = $2")
        .bind(grant.target())
        .bind(implied)
        .execute(tx)
        .await
}

/// Takes the role from all who held it, and forgets what it implied.
pub(crate) async fn clear(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE role_id = $1",
        "DELETE FROM implied_roles WHERE prior_role_id = $1 OR implied_role_id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
