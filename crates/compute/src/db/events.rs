use hanse_core::{Cx, Result, Timestamp, Uuid};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Tx, query};

/// Something that a user did to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub request_id: String,
    pub action: String,
    pub user_id: String,
    pub project_id: String,
    pub started_at: Timestamp,
    pub message: Option<String>,
}

impl FromRow for Event {
    fn from_row(row: &Row) -> Result<Event> {
        Ok(Event {
            request_id: row.get("request_id")?,
            action: row.get("action")?,
            user_id: row.get("user_id")?,
            project_id: row.get("project_id")?,
            started_at: row.get("started_at")?,
            message: row.get("message")?,
        })
    }
}

pub async fn insert(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    action: &str,
    user_id: &str,
    project_id: &str,
) -> Result<()> {
    query(
        "INSERT INTO server_actions (server_id, request_id, action, user_id, project_id, started_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (server_id, request_id) DO NOTHING",
    )
    .bind(grant.target())
    .bind(grant.request_id())
    .bind(action)
    .bind(user_id)
    .bind(project_id)
    .bind(cx.now())
    .execute(tx)
    .await
    .map(drop)
}

/// Notes that what was begun last has failed.
pub async fn failed(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query(
        "UPDATE server_actions SET message = 'Error'
         WHERE server_id = $1
           AND started_at = (SELECT MAX(started_at) FROM server_actions WHERE server_id = $1)",
    )
    .bind(grant.target())
    .execute(tx)
    .await
    .map(drop)
}

/// The latest first.
pub async fn list(conn: &mut Conn, server_id: Uuid) -> Result<Vec<Event>> {
    query(
        "SELECT request_id, action, user_id, project_id, started_at, message FROM server_actions
         WHERE server_id = $1 ORDER BY started_at DESC, request_id LIMIT 1000",
    )
    .bind(server_id)
    .all(conn)
    .await
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM server_actions WHERE server_id = $1").bind(grant.target()).execute(tx).await.map(drop)
}
