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

/// The ids of the EC2 credentials among these, or of all.
pub(crate) async fn ec2_ids(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<String>> {
    let select = hanse_store::Select::from("credentials", "id").eq("kind", "ec2");
    let select = match ids {
        None => select,
        Some(ids) => select.any("id", ids),
    };
    Ok(select.all::<(String,)>(conn).await?.into_iter().map(|(id,)| id).collect())
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
