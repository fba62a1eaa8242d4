use hanse_core::{Cx, Page, Result, Uuid};
use hanse_node::documents::{ImageRef, Reboots};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Flag, FromRow, Json, Row, Select, SortKey, Tx, query};

use super::amount;
use crate::model::{Server, State, Wanted, parse_format};
use crate::ports::Quota;

const COLUMNS: &str = "id, created_at, updated_at, project_id, user_id, name, hostname, state, state_since, state_reason, \
     power, soft_reboots, hard_reboots, launched_at, node, flavor_id, flavor_name, vcpus, memory_mib, root_bytes, \
     image_id, image_data_id, image_format, key_name, public_key, user_data, metadata, nics, config_drive, disk_config, \
     access_ipv4, access_ipv6, reservation_id, launch_index";

impl FromRow for Server {
    fn from_row(row: &Row) -> Result<Server> {
        let (Json(metadata), Json(nics)) = (row.get("metadata")?, row.get("nics")?);
        Ok(Server {
            id: row.get("id")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            project_id: row.get("project_id")?,
            user_id: row.get("user_id")?,
            name: row.get("name")?,
            hostname: row.get("hostname")?,
            state: State::parse(&row.get::<String>("state")?)?,
            state_since: row.get("state_since")?,
            state_reason: row.get("state_reason")?,
            wanted: Wanted::parse(&row.get::<String>("power")?)?,
            reboots: Reboots { soft: row.get("soft_reboots")?, hard: row.get("hard_reboots")? },
            launched_at: row.get("launched_at")?,
            node: row.get("node")?,
            flavor_id: row.get("flavor_id")?,
            flavor_name: row.get("flavor_name")?,
            vcpus: row.get("vcpus")?,
            memory_mib: row.get("memory_mib")?,
            root_bytes: row.get("root_bytes")?,
            image_id: row.get("image_id")?,
            image: ImageRef {
                id: row.get("image_data_id")?,
                format: parse_format(&row.get::<String>("image_format")?)?,
            },
            key_name: row.get("key_name")?,
            public_key: row.get("public_key")?,
            user_data: row.get("user_data")?,
            metadata,
            nics,
            config_drive: row.get("config_drive")?,
            disk_config: row.get("disk_config")?,
            access_ipv4: row.get("access_ipv4")?,
            access_ipv6: row.get("access_ipv6")?,
            reservation_id: row.get("reservation_id")?,
            launch_index: row.get("launch_index")?,
        })
    }
}

pub fn visible(scope: &Scope) -> Select {
    Select::from("servers", COLUMNS).scope(scope)
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<Server>> {
    visible(scope).eq("id", id).optional(conn).await
}

pub async fn list(
    conn: &mut Conn,
    select: Select,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Server>, bool)> {
    select.sorted(conn, keys, page).await
}

/// What a project uses, counted anew.
pub async fn used(conn: &mut Conn, project_id: &str) -> Result<Quota> {
    let (instances, cores, ram): (u32, u32, u64) = query(
        "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(vcpus), 0) AS BIGINT),
                CAST(COALESCE(SUM(memory_mib), 0) AS BIGINT)
         FROM servers WHERE project_id = $1",
    )
    .bind(project_id)
    .one(conn)
    .await?;
    Ok(Quota { instances, cores, ram })
}

pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, server: &Server) -> Result<()> {
    query(
        "INSERT INTO servers (id, created_at, updated_at, project_id, user_id, name, hostname, state, state_since,
             state_reason, power, soft_reboots, hard_reboots, node, flavor_id, flavor_name, vcpus, memory_mib, root_bytes,
             image_id, image_data_id, image_format, key_name, public_key, user_data, metadata, nics, config_drive,
             disk_config, access_ipv4, access_ipv6, reservation_id, launch_index)
         VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $2, $8, $9, 0, 0, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
             $21, $22, $23, $24, $25, $26, $27, $28, $29)",
    )
    .bind(grant.target())
    .bind(server.created_at)
    .bind(&server.project_id)
    .bind(&server.user_id)
    .bind(&server.name)
    .bind(&server.hostname)
    .bind(server.state.as_str())
    .bind(server.state_reason.clone())
    .bind(server.wanted.as_str())
    .bind(server.node.clone())
    .bind(&server.flavor_id)
    .bind(&server.flavor_name)
    .bind(server.vcpus)
    .bind(amount(server.memory_mib))
    .bind(amount(server.root_bytes))
    .bind(server.image_id)
    .bind(server.image.id)
    .bind(server.image.format.as_str())
    .bind(server.key_name.clone())
    .bind(server.public_key.clone())
    .bind(server.user_data.clone())
    .bind(Json(&server.metadata))
    .bind(Json(&server.nics))
    .bind(Flag(server.config_drive))
    .bind(&server.disk_config)
    .bind(&server.access_ipv4)
    .bind(&server.access_ipv6)
    .bind(&server.reservation_id)
    .bind(server.launch_index)
    .execute(tx)
    .await
    .map(drop)
}

/// What a user may change at any time.
pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, server: &Server) -> Result<()> {
    query(
        "UPDATE servers SET updated_at = $2, name = $3, metadata = $4, access_ipv4 = $5, access_ipv6 = $6, disk_config = $7
         WHERE id = $1",
    )
    .bind(grant.target())
    .bind(cx.now())
    .bind(&server.name)
    .bind(Json(&server.metadata))
    .bind(&server.access_ipv4)
    .bind(&server.access_ipv6)
    .bind(&server.disk_config)
    .execute(tx)
    .await
    .map(drop)
}

/// A step of a server's life: where it is, what is wanted, and why. Answers whether it was still in `from`.
pub async fn turn(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, from: State, to: &Server) -> Result<bool> {
    let changed = query(
        "UPDATE servers SET updated_at = $3, state = $4, state_since = $3, state_reason = $5, power = $6,
                            soft_reboots = $7, hard_reboots = $8, launched_at = $9
         WHERE id = $1 AND state = $2",
    )
    .bind(grant.target())
    .bind(from.as_str())
    .bind(cx.now())
    .bind(to.state.as_str())
    .bind(to.state_reason.clone())
    .bind(to.wanted.as_str())
    .bind(amount(to.reboots.soft))
    .bind(amount(to.reboots.hard))
    .bind(to.launched_at)
    .execute(tx)
    .await?;
    Ok(changed > 0)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM servers WHERE id = $1").bind(grant.target()).execute(tx).await.map(drop)
}
