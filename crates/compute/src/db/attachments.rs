use std::collections::{BTreeMap, BTreeSet};

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Select, Tx, in_list, query};

use crate::model::{Attachment, AttachmentState};

const COLUMNS: &str = "id, volume_id, server_id, device, state";

impl FromRow for Attachment {
    fn from_row(row: &Row) -> Result<Attachment> {
        Ok(Attachment {
            id: row.get("id")?,
            volume_id: row.get("volume_id")?,
            server_id: row.get("server_id")?,
            device: row.get("device")?,
            state: AttachmentState::parse(&row.get::<String>("state")?)?,
        })
    }
}

/// The volumes of these servers, in the order of their devices.
pub async fn list(conn: &mut Conn, servers: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Attachment>>> {
    let mut all = query(format!(
        "SELECT {COLUMNS} FROM attachments WHERE {} ORDER BY device",
        in_list("server_id", 1, servers.len())
    ));
    for id in servers {
        all = all.bind(*id);
    }
    let mut by_server: BTreeMap<Uuid, Vec<Attachment>> = BTreeMap::new();
    for attachment in all.all::<Attachment>(conn).await? {
        by_server.entry(attachment.server_id).or_default().push(attachment);
    }
    Ok(by_server)
}

pub async fn show(conn: &mut Conn, id: Uuid) -> Result<Option<Attachment>> {
    Select::from("attachments", COLUMNS).eq("id", id).optional(conn).await
}

/// Those of these ids that there are.
pub async fn standing(conn: &mut Conn, ids: &[Uuid]) -> Result<BTreeSet<Uuid>> {
    let rows: Vec<(Uuid,)> =
        Select::from("attachments", "id").any("id", ids.iter().copied()).all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, attachment: &Attachment) -> Result<()> {
    let volume_id = attachment.volume_id;
    query(
        "INSERT INTO attachments (id, volume_id, server_id, device, state, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(attachment.id)
    .bind(volume_id)
    .bind(grant.target())
    .bind(&attachment.device)
    .bind(attachment.state.as_str())
    .bind(cx.now())
    .execute_unique(tx, &format!("Volume {volume_id} is attached to a server already, or about to be."))
    .await
    .map(drop)
}

/// Unless it is in another state by now, or gone: answers whether it was not.
pub async fn turn(
    tx: &mut Tx<'_>,
    grant: &Grant,
    attachment: &Attachment,
    to: AttachmentState,
) -> Result<bool> {
    let changed = query("UPDATE attachments SET state = $4 WHERE server_id = $1 AND id = $2 AND state = $3")
        .bind(grant.target())
        .bind(attachment.id)
        .bind(attachment.state.as_str())
        .bind(to.as_str())
        .execute(tx)
        .await?;
    Ok(changed > 0)
}

/// Whatever it is up to, it shall end. Answers whether the server has such a volume.
pub async fn detach(tx: &mut Tx<'_>, grant: &Grant, volume_id: Uuid) -> Result<bool> {
    let changed = query("UPDATE attachments SET state = 'detaching' WHERE server_id = $1 AND volume_id = $2")
        .bind(grant.target())
        .bind(volume_id)
        .execute(tx)
        .await?;
    Ok(changed > 0)
}

/// Takes back an attachment, unless the volume was promised to it meanwhile: answers whether it was not.
pub async fn withdraw(tx: &mut Tx<'_>, grant: &Grant, id: Uuid) -> Result<bool> {
    let gone = query("DELETE FROM attachments WHERE server_id = $1 AND id = $2 AND state = 'reserving'")
        .bind(grant.target())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(gone > 0)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant, id: Uuid) -> Result<()> {
    query("DELETE FROM attachments WHERE server_id = $1 AND id = $2")
        .bind(grant.target())
        .bind(id)
        .execute(tx)
        .await
        .map(drop)
}
