use std::collections::BTreeMap;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Tx, in_list, query};

use crate::model::{Attachment, AttachmentState};

impl FromRow for Attachment {
    fn from_row(row: &Row) -> Result<Attachment> {
        Ok(Attachment {
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
        "SELECT volume_id, server_id, device, state FROM attachments WHERE {} ORDER BY device",
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

pub async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, volume_id: Uuid, device: &str) -> Result<()> {
    query("INSERT INTO attachments (volume_id, server_id, device, state, created_at) VALUES ($1, $2, $3, 'attaching', $4)")
        .bind(volume_id)
        .bind(grant.target())
        .bind(device)
        .bind(cx.now())
        .execute_unique(tx, &format!("Volume {volume_id} is already attached to a server."))
        .await
        .map(drop)
}

pub async fn turn(tx: &mut Tx<'_>, grant: &Grant, volume_id: Uuid, to: AttachmentState) -> Result<bool> {
    let changed = query("UPDATE attachments SET state = $3 WHERE server_id = $1 AND volume_id = $2")
        .bind(grant.target())
        .bind(volume_id)
        .bind(to.as_str())
        .execute(tx)
        .await?;
    Ok(changed > 0)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant, volume_id: Uuid) -> Result<()> {
    query("DELETE FROM attachments WHERE server_id = $1 AND volume_id = $2")
        .bind(grant.target())
        .bind(volume_id)
        .execute(tx)
        .await
        .map(drop)
}
