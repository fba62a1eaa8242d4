//! Who holds which role where.

use hanse_core::{Result, Timestamp};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Select, Tx, in_list, query};

use crate::model::{Assignment, Holder, Site};

/// With the id of its row.
struct Stored(String, Assignment);

impl FromRow for Stored {
    fn from_row(row: &Row) -> Result<Stored> {
        Ok(Stored(
            row.get("id")?,
            Assignment {
                holder: Holder::from_columns(&row.get::<String>("actor_kind")?, row.get("actor_id")?)?,
                site: Site::from_columns(&row.get::<String>("scope_kind")?, row.get("scope_id")?)?,
                role_id: row.get("role_id")?,
                inherited: row.get("inherited")?,
            },
        ))
    }
}

const COLUMNS: &str = "actor_kind, actor_id, scope_kind, scope_id, role_id, inherited";

/// Rows that are in memory at once while all of them are read.
const CHUNK: i64 = 2000;

/// Shows what these users and groups hold themselves; `None` for all of them.
pub(crate) async fn each(
    conn: &mut Conn,
    users: Option<&[String]>,
    groups: Option<&[String]>,
    mut seen: impl FnMut(Assignment),
) -> Result<()> {
    for (kind, ids) in [("user", users), ("group", groups)] {
        let mut after = String::new();
        loop {
            let mut sql =
                format!("SELECT id, {COLUMNS} FROM role_assignments WHERE actor_kind = '{kind}' AND id > $1");
            let ids = match ids {
                None => &[],
                Some([]) => break,
                Some(ids) => {
                    sql.push_str(&format!(" AND {}", in_list("actor_id", 2, ids.len())));
                    ids
                }
            };
            sql.push_str(&format!(" ORDER BY id LIMIT {CHUNK}"));
            let statement = ids.iter().fold(query(sql).bind(&after), hanse_store::Query::bind);
            let rows: Vec<Stored> = statement.all(conn).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.0);
            rows.into_iter().for_each(|row| seen(row.1));
        }
    }
    Ok(())
}

/// The ids of the roles that the holder was given there.
pub(crate) async fn roles(
    conn: &mut Conn,
    holder: &Holder,
    site: &Site,
    inherited: bool,
) -> Result<Vec<String>> {
    let ((actor, actor_id), (scope, scope_id)) = (holder.columns(), site.columns());
    let select = Select::from("role_assignments", "role_id")
        .eq("actor_kind", actor)
        .eq("actor_id", actor_id)
        .eq("scope_kind", scope)
        .eq("scope_id", scope_id)
        .eq("inherited", inherited);
    Ok(select.all::<(String,)>(conn).await?.into_iter().map(|(id,)| id).collect())
}

pub(crate) async fn exists(conn: &mut Conn, assignment: &Assignment) -> Result<bool> {
    Select::from("role_assignments", "id").eq("id", assignment.id()).exists(conn).await
}

/// Writes the assignment that the grant names, unless it is there.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    assignment: &Assignment,
    now: Timestamp,
) -> Result<()> {
    let ((actor, actor_id), (scope, scope_id)) = (assignment.holder.columns(), assignment.site.columns());
    query(format!(
        "INSERT INTO role_assignments (id, {COLUMNS}, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING"
    ))
    .bind(grant.target())
    .bind(actor)
    .bind(actor_id)
    .bind(scope)
    .bind(scope_id)
    .bind(&assignment.role_id)
    .bind(assignment.inherited)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes the assignment that the grant names; says how many there were.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<u64> {
    query("DELETE FROM role_assignments WHERE id = $1").bind(grant.target()).execute(tx).await
}

/// Whose roles end when those on this site, or of this role, are deleted.
pub(crate) async fn holders(conn: &mut Conn, column: &'static str, id: &str) -> Result<Vec<Holder>> {
    let rows: Vec<(String, String)> =
        query(format!("SELECT DISTINCT actor_kind, actor_id FROM role_assignments WHERE {column} = $1"))
            .bind(id)
            .all(conn)
            .await?;
    rows.into_iter().map(|(kind, id)| Holder::from_columns(&kind, id)).collect()
}

/// Who was given any of these roles on any of these places (of whatever kind); `None` for any role or place.
pub(crate) async fn holders_of_any(
    conn: &mut Conn,
    places: Option<&[String]>,
    roles: Option<&[String]>,
) -> Result<Vec<Holder>> {
    let mut select = Select::from("role_assignments", "DISTINCT actor_kind, actor_id");
    for (column, ids) in [("scope_id", places), ("role_id", roles)] {
        if let Some(ids) = ids {
            select = select.any(column, ids);
        }
    }
    let rows: Vec<(String, String)> = select.unordered(conn).await?;
    rows.into_iter().map(|(kind, id)| Holder::from_columns(&kind, id)).collect()
}
