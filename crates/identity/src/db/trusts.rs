//! Chains of trusts.

use hanse_core::Result;
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
