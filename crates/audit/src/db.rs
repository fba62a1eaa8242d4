//! SQL only.

use hanse_core::{Page, Result, Timestamp};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Row, Select, Tx, Value, query};

use crate::events::{Event, Filter};

/// Pages go by `created_at`; the trail calls it `at`.
const EVENTS: &str = "(SELECT audit_events.*, at AS created_at FROM audit_events) AS events";

impl FromRow for Event {
    fn from_row(row: &Row) -> Result<Event> {
        Ok(Event {
            id: row.get("id")?,
            at: row.get("at")?,
            request_id: row.get("request_id")?,
            initiator: row.get("initiator")?,
            project_id: row.get("project_id")?,
            audit_id: row.get("audit_id")?,
            action: row.get("action")?,
            target: row.get("target")?,
            outcome: row.get("outcome")?,
            source: row.get("source")?,
            times: row.get("times")?,
            last_at: row.get("last_at")?,
        })
    }
}

fn select(filter: &Filter) -> Select {
    let mut select = Select::from(EVENTS, "*");
    for (column, value) in [
        ("initiator", &filter.initiator),
        ("action", &filter.action),
        ("target", &filter.target),
        ("project_id", &filter.project_id),
        ("outcome", &filter.outcome),
        ("request_id", &filter.request_id),
    ] {
        select = select.eq_some(column, value.as_ref());
    }
    if let Some(since) = filter.range.since {
        select = select.compare("at", ">=", since);
    }
    if let Some(until) = filter.range.until {
        select = select.compare("at", "<", until);
    }
    select
}

pub(crate) async fn list(conn: &mut Conn, filter: &Filter, page: &Page) -> Result<(Vec<Event>, bool)> {
    select(filter).page(conn, page).await
}

/// A page by position, not by marker: the event it stands behind may have been removed.
pub(crate) async fn behind(
    conn: &mut Conn,
    filter: &Filter,
    position: Option<&(Timestamp, String)>,
    page: &Page,
) -> Result<Vec<Event>> {
    let mut select = select(filter);
    if let Some((at, id)) = position {
        select = select.and_with("(at, id) > (?, ?)", [Value::from(*at), Value::from(id)]);
    }
    Ok(select.page(conn, page).await?.0)
}

pub(crate) async fn show(conn: &mut Conn, id: &str) -> Result<Option<Event>> {
    Select::from("audit_events", "*").eq("id", id).optional(conn).await
}

pub(crate) async fn has_older(conn: &mut Conn, before: Timestamp) -> Result<bool> {
    Select::from("audit_events", "id").compare("at", "<", before).exists(conn).await
}

/// Removes so many of the oldest events from before a time, and returns how many.
pub(crate) async fn remove(tx: &mut Tx<'_>, _: &Grant, before: Timestamp, limit: u32) -> Result<u64> {
    query(format!(
        "DELETE FROM audit_events WHERE id IN
             (SELECT id FROM audit_events WHERE at < $1 ORDER BY at, id LIMIT {limit})"
    ))
    .bind(before)
    .execute(tx)
    .await
}
