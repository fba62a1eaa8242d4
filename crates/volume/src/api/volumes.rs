use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::here::{Here, One};
use super::{list, view};
use crate::Volume;
use crate::model::{Metadata, parse_id};
use crate::volumes::{self, Change, Shown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    volume: Wanted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default, alias = "display_name", deserialize_with = "nullable")]
    name: Option<Option<String>>,
    #[serde(default, alias = "display_description", deserialize_with = "nullable")]
    description: Option<Option<String>>,
    metadata: Option<Metadata>,
}

/// Tells `null` (`Some(None)`) from a field that is not there (`None`).
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

async fn listed(
    volume: &Volume,
    call: &Call,
    params: &Params,
    path: &str,
    view: impl Fn(&Shown) -> Value,
) -> Reply<Json<Value>> {
    let (filter, sort, page) = (list::filter(params, call)?, list::sort(params)?, list::page(params)?);
    let (found, more) = volumes::list(volume, &call.caller, &filter, &sort, &page).await?;
    let mut body = Map::new();
    if let (Some(last), true) = (found.last(), more) {
        let project = call.caller.project_id().unwrap_or_default();
        let query = params.with_marker(&last.row.id.to_string());
        let href = format!("{}/volume/v3/{project}/{path}?{query}", volume.public_url);
        body.insert("volumes_links".to_owned(), json!([{ "rel": "next", "href": href }]));
    }
    body.insert("volumes".to_owned(), found.iter().map(view).collect());
    Ok(Json(body.into()))
}

pub(crate) async fn list(
    State(volume): State<Volume>,
    Here(call): Here,
    params: Params,
) -> Reply<Json<Value>> {
    listed(&volume, &call, &params, "volumes", |shown| view::brief(&volume, &shown.row)).await
}

pub(crate) async fn list_detail(
    State(volume): State<Volume>,
    Here(call): Here,
    params: Params,
) -> Reply<Json<Value>> {
    let view = |shown: &Shown| Value::Object(view::detail(&volume, &call.caller, shown));
    listed(&volume, &call, &params, "volumes/detail", view).await
}

pub(crate) async fn show(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
) -> Reply<Json<Value>> {
    let shown = volumes::show(&volume, &call.caller, parse_id(&one.id)?).await?;
    Ok(Json(json!({ "volume": view::detail(&volume, &call.caller, &shown) })))
}

pub(crate) async fn update(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    Body(Request { volume: wanted }): Body<Request>,
) -> Reply<Json<Value>> {
    let change = Change { name: wanted.name, description: wanted.description, metadata: wanted.metadata };
    let shown = volumes::update(&volume, &call.cx, &call.caller, parse_id(&one.id)?, change).await?;
    Ok(Json(json!({ "volume": view::summary(&volume, &call.caller, &shown) })))
}

pub(crate) async fn delete(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    params: Params,
) -> Reply<StatusCode> {
    let id = parse_id(&one.id)?;
    // There are no snapshots that `cascade` could mean.
    params.flag("cascade")?;
    volumes::delete(&volume, &call.cx, &call.caller, id).await?;
    Ok(StatusCode::ACCEPTED)
}
