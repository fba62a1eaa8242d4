//! Chains of trusts.

use hanse_core::{Result, Timestamp};
use hanse_policy::Grant;
use hanse_store::{Conn, Tx, query};

use super::rows::{find, select};
use crate::trusts::Trust;

pub(crate) async fn some(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<Trust>> {
    match ids {
        None => select::<Trust>().all(conn).await,
        Some(ids) => select::<Trust>().any("id", ids).all(conn).await,
    }
}

/// Deletes the trust that the grant names and all that hand it on; says which there were.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<String>> {
    if find::<Trust>(tx, grant.target()).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut gone = vec![grant.target().to_owned()];
    let mut at = 0;
    while let Some(id) = gone.get(at).cloned() {
        at += 1;
        let below: Vec<Trust> = select::<Trust>().eq("redelegated_id", &id).all(tx).await?;
        gone.extend(below.into_iter().map(|trust| trust.id));
        query("DELETE FROM trusts WHERE id = $1").bind(&id).execute(tx).await?;
    }
    Ok(gone)
}

/// Deletes what this user gave and what has ended since; says what it was. Nothing that hangs on one of them is alive.
pub(crate) async fn forget_expired(tx: &mut Tx<'_>, trustor: &str, now: Timestamp) -> Result<Vec<String>> {
    let sql = "DELETE FROM trusts WHERE trustor_user_id = $1 AND expires_at IS NOT NULL AND expires_at <= $2 RETURNING id";
    let gone: Vec<(String,)> = query(sql).bind(trustor).bind(now).all(tx).await?;
    Ok(gone.into_iter().map(|(id,)| id).collect())
}

/// How many trusts this user has given.
pub(crate) async fn count(tx: &mut Tx<'_>, trustor: &str) -> Result<usize> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM trusts WHERE trustor_user_id = $1";
    let (count,): (i64,) = query(sql).bind(trustor).one(tx).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Takes one use of the trust; says whether there was one.
pub(crate) async fn consume(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    let used = query(
        "UPDATE trusts SET remaining_uses = remaining_uses - 1
         WHERE id = $1 AND (remaining_uses IS NULL OR remaining_uses > 0)",
    )
    .bind(id)
    .execute(tx)
    .await?;
    Ok(used > 0)
}
