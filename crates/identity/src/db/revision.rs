//! The number that every write to identity raises, and what each write touched, so that a snapshot is brought up to
//! date by reading only that.

use hanse_core::{Error, Result};
use hanse_store::{Conn, Tx, query};

/// Proof that a transaction has said what it touched; each write of identity ends with one.
pub(crate) struct Revision(pub(crate) i64);

/// How many revisions back the log of what was touched reaches. Who is further behind reads everything.
const KEPT: i64 = 2000;

/// A part of the snapshot that a write has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touched {
    /// A user, with memberships and assignments.
    User(String),
    /// The assignments of a group.
    Group(String),
    /// A project or a domain.
    Place(String),
    /// Roles and what they imply: few, so all of them.
    Roles,
    ApplicationCredential(String),
    Trust(String),
    Ec2Credential(String),
    /// What operators added to the catalog: little, so all of it.
    Catalog,
    /// A revoked token, by its audit id.
    Revocation(String),
    Everything,
}

impl Touched {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Touched::User(id) => ("user", id),
            Touched::Group(id) => ("group", id),
            Touched::Place(id) => ("place", id),
            Touched::ApplicationCredential(id) => ("application_credential", id),
            Touched::Trust(id) => ("trust", id),
            Touched::Ec2Credential(id) => ("ec2_credential", id),
            Touched::Roles => ("roles", ""),
            Touched::Catalog => ("catalog", ""),
            Touched::Revocation(id) => ("revocation", id),
            Touched::Everything => ("everything", ""),
        }
    }

    /// What an unknown release touched may be anything.
    fn from_columns(kind: &str, id: String) -> Touched {
        match kind {
            "user" => Touched::User(id),
            "group" => Touched::Group(id),
            "place" => Touched::Place(id),
            "application_credential" => Touched::ApplicationCredential(id),
            "trust" => Touched::Trust(id),
            "ec2_credential" => Touched::Ec2Credential(id),
            "roles" => Touched::Roles,
            "catalog" => Touched::Catalog,
            "revocation" => Touched::Revocation(id),
            _ => Touched::Everything,
        }
    }
}

pub(crate) async fn read(conn: &mut Conn) -> Result<i64> {
    let (revision,): (i64,) = query("SELECT revision FROM identity_revision WHERE id = 1").one(conn).await?;
    Ok(revision)
}

/// Writes down what was touched. A write that touches nothing of the snapshot raises no revision.
pub(crate) async fn bump(tx: &mut Tx<'_>, touched: impl Into<Vec<Touched>>) -> Result<Revision> {
    let touched = touched.into();
    if touched.is_empty() {
        return Ok(Revision(0));
    }
    query("UPDATE identity_revision SET revision = revision + 1 WHERE id = 1").execute(tx).await?;
    let revision = read(tx).await?;
    for part in &touched {
        let (kind, id) = part.columns();
        query("INSERT INTO identity_touched (revision, kind, target) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(revision)
            .bind(kind)
            .bind(id)
            .execute(tx)
            .await?;
    }
    query("DELETE FROM identity_touched WHERE revision <= $1").bind(revision - KEPT).execute(tx).await?;
    Ok(Revision(revision))
}

/// What was touched after `from` and up to `to`; `None` if that is not known any more.
pub(crate) async fn touched(conn: &mut Conn, from: i64, to: i64) -> Result<Option<Vec<Touched>>> {
    if to - from >= KEPT {
        return Ok(None);
    }
    let rows: Vec<(i64, String, String)> = query(
        "SELECT revision, kind, target FROM identity_touched WHERE revision > $1 AND revision <= $2 ORDER BY 1, 2, 3",
    )
    .bind(from)
    .bind(to)
    .all(conn)
    .await?;
    // A release that knows no log, or a writer that trims while we read, leaves holes.
    let mut known: Vec<i64> = rows.iter().map(|row| row.0).collect();
    known.dedup();
    if i64::try_from(known.len()).ok() != Some(to - from) {
        return Ok(None);
    }
    Ok(Some(rows.into_iter().map(|(_, kind, id)| Touched::from_columns(&kind, id)).collect()))
}

/// The same as [`bump`] for a write that may take power away: one that leaves nobody in charge does not happen.
pub(crate) async fn bump_keeping_an_admin(
    tx: &mut Tx<'_>,
    touched: impl Into<Vec<Touched>>,
) -> Result<Revision> {
    for holder in [
        "a.actor_kind = 'user' AND a.actor_id = u.id",
        "a.actor_kind = 'group' AND EXISTS (SELECT 1 FROM group_members m
                                             WHERE m.group_id = a.actor_id AND m.user_id = u.id)",
    ] {
        let admin = query(format!(
            "SELECT CAST(1 AS BIGINT) FROM role_assignments a
             JOIN roles r ON r.id = a.role_id AND r.name = 'admin' AND r.domain_id = ''
             JOIN users u ON {holder} AND u.enabled = 1 AND u.password_hash IS NOT NULL
             JOIN projects d ON d.id = u.domain_id AND d.enabled = 1
             LEFT JOIN projects p ON p.id = a.scope_id
             LEFT JOIN projects pd ON pd.id = p.domain_id
             WHERE a.inherited = 0
               AND (a.scope_kind = 'system' OR (p.enabled = 1 AND (p.is_domain = 1 OR pd.enabled = 1)))
             LIMIT 1"
        ));
        if admin.optional::<(Option<i64>,)>(tx).await?.is_some() {
            return bump(tx, touched).await;
        }
    }
    Err(Error::forbidden(
        "This would leave the cloud without an enabled administrator; give another user the role admin first.",
    ))
}
