//! The table of work: SQL only.

use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};
use hanse_store::{Condition, Conn, FromRow, Row, Tx, query};

/// The topic that the runner listens to.
pub(crate) const TOPIC: &str = "work";

/// How long a claim lasts. A step that takes longer is cut off before.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

pub(crate) struct Item {
    pub kind: String,
    pub object_id: String,
    pub generation: i64,
    pub fence: i64,
    pub attempts: u32,
}

impl FromRow for Item {
    fn from_row(row: &Row) -> Result<Item> {
        Ok(Item {
            kind: row.get("kind")?,
            object_id: row.get("object_id")?,
            generation: row.get("generation")?,
            fence: row.get("fence")?,
            attempts: row.get("attempts")?,
        })
    }
}

/// Makes the reconciler look at the object as soon as this transaction has committed, also if it is at work on it
/// just now.
///
/// # Errors
/// If the database fails.
pub async fn wake(tx: &mut Tx<'_>, cx: &Cx, kind: &'static str, id: &str) -> Result<()> {
    let now = tx.now(cx).await?;
    query(
        "INSERT INTO work_items (kind, object_id, due_at, generation, lease_until, fence, attempts, since)
         VALUES ($1, $2, $3, 1, 0, 0, 0, $3)
         ON CONFLICT (kind, object_id) DO UPDATE
         SET due_at = $3, generation = work_items.generation + 1, attempts = 0",
    )
    .bind(kind)
    .bind(id)
    .bind(now)
    .execute(tx)
    .await?;
    tx.signal(TOPIC);
    Ok(())
}

/// Takes the longest due item that nobody holds and that is of one of these kinds: an item of a kind that only a newer
/// release knows is left alone.
pub(crate) async fn claim(
    tx: &mut Tx<'_>,
    cx: &Cx,
    kinds: &[&'static str],
    owner: &str,
) -> Result<Option<Item>> {
    let now = tx.now(cx).await?;
    let known = hanse_store::in_list("kind", 4, kinds.len());
    let mut claim = query(format!(
        "UPDATE work_items SET lease_owner = $1, lease_until = $2, fence = fence + 1
         WHERE (kind, object_id) IN (
             SELECT kind, object_id FROM work_items
             WHERE due_at <= $3 AND lease_until <= $3 AND {known} ORDER BY due_at LIMIT 1)
         RETURNING kind, object_id, generation, fence, attempts"
    ))
    .bind(owner)
    .bind(now.plus(LEASE))
    .bind(now);
    for kind in kinds {
        claim = claim.bind(*kind);
    }
    claim.optional(tx).await
}

/// Frees what a dead process holds.
pub(crate) async fn free_all(tx: &mut Tx<'_>) -> Result<()> {
    query("UPDATE work_items SET lease_owner = NULL, lease_until = 0 WHERE lease_until > 0")
        .execute(tx)
        .await?;
    tx.signal(TOPIC);
    Ok(())
}

/// The condition that the lease is still ours.
pub(crate) fn lease(kind: &str, id: &str, fence: i64) -> Condition {
    Condition {
        query: query("SELECT fence FROM work_items WHERE kind = $1 AND object_id = $2 AND fence = $3")
            .bind(kind)
            .bind(id)
            .bind(fence),
        otherwise: "the lease on this work was lost to another process",
    }
}

/// Ends the work on an object, unless it was woken meanwhile.
pub(crate) async fn finish(tx: &mut Tx<'_>, cx: &Cx, item: &Item) -> Result<()> {
    let gone =
        query("DELETE FROM work_items WHERE kind = $1 AND object_id = $2 AND fence = $3 AND generation = $4")
            .bind(&item.kind)
            .bind(&item.object_id)
            .bind(item.fence)
            .bind(item.generation)
            .execute(tx)
            .await?;
    if gone == 0 { release(tx, cx, item, Duration::ZERO, None, 0).await } else { Ok(()) }
}

/// Gives the item back, to be looked at after `pause`, or at once if it was woken meanwhile.
pub(crate) async fn release(
    tx: &mut Tx<'_>,
    cx: &Cx,
    item: &Item,
    pause: Duration,
    reason: Option<&str>,
    attempts: u32,
) -> Result<()> {
    let now = tx.now(cx).await?;
    query(
        "UPDATE work_items
         SET lease_owner = NULL, lease_until = 0, reason = $5, attempts = $6,
             due_at = CASE WHEN generation = $4 THEN $7 ELSE due_at END
         WHERE kind = $1 AND object_id = $2 AND fence = $3",
    )
    .bind(&item.kind)
    .bind(&item.object_id)
    .bind(item.fence)
    .bind(item.generation)
    .bind(reason)
    .bind(attempts)
    .bind(now.plus(pause))
    .execute(tx)
    .await?;
    if pause.is_zero() {
        tx.signal(TOPIC);
    }
    Ok(())
}

/// When the next item is due that nobody holds, or the next lease runs out.
pub(crate) async fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let (due,): (Option<Timestamp>,) = query(
        "SELECT CAST(MIN(CASE WHEN lease_until > due_at THEN lease_until ELSE due_at END) AS BIGINT) FROM work_items",
    )
    .one(conn)
    .await?;
    Ok(due)
}

/// What waits to be done, for metrics and `hanse status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub kind: String,
    pub items: u64,
    /// When the oldest of them began to be worked on.
    pub oldest: Timestamp,
    pub failing: u64,
}

impl FromRow for Backlog {
    fn from_row(row: &Row) -> Result<Backlog> {
        Ok(Backlog {
            kind: row.get("kind")?,
            items: row.get("items")?,
            oldest: row.get("oldest")?,
            failing: row.get("failing")?,
        })
    }
}

/// # Errors
/// If the database fails.
pub async fn backlog(conn: &mut Conn) -> Result<Vec<Backlog>> {
    query(
        "SELECT kind, CAST(COUNT(*) AS BIGINT) AS items, CAST(MIN(since) AS BIGINT) AS oldest,
                CAST(SUM(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) AS BIGINT) AS failing
         FROM work_items GROUP BY kind ORDER BY kind",
    )
    .all(conn)
    .await
}
