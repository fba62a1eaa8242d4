//! The audit trail: one row for each write, in the transaction of the write.

use hanse_core::{Cx, Result, Timestamp};
use hanse_policy::{Actor, Grant};

use crate::db::Tx;
use crate::query::query;

/// The initiator of what somebody did who did not prove who they are.
pub const STRANGER: &str = "unknown";
/// The initiator of what the operator did at the machine itself.
pub const OPERATOR: &str = "operator";
/// The target of the row that counts the refusals which have no row of their own.
pub const LEFT_OUT: &str = "(left out)";

/// So many refusals have a row of their own in one minute, and so many of one source. Strangers cost no password, so
/// what they can make us keep has a bound: 86,400 rows and 1,440 counts a day.
pub const STRANGERS_PER_MINUTE: i64 = 60;
pub const STRANGERS_PER_SOURCE: i64 = 20;

/// The longest name that a stranger may leave in the trail, in characters.
const STRANGE_NAME_MAX: usize = 256;

const MINUTE: i64 = 60_000_000;

struct Event<'e> {
    initiator: &'e str,
    project_id: Option<&'e str>,
    audit_id: Option<&'e str>,
    target: &'e str,
    outcome: &'static str,
    source: Option<String>,
}

/// Writes who did what. Reconcilers finish what a user's event already tells of, so they leave none.
pub(crate) async fn record(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant) -> Result<()> {
    let mut event = Event {
        initiator: OPERATOR,
        project_id: None,
        audit_id: None,
        target: grant.target(),
        outcome: "success",
        source: cx.source().map(|address| address.to_string()),
    };
    match grant.actor() {
        Actor::Reconciler(_) => return Ok(()),
        Actor::Operator => {}
        Actor::User { user_id, project_id, audit_id } => {
            event.initiator = user_id;
            event.project_id = project_id.as_deref();
            event.audit_id = audit_id.as_deref();
        }
        Actor::Stranger => {
            let shown = printable(grant.target());
            event = Event { initiator: STRANGER, outcome: "failure", target: &shown, ..event };
            if !may_leave_a_row(tx, cx, event.source.as_deref()).await? {
                if count_left_out(tx, cx).await? {
                    return Ok(());
                }
                (event.target, event.source) = (LEFT_OUT, None);
            }
            return insert(tx, cx, grant, &event).await;
        }
    }
    insert(tx, cx, grant, &event).await
}

async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, event: &Event<'_>) -> Result<()> {
    query(
        "INSERT INTO audit_events (id, at, request_id, initiator, project_id, audit_id, action, target, outcome, source)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(cx.uuid())
    .bind(cx.now())
    .bind(grant.request_id())
    .bind(event.initiator)
    .bind(event.project_id)
    .bind(event.audit_id)
    .bind(grant.verb())
    .bind(event.target)
    .bind(event.outcome)
    .bind(event.source.clone())
    .execute(tx)
    .await?;
    Ok(())
}

fn minute(cx: &Cx) -> Timestamp {
    let now = cx.now().0;
    Timestamp(now - now.rem_euclid(MINUTE))
}

async fn may_leave_a_row(tx: &mut Tx<'_>, cx: &Cx, source: Option<&str>) -> Result<bool> {
    let (all, of_source): (i64, i64) = query(
        "SELECT CAST(COUNT(*) AS BIGINT),
                CAST(COALESCE(SUM(CASE WHEN COALESCE(source, '') = $2 THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM audit_events WHERE initiator = 'unknown' AND at >= $1 AND target <> $3",
    )
    .bind(minute(cx))
    .bind(source.unwrap_or_default())
    .bind(LEFT_OUT)
    .one(tx)
    .await?;
    Ok(all < STRANGERS_PER_MINUTE && of_source < STRANGERS_PER_SOURCE)
}

/// Whether this minute has a row to count in.
async fn count_left_out(tx: &mut Tx<'_>, cx: &Cx) -> Result<bool> {
    let counted = query(
        "UPDATE audit_events SET times = times + 1, last_at = $3
         WHERE initiator = 'unknown' AND at >= $1 AND target = $2",
    )
    .bind(minute(cx))
    .bind(LEFT_OUT)
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(counted > 0)
}

/// What a stranger wrote, so that it can be kept and shown: not too long, and without control characters.
fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(STRANGE_NAME_MAX)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect();
    if text.chars().nth(STRANGE_NAME_MAX).is_some() {
        shown.push('…');
    }
    shown
}
