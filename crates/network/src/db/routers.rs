use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Json, Tx, query};

use super::{check_covers, listing, ports, target};
use crate::listing::{Found, Listing, Table, flag, number, text};
use crate::model::RouterRow;

pub const TABLE: Table = Table {
    name: "routers",
    fields: &[
        text("id", "id"),
        text("name", "name"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("status", "status"),
        flag("admin_state_up", "admin_state_up"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
    ],
    visible: "project_id = {project}",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<RouterRow>> {
    let mut found = listing::page(conn, &TABLE, scope, listing).await?;
    with_gateways(conn, &mut found.rows).await?;
    Ok(found)
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<RouterRow>> {
    let Some(row) = listing::show::<RouterRow>(conn, &TABLE, scope, id).await? else { return Ok(None) };
    let mut rows = [row];
    with_gateways(conn, &mut rows).await?;
    let [row] = rows;
    Ok(Some(row))
}

async fn with_gateways(conn: &mut Conn, rows: &mut [RouterRow]) -> Result<()> {
    let gateways: Vec<Uuid> = rows.iter().filter_map(|row| row.gateway_port_id).collect();
    let addresses = ports::addresses_of(conn, &gateways).await?;
    for row in rows {
        if let Some(port) = row.gateway_port_id {
            row.external_fixed_ips = addresses.get(&port).cloned().unwrap_or_default();
        }
    }
    Ok(())
}

/// The routers that lead out through a network.
pub async fn with_gateway_on(conn: &mut Conn, network: Uuid) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> =
        query("SELECT id FROM routers WHERE external_network_id = $1").bind(network).all(conn).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &RouterRow) -> Result<()> {
    check_covers(grant, row.standard.id)?;
    query(
        "INSERT INTO routers (id, project_id, name, description, admin_state_up, external_network_id, gateway_port_id,
             enable_snat, routes, status, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11)",
    )
    .bind(row.standard.id)
    .bind(&row.standard.project_id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.external_network_id)
    .bind(row.gateway_port_id)
    .bind(row.enable_snat)
    .bind(Json(&row.routes))
    .bind(&row.status)
    .bind(row.standard.created_at)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &RouterRow) -> Result<()> {
    query(
        "UPDATE routers SET name = $2, description = $3, admin_state_up = $4, external_network_id = $5,
             gateway_port_id = $6, enable_snat = $7, routes = $8, revision = revision + 1, updated_at = $9 WHERE id = $1",
    )
    .bind(target(grant)?)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.external_network_id)
    .bind(row.gateway_port_id)
    .bind(row.enable_snat)
    .bind(Json(&row.routes))
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(())
}

/// What the nodes say of it. No change of the user's, so no new revision.
pub async fn set_status(tx: &mut Tx<'_>, grant: &Grant, status: &str) -> Result<()> {
    query("UPDATE routers SET status = $2 WHERE id = $1 AND status <> $2")
        .bind(target(grant)?)
        .bind(status)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM routers WHERE id = $1").bind(target(grant)?).execute(tx).await?;
    Ok(())
}

pub async fn all_ids(conn: &mut Conn) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = query("SELECT id FROM routers").all(conn).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
