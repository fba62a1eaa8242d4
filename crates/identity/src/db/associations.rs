//! Pairs of ids: what one thing has to do with another.

use hanse_core::Result;
use hanse_store::{Conn, Tx, query};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Project and endpoint.
    ProjectEndpoint,
    /// Project and endpoint group.
    ProjectEndpointGroup,
    /// Policy and what it is for: see [`crate::policies::For`].
    Policy,
}

impl Kind {
    fn column(self) -> &'static str {
        match self {
            Kind::ProjectEndpoint => "project_endpoint",
            Kind::ProjectEndpointGroup => "project_endpoint_group",
            Kind::Policy => "policy",
        }
    }
}

pub(crate) async fn all(conn: &mut Conn, kind: Kind) -> Result<Vec<(String, String)>> {
    query("SELECT subject, object FROM associations WHERE kind = $1 ORDER BY subject, object")
        .bind(kind.column())
        .all(conn)
        .await
}

pub(crate) async fn exists(conn: &mut Conn, kind: Kind, subject: &str, object: &str) -> Result<bool> {
    let row: Option<(i64,)> =
        query("SELECT CAST(1 AS BIGINT) FROM associations WHERE kind = $1 AND subject = $2 AND object = $3")
            .bind(kind.column())
            .bind(subject)
            .bind(object)
            .optional(conn)
            .await?;
    Ok(row.is_some())
}

pub(crate) async fn insert(tx: &mut Tx<'_>, kind: Kind, subject: &str, object: &str) -> Result<()> {
    query("INSERT INTO associations (kind, subject, object) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(kind.column())
        .bind(subject)
        .bind(object)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx<'_>, kind: Kind, subject: &str, object: &str) -> Result<u64> {
    query("DELETE FROM associations WHERE kind = $1 AND subject = $2 AND object = $3")
        .bind(kind.column())
        .bind(subject)
        .bind(object)
        .execute(tx)
        .await
}

/// Ends all that a deleted thing had to do with others, on either side.
pub(crate) async fn clear(tx: &mut Tx<'_>, kind: Kind, either: &str) -> Result<()> {
    query("DELETE FROM associations WHERE kind = $1 AND (subject = $2 OR object = $2)")
        .bind(kind.column())
        .bind(either)
        .execute(tx)
        .await?;
    Ok(())
}
