//! Desired documents and observed reports in the database: what services call.
//!
//! A service puts a document in the transaction in which it changes its own rows. The hub delivers it, the agent
//! reports, and the report wakes the reconciler that the object belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp, Uuid};
use hanse_store::{Conn, FromRow, Json, Row, Tx, in_list, query};

use crate::documents::{Document, Kind, Spec};
use crate::reports::{Hello, Report, State};

/// The topic that the hub listens to.
pub(crate) const TOPIC: &str = "node";

/// Encrypts documents at rest: they carry user data and keys.
pub trait Sealer: Send + Sync {
    /// # Errors
    /// If the key cannot be used.
    fn seal(&self, cx: &Cx, plain: &[u8]) -> Result<Vec<u8>>;
    /// # Errors
    /// If this was not sealed with our key.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>>;
}

/// Writes and reads desired documents. Cheap to clone.
#[derive(Clone)]
pub struct Documents {
    sealer: Arc<dyn Sealer>,
}

impl Documents {
    pub fn new(sealer: Arc<dyn Sealer>) -> Documents {
        Documents { sealer }
    }

    /// States what `node` shall make true of an object and returns the revision; the same spec again changes nothing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn put(&self, tx: &mut Tx<'_>, cx: &Cx, node: &str, id: Uuid, spec: &Spec) -> Result<i64> {
        let kind = spec.kind();
        if let Some(current) = self.show(tx, node, kind, id).await?
            && current.spec == *spec
        {
            return Ok(current.revision);
        }
        let (revision,): (i64,) = query(
            "INSERT INTO node_revisions (node, revision) VALUES ($1, 1)
             ON CONFLICT (node) DO UPDATE SET revision = node_revisions.revision + 1 RETURNING revision",
        )
        .bind(node)
        .one(tx)
        .await?;
        let plain = serde_json::to_vec(spec)
            .map_err(|error| Error::internal(format!("a document does not encode: {error}")))?;
        query(
            "INSERT INTO node_documents (node, kind, id, revision, sealed) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (node, kind, id) DO UPDATE SET revision = $4, sealed = $5",
        )
        .bind(node)
        .bind(kind.as_str())
        .bind(id)
        .bind(revision)
        .bind(self.sealer.seal(cx, &plain)?)
        .execute(tx)
        .await?;
        tx.signal(TOPIC);
        Ok(revision)
    }

    /// The object shall go away from `node`. Without a document there is nothing to take back: answers `None`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn withdraw(
        &self,
        tx: &mut Tx<'_>,
        cx: &Cx,
        node: &str,
        kind: Kind,
        id: Uuid,
    ) -> Result<Option<i64>> {
        match self.show(tx, node, kind, id).await? {
            None => Ok(None),
            Some(_) => self.put(tx, cx, node, id, &Spec::Absent { was: kind }).await.map(Some),
        }
    }

    /// Drops a withdrawn document and its report, once the agent has reported the object gone.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget(&self, tx: &mut Tx<'_>, node: &str, kind: Kind, id: Uuid) -> Result<()> {
        for table in ["node_documents", "node_reports"] {
            query(format!("DELETE FROM {table} WHERE node = $1 AND kind = $2 AND id = $3"))
                .bind(node)
                .bind(kind.as_str())
                .bind(id)
                .execute(tx)
                .await?;
        }
        Ok(())
    }

    /// # Errors
    /// If the database fails.
    pub async fn show(&self, conn: &mut Conn, node: &str, kind: Kind, id: Uuid) -> Result<Option<Document>> {
        let row: Option<Sealed> = query(
            "SELECT id, revision, sealed FROM node_documents WHERE node = $1 AND kind = $2 AND id = $3",
        )
        .bind(node)
        .bind(kind.as_str())
        .bind(id)
        .optional(conn)
        .await?;
        row.map(|row| self.open(row)).transpose()
    }

    /// Documents of a node that changed after `revision`, oldest change first.
    pub(crate) async fn since(
        &self,
        conn: &mut Conn,
        node: &str,
        revision: i64,
        limit: u32,
    ) -> Result<Vec<Document>> {
        let rows: Vec<Sealed> = query(
            "SELECT id, revision, sealed FROM node_documents WHERE node = $1 AND revision > $2
             ORDER BY revision LIMIT $3",
        )
        .bind(node)
        .bind(revision)
        .bind(limit)
        .all(conn)
        .await?;
        rows.into_iter().map(|row| self.open(row)).collect()
    }

    fn open(&self, row: Sealed) -> Result<Document> {
        let plain = self.sealer.open(&row.sealed)?;
        let spec = serde_json::from_slice(&plain)
            .map_err(|error| Error::internal(format!("document {} does not read: {error}", row.id)))?;
        Ok(Document { id: row.id, revision: row.revision, spec })
    }
}

struct Sealed {
    id: Uuid,
    revision: i64,
    sealed: Vec<u8>,
}

impl FromRow for Sealed {
    fn from_row(row: &Row) -> Result<Sealed> {
        Ok(Sealed { id: row.get("id")?, revision: row.get("revision")?, sealed: row.get("sealed")? })
    }
}

/// What a node said of an object, if it has acted on this revision of the document (or a newer one).
///
/// # Errors
/// If the database fails.
pub async fn report(
    conn: &mut Conn,
    node: &str,
    kind: Kind,
    id: Uuid,
    revision: i64,
) -> Result<Option<State>> {
    let row: Option<(Json<State>,)> =
        query("SELECT state FROM node_reports WHERE node = $1 AND kind = $2 AND id = $3 AND revision >= $4")
            .bind(node)
            .bind(kind.as_str())
            .bind(id)
            .bind(revision)
            .optional(conn)
            .await?;
    Ok(row.map(|row| row.0.0))
}

/// The newest report of each of these objects, whatever revision it speaks of.
///
/// # Errors
/// If the database fails.
pub async fn reports(conn: &mut Conn, kind: Kind, ids: &[Uuid]) -> Result<BTreeMap<Uuid, State>> {
    let mut all = query(format!(
        "SELECT id, state FROM node_reports WHERE kind = $1 AND {}",
        in_list("id", 2, ids.len())
    ))
    .bind(kind.as_str());
    for id in ids {
        all = all.bind(*id);
    }
    let rows: Vec<(Uuid, Json<State>)> = all.all(conn).await?;
    Ok(rows.into_iter().map(|(id, state)| (id, state.0)).collect())
}

/// Stores a report and returns whether it says something new. One on an object without a document says nothing: the
/// agent repeats, with a new connection, what it has said before the object was forgotten.
pub(crate) async fn record(tx: &mut Tx<'_>, cx: &Cx, node: &str, report: &Report) -> Result<bool> {
    let changed = query(
        "INSERT INTO node_reports (node, kind, id, revision, state, at)
         SELECT node, kind, id, CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS BIGINT) FROM node_documents
         WHERE node = $1 AND kind = $2 AND id = $3
         ON CONFLICT (node, kind, id) DO UPDATE SET revision = $4, state = $5, at = $6
         WHERE node_reports.revision <> $4 OR node_reports.state <> $5",
    )
    .bind(node)
    .bind(report.kind.as_str())
    .bind(report.id)
    .bind(report.revision)
    .bind(Json(&report.state))
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(changed > 0)
}

/// A machine that runs an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub hello: Hello,
    pub connected: bool,
    /// When it last connected, or, if it is away, until when it was there.
    pub seen_at: Timestamp,
}

/// An agent that starts anew, or whose control plane does, is back within this time.
const ABSENCE: Duration = Duration::from_secs(60);

impl Node {
    /// Whether it can be counted on: it is there, or was a moment ago.
    pub fn is_expected(&self, now: Timestamp) -> bool {
        self.connected || now.since(self.seen_at) <= ABSENCE
    }
}

impl FromRow for Node {
    fn from_row(row: &Row) -> Result<Node> {
        let Json(hello) = row.get("hello")?;
        Ok(Node {
            name: row.get("name")?,
            hello,
            connected: row.get("connected")?,
            seen_at: row.get("connected_at")?,
        })
    }
}

/// All nodes that ever connected, by name.
///
/// # Errors
/// If the database fails.
pub async fn nodes(conn: &mut Conn) -> Result<Vec<Node>> {
    query("SELECT name, hello, connected, connected_at FROM nodes ORDER BY name").all(conn).await
}

pub(crate) async fn connected(tx: &mut Tx<'_>, cx: &Cx, hello: &Hello) -> Result<()> {
    query(
        "INSERT INTO nodes (name, created_at, hello, connected_at, connected) VALUES ($1, $2, $3, $2, 1)
         ON CONFLICT (name) DO UPDATE SET hello = $3, connected_at = $2, connected = 1",
    )
    .bind(&hello.node)
    .bind(cx.now())
    .bind(Json(hello))
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn disconnected(tx: &mut Tx<'_>, cx: &Cx, node: &str) -> Result<()> {
    query("UPDATE nodes SET connected = 0, connected_at = $2 WHERE name = $1 AND connected = 1")
        .bind(node)
        .bind(cx.now())
        .execute(tx)
        .await
        .map(drop)
}

pub(crate) async fn all_disconnected(tx: &mut Tx<'_>, cx: &Cx) -> Result<()> {
    query("UPDATE nodes SET connected = 0, connected_at = $1 WHERE connected = 1")
        .bind(cx.now())
        .execute(tx)
        .await
        .map(drop)
}
