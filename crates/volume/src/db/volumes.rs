//! Volumes.

use hanse_core::{Cx, Error, Page, Result, Timestamp, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Json, Row, Select, SortKey, Tx, query};

use crate::model::{State, VolumeRow};
use crate::volumes::Filter;

const COLUMNS: &str = "id, project_id, user_id, name, description, size, wanted_size, state, state_reason, node, \
                       availability_zone, metadata, bootable, created_at, updated_at";

impl FromRow for VolumeRow {
    fn from_row(row: &Row) -> Result<VolumeRow> {
        let state: String = row.get("state")?;
        let unknown = || Error::internal(format!("a volume has the unknown state {state}"));
        Ok(VolumeRow {
            id: row.get("id")?,
            project_id: row.get("project_id")?,
            user_id: row.get("user_id")?,
            name: row.get("name")?,
            description: row.get("description")?,
            size: row.get("size")?,
            wanted_size: row.get("wanted_size")?,
            state: State::parse(&state).ok_or_else(unknown)?,
            state_reason: row.get("state_reason")?,
            node: row.get("node")?,
            availability_zone: row.get("availability_zone")?,
            metadata: row.get::<Json<_>>("metadata")?.0,
            bootable: row.get("bootable")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

fn visible(scope: &Scope) -> Select {
    Select::from("volumes", COLUMNS).scope(scope)
}

pub(crate) async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<VolumeRow>> {
    visible(scope).eq("id", id).optional(conn).await
}

pub(crate) async fn show_many(conn: &mut Conn, scope: &Scope, ids: &[Uuid]) -> Result<Vec<VolumeRow>> {
    visible(scope).any("id", ids.iter().copied()).all(conn).await
}

pub(crate) async fn list(
    conn: &mut Conn,
    scope: &Scope,
    filter: &Filter,
    sort: &[SortKey],
    page: &Page,
) -> Result<(Vec<VolumeRow>, bool)> {
    let mut select = visible(scope)
        .eq_some("project_id", filter.project_id.as_deref())
        .eq_some("user_id", filter.user_id.as_deref())
        .eq_some("id", filter.id.as_deref())
        .eq_some("name", filter.name.as_deref())
        .eq_some("state", filter.status.as_deref())
        .eq_some("availability_zone", filter.availability_zone.as_deref())
        .eq_some("bootable", filter.bootable);
    for (key, value) in &filter.metadata {
        // An entry stands behind a brace or a comma that no quote is before: quotes within strings are escaped.
        let entry = format!("{}:{}", serde_json::json!(key), serde_json::json!(value));
        select = select.and_with(
            "REPLACE(metadata, ?, '') <> metadata OR REPLACE(metadata, ?, '') <> metadata",
            [format!("{{{entry}"), format!(",{entry}")],
        );
    }
    select.sorted(conn, sort, page).await
}

/// Inserts it under the id of the grant.
pub(crate) async fn insert(tx: &mut Tx<'_>, grant: &Grant, volume: &VolumeRow) -> Result<()> {
    query(
        "INSERT INTO volumes (id, project_id, user_id, name, description, size, wanted_size, state, state_since,
                              state_reason, node, availability_zone, metadata, bootable, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $9)",
    )
    .bind(grant.target())
    .bind(&volume.project_id)
    .bind(&volume.user_id)
    .bind(volume.name.as_deref())
    .bind(volume.description.as_deref())
    .bind(volume.size)
    .bind(volume.wanted_size)
    .bind(volume.state.as_str())
    .bind(volume.created_at)
    .bind(volume.state_reason.as_deref())
    .bind(volume.node.as_deref())
    .bind(&volume.availability_zone)
    .bind(Json(&volume.metadata))
    .bind(volume.bootable)
    .execute(tx)
    .await?;
    Ok(())
}

/// What users say of it.
pub(crate) async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, volume: &VolumeRow) -> Result<()> {
    query(
        "UPDATE volumes SET name = $1, description = $2, metadata = $3, bootable = $4, updated_at = $5
         WHERE id = $6",
    )
    .bind(volume.name.as_deref())
    .bind(volume.description.as_deref())
    .bind(Json(&volume.metadata))
    .bind(volume.bootable)
    .bind(cx.now())
    .bind(grant.target())
    .execute(tx)
    .await?;
    Ok(())
}

/// Moves the volume of the grant to another state, with the sizes that belong to it.
pub(crate) async fn turn(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    state: State,
    sizes: (u32, u32),
    reason: Option<&str>,
) -> Result<()> {
    let now: Timestamp = cx.now();
    query(
        "UPDATE volumes SET state = $1, state_since = $2, state_reason = $3, size = $4, wanted_size = $5,
                            updated_at = $2
         WHERE id = $6",
    )
    .bind(state.as_str())
    .bind(now)
    .bind(reason)
    .bind(sizes.0)
    .bind(sizes.1)
    .bind(grant.target())
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM volumes WHERE id = $1").bind(grant.target()).execute(tx).await?;
    Ok(())
}

/// GiB that are promised on each node.
pub(crate) async fn promised(conn: &mut Conn) -> Result<Vec<(String, i64)>> {
    query("SELECT node, CAST(SUM(wanted_size) AS BIGINT) FROM volumes WHERE node IS NOT NULL GROUP BY node")
        .all(conn)
        .await
}
