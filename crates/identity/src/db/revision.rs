//! The number that every write to identity raises.

use hanse_core::{Error, Result};
use hanse_store::{Conn, Tx, query};

/// Proof that a transaction has raised the revision; each write of identity ends with one.
pub(crate) struct Revision(pub(crate) i64);

pub(crate) async fn read(conn: &mut Conn) -> Result<i64> {
    let (revision,): (i64,) = query("SELECT revision FROM identity_revision WHERE id = 1").one(conn).await?;
    Ok(revision)
}

pub(crate) async fn bump(tx: &mut Tx<'_>) -> Result<Revision> {
    query("UPDATE identity_revision SET revision = revision + 1 WHERE id = 1").execute(tx).await?;
    read(tx).await.map(Revision)
}

/// The same for a write that may take power away: one that leaves nobody in charge does not happen.
pub(crate) async fn bump_keeping_an_admin(tx: &mut Tx<'_>) -> Result<Revision> {
    let admin = query(
        "SELECT CAST(1 AS BIGINT) FROM role_assignments a
         JOIN roles r ON r.id = a.role_id AND r.name = 'admin' AND r.domain_id = ''
         JOIN users u ON u.id = a.actor_id AND u.enabled = 1 AND u.password_hash IS NOT NULL
         JOIN projects d ON d.id = u.domain_id AND d.enabled = 1
         LEFT JOIN projects p ON p.id = a.scope_id
         LEFT JOIN projects pd ON pd.id = p.domain_id
         WHERE a.actor_kind = 'user' AND a.inherited = 0
           AND (a.scope_kind = 'system' OR (p.enabled = 1 AND (p.is_domain = 1 OR pd.enabled = 1)))
         LIMIT 1",
    );
    if admin.optional::<(Option<i64>,)>(tx).await?.is_none() {
        return Err(Error::forbidden(
            "This would leave the cloud without an enabled administrator; give another user the role admin first.",
        ));
    }
    bump(tx).await
}
