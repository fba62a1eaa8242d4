use hanse_core::{Cx, Error, Result, Timestamp, Uuid};
use hanse_node::StoredImage;
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Tx, query};

/// Bytes in the store, as far as we know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    pub image_id: Uuid,
    pub state: DataState,
    /// When the upload last gave a sign of life.
    pub seen_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataState {
    /// An upload is under way, or died.
    Writing,
    /// Durable; belongs to an image.
    Stored,
    /// Belongs to no image; to be removed.
    Orphan,
}

impl FromRow for Data {
    fn from_row(row: &Row) -> Result<Data> {
        let state = match row.get::<String>("state")?.as_str() {
            "writing" => DataState::Writing,
            "stored" => DataState::Stored,
            "orphan" => DataState::Orphan,
            other => return Err(Error::internal(format!("image data in the unknown state '{other}'"))),
        };
        Ok(Data { image_id: row.get("image_id")?, state, seen_at: row.get("seen_at")? })
    }
}

pub async fn show(conn: &mut Conn, id: Uuid) -> Result<Option<Data>> {
    query("SELECT image_id, state, seen_at FROM image_data WHERE id = $1").bind(id).optional(conn).await
}

/// Begins an upload: queued → saving. Answers whether the image was queued.
pub async fn begin(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, id: Uuid) -> Result<bool> {
    let changed = query(
        "UPDATE images SET status = 'saving', status_since = $3, status_reason = NULL, updated_at = $3, data_id = $2
         WHERE id = $1 AND status = 'queued'",
    )
    .bind(grant.target())
    .bind(id)
    .bind(cx.now())
    .execute(tx)
    .await?;
    if changed == 0 {
        return Ok(false);
    }
    query("INSERT INTO image_data (id, image_id, state, seen_at) VALUES ($1, $2, 'writing', $3)")
        .bind(id)
        .bind(grant.target())
        .bind(cx.now())
        .execute(tx)
        .await?;
    Ok(true)
}

/// The upload lives.
pub async fn touch(tx: &mut Tx<'_>, cx: &Cx, id: Uuid) -> Result<()> {
    query("UPDATE image_data SET seen_at = $2 WHERE id = $1")
        .bind(id)
        .bind(cx.now())
        .execute(tx)
        .await
        .map(drop)
}

/// The bytes are durable: saving → active. Answers whether the image still waited for this upload.
pub async fn finish(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, id: Uuid, stored: &StoredImage) -> Result<bool> {
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let changed = query(
        "UPDATE images SET status = 'active', status_since = $3, updated_at = $3, size = $4, virtual_size = $5,
                           checksum = $6, hash = $7
         WHERE id = $1 AND data_id = $2 AND status = 'saving'",
    )
    .bind(grant.target())
    .bind(id)
    .bind(cx.now())
    .bind(bytes(stored.size))
    .bind(bytes(stored.virtual_size))
    .bind(&stored.md5)
    .bind(&stored.sha512)
    .execute(tx)
    .await?;
    if changed > 0 {
        query("UPDATE image_data SET state = 'stored' WHERE id = $1").bind(id).execute(tx).await?;
    }
    Ok(changed > 0)
}

/// The bytes belong to no image any more; one that waited for them is queued again.
pub async fn orphan(tx: &mut Tx<'_>, cx: &Cx, id: Uuid, reason: &str) -> Result<()> {
    query(
        "UPDATE images SET status = 'queued', status_since = $2, updated_at = $2, status_reason = $3, data_id = NULL
         WHERE data_id = $1 AND status = 'saving'",
    )
    .bind(id)
    .bind(cx.now())
    .bind(reason)
    .execute(tx)
    .await?;
    query("UPDATE image_data SET state = 'orphan' WHERE id = $1").bind(id).execute(tx).await.map(drop)
}

/// The image is being deleted. The bytes of an upload that still runs are left to that upload.
pub async fn disown(tx: &mut Tx<'_>, id: Uuid) -> Result<()> {
    query("UPDATE image_data SET state = 'orphan' WHERE id = $1 AND state = 'stored'")
        .bind(id)
        .execute(tx)
        .await
        .map(drop)
}

pub async fn delete(tx: &mut Tx<'_>, id: Uuid) -> Result<()> {
    query("DELETE FROM image_data WHERE id = $1").bind(id).execute(tx).await.map(drop)
}
