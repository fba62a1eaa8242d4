//! Which server has which volume.

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Select, Tx, query};

use crate::attachments::Use;
use crate::model::Attachment;

const COLUMNS: &str = "id, volume_id, server_id, device, attached_at";

impl FromRow for Attachment {
    fn from_row(row: &Row) -> Result<Attachment> {
        Ok(Attachment {
            id: row.get("id")?,
            volume_id: row.get("volume_id")?,
            server_id: row.get("server_id")?,
            device: row.get("device")?,
            attached_at: row.get("attached_at")?,
        })
    }
}

pub(crate) async fn show(conn: &mut Conn, volume_id: Uuid) -> Result<Option<Attachment>> {
    Select::from("volume_attachments", COLUMNS).eq("volume_id", volume_id).optional(conn).await
}

pub(crate) async fn of_volumes(conn: &mut Conn, volumes: &[Uuid]) -> Result<Vec<Attachment>> {
    Select::from("volume_attachments", COLUMNS).any("volume_id", volumes.iter().copied()).all(conn).await
}

pub(crate) async fn of_servers(conn: &mut Conn, servers: &[Uuid]) -> Result<Vec<Attachment>> {
    Select::from("volume_attachments", COLUMNS).any("server_id", servers.iter().copied()).all(conn).await
}

/// Reserves the volume of the grant for a server. The primary key lets one win.
pub(crate) async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, wanted: &Use) -> Result<()> {
    query(
        "INSERT INTO volume_attachments (volume_id, id, server_id, device, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(grant.target())
    .bind(wanted.id)
    .bind(wanted.server_id)
    .bind(&wanted.device)
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(())
}

/// The server has the volume of the grant now. Returns whether it was only reserved before.
pub(crate) async fn settle(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant) -> Result<bool> {
    let sql = "UPDATE volume_attachments SET attached_at = $1 WHERE volume_id = $2 AND attached_at IS NULL";
    let settled = query(sql).bind(cx.now()).bind(grant.target()).execute(tx).await?;
    Ok(settled > 0)
}

/// Ends an attachment of the volume of the grant. Returns whether there was such.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant, id: Uuid) -> Result<bool> {
    let gone = query("DELETE FROM volume_attachments WHERE volume_id = $1 AND id = $2")
        .bind(grant.target())
        .bind(id)
        .execute(tx)
        .await?;
    Ok(gone > 0)
}
