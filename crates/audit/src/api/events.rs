use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Direction, Error, Result, Timestamp};
use hanse_web::{Call, Params, Reply};
use serde_json::{Map, Value, json};

use crate::cadf::cadf;
use crate::events::{self, Filter};
use crate::{Audit, Range};

fn filter(params: &Params) -> Result<Filter> {
    let mut filter = Filter::default();
    for (key, value) in params.iter() {
        let text = Some(value.to_owned());
        match key {
            "limit" | "marker" => {}
            "initiator" => filter.initiator = text,
            "action" => filter.action = text,
            "target" => filter.target = text,
            "project_id" => filter.project_id = text,
            "outcome" if matches!(value, "success" | "failure") => filter.outcome = text,
            "outcome" => return Err(Error::bad_request("outcome must be success or failure")),
            "request_id" => filter.request_id = text,
            "since" => filter.range.since = Some(Timestamp::parse(value)?),
            "until" => filter.range.until = Some(Timestamp::parse(value)?),
            other => return Err(Error::bad_request(format!("there is no filter '{other}'"))),
        }
    }
    let Range { since, until } = filter.range;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Error::bad_request("since must not be later than until"));
    }
    Ok(filter)
}

pub(crate) async fn list(State(audit): State<Audit>, call: Call, params: Params) -> Reply<Json<Value>> {
    let page = params.page(Direction::Descending)?;
    let (found, more) = events::list(&audit, &call.caller, &filter(&params)?, &page).await?;
    let mut body = Map::new();
    if let (Some(last), true) = (found.last(), more) {
        let href = format!("{}/audit/v1/events?{}", audit.public_url, params.with_marker(&last.id));
        body.insert("events_links".to_owned(), json!([{ "rel": "next", "href": href }]));
    }
    body.insert("events".to_owned(), found.iter().map(cadf).collect());
    Ok(Json(body.into()))
}

pub(crate) async fn show(
    State(audit): State<Audit>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let event = events::show(&audit, &call.caller, &id).await?;
    Ok(Json(json!({ "event": cadf(&event) })))
}
