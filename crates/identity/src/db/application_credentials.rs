//! Application credentials and the access rules of users.

use hanse_core::Result;
use hanse_store::{Conn, Tx, query};

use super::rows::{insert_as, select};
use crate::application_credentials::{AccessRule, ApplicationCredential};
use crate::model::missing;

pub(crate) async fn some(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<ApplicationCredential>> {
    match ids {
        None => select::<ApplicationCredential>().all(conn).await,
        Some(ids) => select::<ApplicationCredential>().any("id", ids).all(conn).await,
    }
}

/// The one of that name of a user.
pub(crate) async fn named(
    conn: &mut Conn,
    user_id: &str,
    name: &str,
) -> Result<Option<ApplicationCredential>> {
    select::<ApplicationCredential>().eq("user_id", user_id).eq("name", name).optional(conn).await
}

pub(crate) async fn count(conn: &mut Conn, user_id: &str) -> Result<usize> {
    let (count,): (i64,) =
        query("SELECT CAST(COUNT(*) AS BIGINT) FROM application_credentials WHERE user_id = $1")
            .bind(user_id)
            .one(conn)
            .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The rules of one user.
pub(crate) async fn rules(conn: &mut Conn, user_id: &str) -> Result<Vec<AccessRule>> {
    select::<AccessRule>().eq("user_id", user_id).all(conn).await
}

pub(crate) async fn rules_of(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<AccessRule>> {
    match ids {
        None => select::<AccessRule>().all(conn).await,
        Some(ids) => select::<AccessRule>().any("id", ids).all(conn).await,
    }
}

/// The user's rule of that id, or one like the new one, which is made if there is none.
pub(crate) async fn rule(
    tx: &mut Tx<'_>,
    user_id: &str,
    id: Option<&str>,
    new: Option<&AccessRule>,
) -> Result<AccessRule> {
    let own = select::<AccessRule>().eq("user_id", user_id);
    let (Some(new), None) = (new, id) else {
        let id = id.unwrap_or_default();
        return own.eq("id", id).optional(tx).await?.ok_or_else(|| missing("access rule", id));
    };
    let same = own.eq("service", &new.service).eq("path", &new.path).eq("method", &new.method);
    if let Some(known) = same.optional(tx).await? {
        return Ok(known);
    }
    insert_as(tx, &new.id, new, "The access rule exists already.").await?;
    Ok(new.clone())
}
