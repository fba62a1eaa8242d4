//! Credentials of users, and the one-time passwords that were used.

use hanse_core::Result;
use hanse_policy::Grant;
use hanse_store::{Conn, Tx, query};

use super::rows::select;
use crate::credentials::Credential;

pub(crate) async fn of_user(conn: &mut Conn, user_id: &str, kind: &str) -> Result<Vec<Credential>> {
    select::<Credential>().eq("user_id", user_id).eq("kind", kind).all(conn).await
}

pub(crate) async fn count(conn: &mut Conn, user_id: &str) -> Result<usize> {
    let (count,): (i64,) = query("SELECT CAST(COUNT(*) AS BIGINT) FROM credentials WHERE user_id = $1")
        .bind(user_id)
        .one(conn)
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The EC2 credential with the access key that has this hash.
pub(crate) async fn of_access(conn: &mut Conn, access_hash: &str) -> Result<Option<Credential>> {
    select::<Credential>().eq("access_hash", access_hash).optional(conn).await
}

/// Those with access keys of these hashes, or all that there are.
pub(crate) async fn ec2(conn: &mut Conn, hashes: Option<&[String]>) -> Result<Vec<Credential>> {
    let select = select::<Credential>();
    match hashes {
        None => select.and("access_hash IS NOT NULL"),
        Some(hashes) => select.any("access_hash", hashes),
    }
    .all(conn)
    .await
}

/// Takes a step of the one-time passwords of the user that the grant names; says whether it was unused and newer than
/// all that were used.
pub(crate) async fn use_step(tx: &mut Tx<'_>, grant: &Grant, step: i64) -> Result<bool> {
    let used = query(
        "INSERT INTO totp_steps (user_id, step) VALUES ($1, $2)
         ON CONFLICT (user_id) DO UPDATE SET step = excluded.step WHERE totp_steps.step < excluded.step",
    )
    .bind(grant.target())
    .bind(step)
    .execute(tx)
    .await?;
    Ok(used > 0)
}
