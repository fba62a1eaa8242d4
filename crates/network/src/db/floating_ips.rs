use std::net::Ipv4Addr;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Select, Tx, query};

use super::{check_covers, listing, target};
use crate::error::if_conflict;
use crate::listing::{Found, Listing, Table, maybe, number, text};
use crate::model::FloatingIpRow;

pub const TABLE: Table = Table {
    name: "floating_ips",
    fields: &[
        text("id", "id"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("floating_network_id", "floating_network_id"),
        text("floating_ip_address", "floating_ip_address"),
        maybe("port_id", "port_id"),
        maybe("fixed_ip_address", "fixed_ip_address"),
        maybe("router_id", "router_id"),
        text("status", "status"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
    ],
    visible: "project_id = {project}",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<FloatingIpRow>> {
    listing::page(conn, &TABLE, scope, listing).await
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<FloatingIpRow>> {
    listing::show(conn, &TABLE, scope, id).await
}

pub async fn of_ports(conn: &mut Conn, ports: &[Uuid]) -> Result<Vec<FloatingIpRow>> {
    Select::from("floating_ips", "*").any("port_id", ports.iter().copied()).all(conn).await
}

pub async fn of_router(conn: &mut Conn, router: Uuid) -> Result<Vec<FloatingIpRow>> {
    Select::from("floating_ips", "*").eq("router_id", router).all(conn).await
}

/// Whether a router carries floating IPs to addresses of this subnet.
pub async fn lead_to(conn: &mut Conn, router: Uuid, subnet: Uuid) -> Result<bool> {
    let row: Option<(String,)> = query(
        "SELECT floating_ips.id FROM floating_ips
         JOIN port_addresses ON port_addresses.port_id = floating_ips.port_id
             AND port_addresses.address = floating_ips.fixed_ip_address
         WHERE floating_ips.router_id = $1 AND port_addresses.subnet_id = $2 LIMIT 1",
    )
    .bind(router)
    .bind(subnet)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &FloatingIpRow) -> Result<()> {
    check_covers(grant, row.standard.id)?;
    query(
        "INSERT INTO floating_ips (id, project_id, description, floating_network_id, floating_port_id,
             floating_ip_address, port_id, fixed_ip_address, router_id, status, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11)",
    )
    .bind(row.standard.id)
    .bind(&row.standard.project_id)
    .bind(&row.standard.description)
    .bind(row.floating_network_id)
    .bind(row.floating_port_id)
    .bind(row.floating_ip_address.to_string())
    .bind(row.port_id)
    .bind(row.fixed_ip_address.map(|address| address.to_string()))
    .bind(row.router_id)
    .bind(&row.status)
    .bind(row.standard.created_at)
    .execute_unique(tx, &taken(row))
    .await
    .map_err(|error| if_conflict(error, "FloatingIPPortAlreadyAssociated"))?;
    Ok(())
}

fn taken(row: &FloatingIpRow) -> String {
    let port = row.port_id.map(|id| id.to_string()).unwrap_or_default();
    let fixed = row.fixed_ip_address.map(|address| address.to_string()).unwrap_or_default();
    format!(
        "Cannot associate floating IP {} with port {port} using fixed IP {fixed}, as that fixed IP already has a floating IP on external network {}.",
        row.floating_ip_address, row.floating_network_id
    )
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &FloatingIpRow) -> Result<()> {
    query(
        "UPDATE floating_ips SET description = $2, port_id = $3, fixed_ip_address = $4, router_id = $5, status = $6,
             revision = revision + 1, updated_at = $7 WHERE id = $1",
    )
    .bind(target(grant)?)
    .bind(&row.standard.description)
    .bind(row.port_id)
    .bind(row.fixed_ip_address.map(|address| address.to_string()))
    .bind(row.router_id)
    .bind(&row.status)
    .bind(cx.now())
    .execute_unique(tx, &taken(row))
    .await
    .map_err(|error| if_conflict(error, "FloatingIPPortAlreadyAssociated"))?;
    Ok(())
}

/// Takes the floating IPs off a port, but for those that lead to an address in `kept`. Returns their routers.
pub async fn disassociate(
    tx: &mut Tx<'_>,
    cx: &Cx,
    _: &Grant,
    port: Uuid,
    kept: &[Ipv4Addr],
) -> Result<Vec<Uuid>> {
    let mut routers = Vec::new();
    for row in of_ports(tx, &[port]).await? {
        if row.fixed_ip_address.is_some_and(|address| kept.contains(&address)) {
            continue;
        }
        query(
            "UPDATE floating_ips SET port_id = NULL, fixed_ip_address = NULL, router_id = NULL, status = 'DOWN',
                 revision = revision + 1, updated_at = $2 WHERE id = $1",
        )
        .bind(row.standard.id)
        .bind(cx.now())
        .execute(tx)
        .await?;
        routers.extend(row.router_id);
    }
    Ok(routers)
}

/// All that a router carries have what the nodes say of the router.
pub async fn set_status_of_router(tx: &mut Tx<'_>, grant: &Grant, status: &str) -> Result<()> {
    query("UPDATE floating_ips SET status = $2 WHERE router_id = $1 AND status <> $2")
        .bind(target(grant)?)
        .bind(status)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM floating_ips WHERE id = $1").bind(target(grant)?).execute(tx).await?;
    Ok(())
}
