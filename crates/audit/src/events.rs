//! The verbs: who may look at the trail. Nobody may change it.

use hanse_core::{Direction, Error, Page, Result, Timestamp};
use hanse_policy::{Caller, Rule, Verb};
use hanse_store::Db;
use serde_json::Value;

use crate::cadf::cadf;
use crate::{Audit, db};

const LIST: Verb = Verb::new("audit:list_events", Rule::SystemReader);
const SHOW: Verb = Verb::new("audit:get_event", Rule::SystemReader);
pub(crate) const VERBS: &[Verb] = &[LIST, SHOW];

/// A row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    pub(crate) request_id: String,
    pub(crate) initiator: String,
    pub(crate) project_id: Option<String>,
    pub(crate) audit_id: Option<String>,
    /// The verb, as policies name it.
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) outcome: String,
    pub(crate) source: Option<String>,
    /// More than one where the row counts what strangers did beyond the bound.
    pub(crate) times: i64,
    pub(crate) last_at: Option<Timestamp>,
}

/// From a time on, and before another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) initiator: Option<String>,
    /// A verb.
    pub(crate) action: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) range: Range,
}

/// One page, newest first, and whether more follows.
pub(crate) async fn list(
    audit: &Audit,
    caller: &Caller,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Event>, bool)> {
    caller.scope(LIST)?;
    db::list(&mut audit.db.read().await?, filter, page).await
}

pub(crate) async fn show(audit: &Audit, caller: &Caller, id: &str) -> Result<Event> {
    caller.scope(SHOW)?;
    let found = db::show(&mut audit.db.read().await?, id).await?;
    found.ok_or_else(|| Error::not_found("Event", id))
}

/// Behind which event of an export the next page begins.
pub type Position = Option<(Timestamp, String)>;

/// So many events behind `position`, oldest first, in CADF, with the position behind them. For the operator of the
/// machine, who may read the database anyway.
///
/// # Errors
/// If the database fails.
pub async fn page(db: &Db, range: Range, position: Position, limit: u32) -> Result<(Vec<Value>, Position)> {
    let page = Page { limit, marker: None, direction: Direction::Ascending };
    let filter = Filter { range, ..Filter::default() };
    let found = db::behind(&mut db.read().await?, &filter, position.as_ref(), &page).await?;
    let next = found.last().map(|last| (last.at, last.id.clone())).or(position);
    Ok((found.iter().map(cadf).collect(), next))
}
