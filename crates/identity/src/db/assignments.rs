//! Who holds which role where.

use hanse_core::{Result, Timestamp};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Select, Tx, query};

use crate::assignments::Filter;
use crate::model::{Assignment, Site};

/// An assignment with the id of its row.
pub(crate) type Assigned = (String, Assignment);

struct Stored(Assigned);

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Stored> {
        let site = Site::from_columns(&row.get::<String>("scope_kind")?, row.get("scope_id")?)?;
        let assignment = Assignment { user_id: row.get("actor_id")?, site, role_id: row.get("role_id")? };
        Ok(Stored((row.get("id")?, assignment)))
    }
}

/// Groups and inherited assignments are not served yet; whatever a newer release stores of them counts for nothing.
fn select() -> Select {
    Select::from("role_assignments", "id, actor_id, scope_kind, scope_id, role_id")
        .eq("actor_kind", "user")
        .eq("inherited", false)
}

pub(crate) async fn all(conn: &mut Conn) -> Result<Vec<Assigned>> {
    Ok(select().all::<Stored>(conn).await?.into_iter().map(|stored| stored.0).collect())
}

/// Everything that the filter names, except for its role: what implies it matters too.
pub(crate) async fn list(conn: &mut Conn, filter: &Filter) -> Result<Vec<Assigned>> {
    let mut select = select().eq_some("actor_id", filter.user_id.as_deref());
    if let Some(site) = &filter.site {
        let (kind, id) = site.columns();
        select = select.eq("scope_kind", kind).eq("scope_id", id);
    }
    Ok(select.all::<Stored>(conn).await?.into_iter().map(|stored| stored.0).collect())
}

pub(crate) async fn exists(conn: &mut Conn, assignment: &Assignment) -> Result<bool> {
    select().eq("id", assignment.id()).exists(conn).await
}

/// Writes the assignment that the grant names, unless it is there.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    assignment: &Assignment,
    now: Timestamp,
) -> Result<()> {
    let (kind, id) = assignment.site.columns();
    query(
        "INSERT INTO role_assignments (id, actor_kind, actor_id, scope_kind, scope_id, role_id, inherited, created_at)
         VALUES ($1, 'user', $2, $3, $4, $5, 0, $6) ON CONFLICT (id) DO NOTHING",
    )
    .bind(grant.target())
    .bind(&assignment.user_id)
    .bind(kind)
    .bind(id)
    .bind(&assignment.role_id)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes the assignment that the grant names; says how many there were.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<u64> {
    query("DELETE FROM role_assignments WHERE id = $1").bind(grant.target()).execute(tx).await
}
