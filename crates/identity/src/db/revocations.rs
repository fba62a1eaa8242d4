//! Tokens that died before their time.

use std::collections::HashSet;

use hanse_core::{Result, Timestamp};
use hanse_policy::Grant;
use hanse_store::{Conn, Tx, query};

use crate::token::AuditId;

/// Revokes the token whose audit id the grant names, and forgets those that have expired since.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    query("DELETE FROM token_revocations WHERE expires_at <= $1").bind(now).execute(tx).await?;
    query("INSERT INTO token_revocations (audit_id, expires_at) VALUES ($1, $2) ON CONFLICT (audit_id) DO NOTHING")
        .bind(grant.target())
        .bind(expires_at)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn current(conn: &mut Conn, now: Timestamp) -> Result<HashSet<AuditId>> {
    let rows: Vec<(String,)> =
        query("SELECT audit_id FROM token_revocations WHERE expires_at > $1").bind(now).all(conn).await?;
    Ok(rows.iter().filter_map(|(text,)| AuditId::parse(text)).collect())
}
