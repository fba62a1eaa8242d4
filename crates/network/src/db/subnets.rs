use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Json, Select, Tx, in_list, query};

use super::{check_covers, listing, target};
use crate::listing::{Found, Listing, Table, flag, maybe, number, text};
use crate::model::SubnetRow;

pub const TABLE: Table = Table {
    name: "subnets",
    fields: &[
        text("id", "id"),
        text("name", "name"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("network_id", "network_id"),
        text("cidr", "cidr"),
        maybe("gateway_ip", "gateway_ip"),
        number("ip_version", "ip_version"),
        flag("enable_dhcp", "enable_dhcp"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
    ],
    visible:
        "(project_id = {project} OR EXISTS (SELECT 1 FROM networks WHERE networks.id = subnets.network_id
        AND (networks.project_id = {project} OR networks.shared = 1)))",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<SubnetRow>> {
    listing::page(conn, &TABLE, scope, listing).await
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<SubnetRow>> {
    listing::show(conn, &TABLE, scope, id).await
}

pub async fn of_network(conn: &mut Conn, network: Uuid) -> Result<Vec<SubnetRow>> {
    Select::from("subnets", "*").eq("network_id", network).all(conn).await
}

pub async fn by_ids(conn: &mut Conn, ids: &[Uuid]) -> Result<Vec<SubnetRow>> {
    Select::from("subnets", "*").any("id", ids.iter().copied()).all(conn).await
}

pub async fn ids_of_networks(conn: &mut Conn, networks: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Uuid>>> {
    let mut all = query(format!(
        "SELECT network_id, id FROM subnets WHERE {} ORDER BY created_at, id",
        in_list("network_id", 1, networks.len())
    ));
    for id in networks {
        all = all.bind(*id);
    }
    let mut found: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (network, subnet) in all.all::<(Uuid, Uuid)>(conn).await? {
        found.entry(network).or_default().push(subnet);
    }
    Ok(found)
}

pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &SubnetRow) -> Result<()> {
    check_covers(grant, row.standard.id)?;
    query(
        "INSERT INTO subnets (id, project_id, network_id, name, description, ip_version, cidr, gateway_ip, enable_dhcp,
             allocation_pools, dns_nameservers, host_routes, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 4, $6, $7, $8, $9, $10, $11, 1, $12, $12)",
    )
    .bind(row.standard.id)
    .bind(&row.standard.project_id)
    .bind(row.network_id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.cidr.to_string())
    .bind(row.gateway_ip.map(|address| address.to_string()))
    .bind(row.enable_dhcp)
    .bind(Json(&row.allocation_pools))
    .bind(Json(&row.dns_nameservers))
    .bind(Json(&row.host_routes))
    .bind(row.standard.created_at)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &SubnetRow) -> Result<()> {
    query(
        "UPDATE subnets SET name = $2, description = $3, gateway_ip = $4, enable_dhcp = $5, allocation_pools = $6,
             dns_nameservers = $7, host_routes = $8, revision = revision + 1, updated_at = $9 WHERE id = $1",
    )
    .bind(target(grant)?)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.gateway_ip.map(|address| address.to_string()))
    .bind(row.enable_dhcp)
    .bind(Json(&row.allocation_pools))
    .bind(Json(&row.dns_nameservers))
    .bind(Json(&row.host_routes))
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(())
}

/// Deletes a subnet that no port has an address of.
pub async fn delete(tx: &mut Tx<'_>, _: &Grant, id: Uuid) -> Result<()> {
    query("DELETE FROM subnets WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// The lowest address of a pool that no port has.
pub async fn free_address(conn: &mut Conn, subnet: Uuid, first: i64, last: i64) -> Result<Option<i64>> {
    let first_taken = Select::from("port_addresses", "number")
        .eq("subnet_id", subnet)
        .eq("number", first)
        .exists(conn)
        .await?;
    if !first_taken {
        return Ok(Some(first));
    }
    let next: Option<(i64,)> = query(
        "SELECT taken.number + 1 FROM port_addresses taken
         WHERE taken.subnet_id = $1 AND taken.number >= $2 AND taken.number < $3
             AND NOT EXISTS (SELECT 1 FROM port_addresses other
                 WHERE other.subnet_id = $1 AND other.number = taken.number + 1)
         ORDER BY taken.number LIMIT 1",
    )
    .bind(subnet)
    .bind(first)
    .bind(last)
    .optional(conn)
    .await?;
    Ok(next.map(|row| row.0))
}

/// Which port has an address of the subnet.
pub async fn holder(conn: &mut Conn, subnet: Uuid, address: Ipv4Addr) -> Result<Option<Uuid>> {
    let row: Option<(Uuid,)> =
        query("SELECT port_id FROM port_addresses WHERE subnet_id = $1 AND number = $2")
            .bind(subnet)
            .bind(crate::addresses::number(address))
            .optional(conn)
            .await?;
    Ok(row.map(|row| row.0))
}

/// The ports that have addresses of the subnet: id and device owner.
pub async fn users(conn: &mut Conn, subnet: Uuid) -> Result<Vec<(Uuid, String)>> {
    query(
        "SELECT DISTINCT ports.id, ports.device_owner FROM ports
         JOIN port_addresses ON port_addresses.port_id = ports.id WHERE port_addresses.subnet_id = $1",
    )
    .bind(subnet)
    .all(conn)
    .await
}
