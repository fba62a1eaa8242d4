use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result, Uuid};
use hanse_node::documents::MacAddress;
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Json, Row, Select, Tx, in_list, query};

use super::listing;
use crate::addresses::{from_number, number as as_number};
use crate::error::if_conflict;
use crate::listing::{Field, FieldKind, Found, Listing, Table, flag, number, text};
use crate::model::{FixedIp, PortRow};

/// Fields that stand in other tables.
const fn elsewhere(name: &'static str, condition: &'static str) -> Field {
    Field { name, column: condition, kind: FieldKind::Text }
}

pub const TABLE: Table = Table {
    name: "ports",
    fields: &[
        text("id", "id"),
        text("name", "name"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("network_id", "network_id"),
        text("mac_address", "mac_address"),
        text("device_id", "device_id"),
        text("device_owner", "device_owner"),
        text("status", "status"),
        flag("admin_state_up", "admin_state_up"),
        flag("port_security_enabled", "port_security_enabled"),
        text("binding:host_id", "host"),
        text("binding:vnic_type", "vnic_type"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
        elsewhere(
            "ip_address",
            "EXISTS (SELECT 1 FROM port_addresses WHERE port_id = ports.id AND address IN ({}))",
        ),
        elsewhere(
            "subnet_id",
            "EXISTS (SELECT 1 FROM port_addresses WHERE port_id = ports.id AND subnet_id IN ({}))",
        ),
        elsewhere(
            "security_groups",
            "EXISTS (SELECT 1 FROM port_security_groups WHERE port_id = ports.id AND security_group_id IN ({}))",
        ),
    ],
    // The owner of a network sees who is on it.
    visible: "(project_id = {project} OR EXISTS (SELECT 1 FROM networks WHERE networks.id = ports.network_id
        AND networks.project_id = {project}))",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<PortRow>> {
    let mut found = listing::page(conn, &TABLE, scope, listing).await?;
    complete(conn, &mut found.rows).await?;
    Ok(found)
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<PortRow>> {
    let Some(row) = listing::show::<PortRow>(conn, &TABLE, scope, id).await? else { return Ok(None) };
    one(conn, row).await.map(Some)
}

async fn one(conn: &mut Conn, row: PortRow) -> Result<PortRow> {
    let mut rows = [row];
    complete(conn, &mut rows).await?;
    let [row] = rows;
    Ok(row)
}

pub async fn of_devices(conn: &mut Conn, devices: &[String]) -> Result<Vec<PortRow>> {
    let mut rows: Vec<PortRow> =
        Select::from("ports", "*").any("device_id", devices.iter()).all(conn).await?;
    complete(conn, &mut rows).await?;
    Ok(rows)
}

/// The ports of one owner on one device.
/// The devices of servers that have an address which contains this text.
pub async fn devices_at(conn: &mut Conn, project: Option<&str>, text: &str) -> Result<Vec<String>> {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let rows: Vec<(String,)> = query(
        "SELECT DISTINCT ports.device_id FROM ports JOIN port_addresses ON port_addresses.port_id = ports.id
         WHERE port_addresses.address LIKE $1 ESCAPE '\\' AND ports.guest_id IS NOT NULL
           AND (CAST($2 AS TEXT) IS NULL OR ports.project_id = $2)
         LIMIT 1000",
    )
    .bind(format!("%{escaped}%"))
    .bind(project)
    .all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn of_device(conn: &mut Conn, device: &str, owner: &str) -> Result<Vec<PortRow>> {
    let select = Select::from("ports", "*").eq("device_id", device).eq("device_owner", owner);
    let mut rows: Vec<PortRow> = select.all(conn).await?;
    complete(conn, &mut rows).await?;
    Ok(rows)
}

pub async fn of_network(conn: &mut Conn, network: Uuid) -> Result<Vec<PortRow>> {
    Select::from("ports", "*").eq("network_id", network).all(conn).await
}

/// The routers' ports that have an address of this subnet.
pub async fn interfaces_on(conn: &mut Conn, subnet: Uuid) -> Result<Vec<PortRow>> {
    let mut rows: Vec<PortRow> = query(
        "SELECT ports.* FROM ports JOIN port_addresses ON port_addresses.port_id = ports.id
         WHERE port_addresses.subnet_id = $1 AND ports.device_owner = $2 ORDER BY ports.created_at, ports.id",
    )
    .bind(subnet)
    .bind(crate::model::owner::INTERFACE)
    .all(conn)
    .await?;
    complete(conn, &mut rows).await?;
    Ok(rows)
}

struct Address {
    port_id: Uuid,
    fixed: FixedIp,
}

impl FromRow for Address {
    fn from_row(row: &Row) -> Result<Address> {
        let fixed =
            FixedIp { subnet_id: row.get("subnet_id")?, ip_address: from_number(row.get("number")?)? };
        Ok(Address { port_id: row.get("port_id")?, fixed })
    }
}

/// Reads the addresses and security groups of these ports.
async fn complete(conn: &mut Conn, rows: &mut [PortRow]) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.standard.id).collect();
    let mut addresses = addresses_of(conn, &ids).await?;
    let mut all = query(format!(
        "SELECT port_id, security_group_id FROM port_security_groups WHERE {} ORDER BY security_group_id",
        in_list("port_id", 1, ids.len())
    ));
    for id in &ids {
        all = all.bind(*id);
    }
    let mut groups: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (port, group) in all.all::<(Uuid, Uuid)>(conn).await? {
        groups.entry(port).or_default().push(group);
    }
    for row in rows {
        row.fixed_ips = addresses.remove(&row.standard.id).unwrap_or_default();
        row.security_groups = groups.remove(&row.standard.id).unwrap_or_default();
    }
    Ok(())
}

pub async fn addresses_of(conn: &mut Conn, ports: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<FixedIp>>> {
    let mut all = query(format!(
        "SELECT port_id, subnet_id, number FROM port_addresses WHERE {} ORDER BY port_id, position",
        in_list("port_id", 1, ports.len())
    ));
    for id in ports {
        all = all.bind(*id);
    }
    let mut found: BTreeMap<Uuid, Vec<FixedIp>> = BTreeMap::new();
    for address in all.all::<Address>(conn).await? {
        found.entry(address.port_id).or_default().push(address.fixed);
    }
    Ok(found)
}

/// A MAC address that no port of the network has. The first three bytes are OpenStack's.
pub async fn free_mac(conn: &mut Conn, cx: &Cx, network: Uuid) -> Result<MacAddress> {
    for _ in 0..16 {
        let [a, b, c] = cx.bytes();
        let mac = MacAddress([0xfa, 0x16, 0x3e, a, b, c]);
        if !mac_exists(conn, network, mac).await? {
            return Ok(mac);
        }
    }
    Err(Error::unavailable(format!("Unable to generate unique mac on network {network}."))
        .named("MacAddressGenerationFailure"))
}

pub async fn mac_exists(conn: &mut Conn, network: Uuid, mac: MacAddress) -> Result<bool> {
    Select::from("ports", "id")
        .eq("network_id", network)
        .eq("mac_address", mac.to_string())
        .exists(conn)
        .await
}

/// Ports are also made on behalf of subnets, routers, floating IPs and servers, so the grant may name one of those.
pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &PortRow) -> Result<()> {
    query(
        "INSERT INTO ports (id, network_id, project_id, name, description, admin_state_up, mac_address, device_id,
             device_owner, port_security_enabled, allowed_address_pairs, host, guest_id, hostname, vnic_type,
             binding_profile, made_for_device, status, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1, $19, $19)",
    )
    .bind(row.standard.id)
    .bind(row.network_id)
    .bind(&row.standard.project_id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.mac_address.to_string())
    .bind(&row.device_id)
    .bind(&row.device_owner)
    .bind(row.port_security_enabled)
    .bind(Json(&row.allowed_address_pairs))
    .bind(&row.host)
    .bind(row.guest_id)
    .bind(&row.hostname)
    .bind(&row.vnic_type)
    .bind(Json(&row.binding_profile))
    .bind(row.made_for_device)
    .bind(&row.status)
    .bind(row.standard.created_at)
    .execute_unique(tx, &mac_taken(row))
    .await
    .map_err(|error| if_conflict(error, "MacAddressInUse"))?;
    set_addresses(tx, grant, row).await?;
    set_groups(tx, grant, row).await
}

fn mac_taken(row: &PortRow) -> String {
    format!(
        "Unable to complete operation for network {}. The mac address {} is in use.",
        row.network_id, row.mac_address
    )
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, _: &Grant, row: &PortRow) -> Result<()> {
    query(
        "UPDATE ports SET name = $2, description = $3, admin_state_up = $4, mac_address = $5, device_id = $6,
             device_owner = $7, port_security_enabled = $8, allowed_address_pairs = $9, host = $10, guest_id = $11,
             hostname = $12, vnic_type = $13, binding_profile = $14, status = $15, revision = revision + 1,
             updated_at = $16 WHERE id = $1",
    )
    .bind(row.standard.id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.admin_state_up)
    .bind(row.mac_address.to_string())
    .bind(&row.device_id)
    .bind(&row.device_owner)
    .bind(row.port_security_enabled)
    .bind(Json(&row.allowed_address_pairs))
    .bind(&row.host)
    .bind(row.guest_id)
    .bind(&row.hostname)
    .bind(&row.vnic_type)
    .bind(Json(&row.binding_profile))
    .bind(&row.status)
    .bind(cx.now())
    .execute_unique(tx, &mac_taken(row))
    .await
    .map_err(|error| if_conflict(error, "MacAddressInUse"))?;
    Ok(())
}

/// Claims the addresses of the port, in place of those that it had.
pub async fn set_addresses(tx: &mut Tx<'_>, _: &Grant, row: &PortRow) -> Result<()> {
    query("DELETE FROM port_addresses WHERE port_id = $1").bind(row.standard.id).execute(tx).await?;
    for (position, fixed) in (0_i64..).zip(&row.fixed_ips) {
        let taken =
            format!("IP address {} already allocated in subnet {}", fixed.ip_address, fixed.subnet_id);
        query("INSERT INTO port_addresses (subnet_id, number, address, port_id, position) VALUES ($1, $2, $3, $4, $5)")
            .bind(fixed.subnet_id)
            .bind(as_number(fixed.ip_address))
            .bind(fixed.ip_address.to_string())
            .bind(row.standard.id)
            .bind(position)
            .execute_unique(tx, &taken)
            .await
            .map_err(|error| if_conflict(error, "IpAddressAlreadyAllocated"))?;
    }
    Ok(())
}

pub async fn set_groups(tx: &mut Tx<'_>, _: &Grant, row: &PortRow) -> Result<()> {
    query("DELETE FROM port_security_groups WHERE port_id = $1").bind(row.standard.id).execute(tx).await?;
    for group in &row.security_groups {
        query("INSERT INTO port_security_groups (port_id, security_group_id) VALUES ($1, $2)")
            .bind(row.standard.id)
            .bind(*group)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// What the nodes say of it. No change of the user's, so no new revision.
pub async fn set_status(tx: &mut Tx<'_>, _: &Grant, id: Uuid, status: &str) -> Result<()> {
    query("UPDATE ports SET status = $2 WHERE id = $1 AND status <> $2")
        .bind(id)
        .bind(status)
        .execute(tx)
        .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx<'_>, _: &Grant, id: Uuid) -> Result<()> {
    query("DELETE FROM ports WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// All that a guest is plugged into.
pub async fn bound_ids(conn: &mut Conn) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = query("SELECT id FROM ports WHERE guest_id IS NOT NULL").all(conn).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// The same for a port that was to have a guest; those of the service itself keep their own.
pub async fn set_guest_status(tx: &mut Tx<'_>, _: &Grant, id: Uuid, status: &str) -> Result<()> {
    query(
        "UPDATE ports SET status = $2 WHERE id = $1 AND status <> $2 AND device_owner NOT LIKE 'network:%'",
    )
    .bind(id)
    .bind(status)
    .execute(tx)
    .await?;
    Ok(())
}
