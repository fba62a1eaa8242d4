use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Select, Tx, query};

use super::{check_covers, listing, subnets, target};
use crate::listing::{Found, Listing, Table, flag, number, text};
use crate::model::NetworkRow;

pub const TABLE: Table = Table {
    name: "networks",
    fields: &[
        text("id", "id"),
        text("name", "name"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("status", "status"),
        flag("admin_state_up", "admin_state_up"),
        flag("shared", "shared"),
        flag("router:external", "external"),
        flag("port_security_enabled", "port_security_enabled"),
        number("mtu", "mtu"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
    ],
    // Everybody sees what is shared, and the networks that lead out.
    visible: "(project_id = {project} OR shared = 1 OR external = 1)",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<NetworkRow>> {
    let mut found = listing::page(conn, &TABLE, scope, listing).await?;
    with_subnets(conn, &mut found.rows).await?;
    Ok(found)
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<NetworkRow>> {
    let Some(row) = listing::show::<NetworkRow>(conn, &TABLE, scope, id).await? else { return Ok(None) };
    let mut rows = [row];
    with_subnets(conn, &mut rows).await?;
    let [row] = rows;
    Ok(Some(row))
}

async fn with_subnets(conn: &mut Conn, rows: &mut [NetworkRow]) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.standard.id).collect();
    let mut subnets = subnets::ids_of_networks(conn, &ids).await?;
    for row in rows {
        row.subnets = subnets.remove(&row.standard.id).unwrap_or_default();
    }
    Ok(())
}

pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &NetworkRow) -> Result<()> {
    check_covers(grant, row.standard.id)?;
    query(
        "INSERT INTO networks (id, project_id, name, description, admin_state_up, shared, external, mtu,
             port_security_enabled, status, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11)",
    )
    .bind(row.standard.id)
    .bind(&row.standard.project_id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.shared)
    .bind(row.external)
    .bind(row.mtu)
    .bind(row.port_security_enabled)
    .bind(&row.status)
    .bind(row.standard.created_at)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &NetworkRow) -> Result<()> {
    query(
        "UPDATE networks SET name = $2, description = $3, admin_state_up = $4, shared = $5, external = $6, mtu = $7,
             port_security_enabled = $8, revision = revision + 1, updated_at = $9 WHERE id = $1",
    )
    .bind(target(grant)?)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.shared)
    .bind(row.external)
    .bind(row.mtu)
    .bind(row.port_security_enabled)
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(())
}

/// What the nodes say of it. No change of the user's, so no new revision.
pub async fn set_status(tx: &mut Tx<'_>, grant: &Grant, status: &str) -> Result<()> {
    query("UPDATE networks SET status = $2 WHERE id = $1 AND status <> $2")
        .bind(target(grant)?)
        .bind(status)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM networks WHERE id = $1").bind(target(grant)?).execute(tx).await?;
    Ok(())
}

/// Whether somebody else than the owner (and ourselves) has ports on it.
pub async fn used_by_others(conn: &mut Conn, row: &NetworkRow) -> Result<bool> {
    Select::from("ports", "id")
        .eq("network_id", row.standard.id)
        .compare("project_id", "<>", &row.standard.project_id)
        .compare("project_id", "<>", "")
        .exists(conn)
        .await
}

/// Whether routers or floating IPs lead out through it.
pub async fn leads_out(conn: &mut Conn, id: Uuid) -> Result<bool> {
    Ok(Select::from("routers", "id").eq("external_network_id", id).exists(conn).await?
        || Select::from("floating_ips", "id").eq("floating_network_id", id).exists(conn).await?)
}

pub async fn all_ids(conn: &mut Conn) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = query("SELECT id FROM networks").all(conn).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn by_ids(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<NetworkRow>> {
    Select::from("networks", "*").any("id", ids.iter().copied()).all(conn).await
}

/// What a project may plug into without asking: its own networks, and shared ones.
pub async fn pluggable(conn: &mut Conn, project: &str) -> Result<Vec<NetworkRow>> {
    let mut rows: Vec<NetworkRow> = query(
        "SELECT * FROM networks WHERE external = 0 AND (project_id = $1 OR shared = 1) ORDER BY created_at, id LIMIT 2",
    )
    .bind(project)
    .all(conn)
    .await?;
    with_subnets(conn, &mut rows).await?;
    Ok(rows)
}

pub async fn external_named(conn: &mut Conn, name: &str) -> Result<Option<NetworkRow>> {
    let rows: Vec<NetworkRow> =
        Select::from("networks", "*").eq("external", true).eq("name", name).all(conn).await?;
    Ok(rows.into_iter().next())
}
