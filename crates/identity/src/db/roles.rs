use hanse_core::{Page, Result};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Json, Row, Select, Tx, query};

use crate::model::{Role, duplicate};
use crate::roles::Filter;

const COLUMNS: &str = "id, domain_id, name, description, options, extra, created_at";

impl FromRow for Role {
    fn from_row(row: &Row) -> Result<Role> {
        Ok(Role {
            id: row.get("id")?,
            domain_id: row.get("domain_id")?,
            name: row.get("name")?,
            description: row.get("description")?,
            options: row.get::<Json<_>>("options")?.0,
            extra: row.get::<Json<_>>("extra")?.0,
            created_at: row.get("created_at")?,
        })
    }
}

pub(crate) async fn show(conn: &mut Conn, id: &str) -> Result<Option<Role>> {
    Select::from("roles", COLUMNS).eq("id", id).optional(conn).await
}

pub(crate) async fn list(conn: &mut Conn, filter: &Filter, page: &Page) -> Result<(Vec<Role>, bool)> {
    let mut select = Select::from("roles", COLUMNS)
        .eq("domain_id", filter.domain_id.as_deref().unwrap_or_default())
        .eq_some("name", filter.name.as_deref());
    if let Some(ids) = &filter.ids {
        select = select.any("id", ids);
    }
    select.page(conn, page).await
}

pub(crate) async fn all(conn: &mut Conn) -> Result<Vec<Role>> {
    Select::from("roles", COLUMNS).all(conn).await
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

pub(crate) async fn insert(tx: &mut Tx<'_>, grant: &Grant, role: &Role) -> Result<()> {
    query(
        "INSERT INTO roles (id, domain_id, name, description, options, extra, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(grant.target())
    .bind(&role.domain_id)
    .bind(&role.name)
    .bind(role.description.as_deref())
    .bind(Json(&role.options))
    .bind(Json(&role.extra))
    .bind(role.created_at)
    .execute_unique(tx, &duplicate("role", &role.name, &role.domain_id))
    .await?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx<'_>, grant: &Grant, role: &Role) -> Result<()> {
    query("UPDATE roles SET name = $1, description = $2, options = $3, extra = $4 WHERE id = $5")
        .bind(&role.name)
        .bind(role.description.as_deref())
        .bind(Json(&role.options))
        .bind(Json(&role.extra))
        .bind(grant.target())
        .execute_unique(tx, &duplicate("role", &role.name, &role.domain_id))
        .await?;
    Ok(())
}

/// Deletes the role, takes it from all who held it, and forgets what it implied.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE role_id = $1",
        "DELETE FROM implied_roles WHERE prior_role_id = $1 OR implied_role_id = $1",
        "DELETE FROM roles WHERE id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
