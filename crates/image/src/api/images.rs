use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hanse_core::{Direction, Error, Page, Result, Uuid};
use hanse_store::{Flag, Select, SortKey};
use hanse_web::{Body, Call, Params, Reply};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::patch;
use crate::Deps;
use crate::images::{self, SHOW, not_found};
use crate::model::{Draft, Image, Visibility};

/// Glance's own page size; clients follow `next`.
const DEFAULT_LIMIT: u32 = 25;

pub async fn create(
    State(deps): State<Deps>,
    call: Call,
    Body(mut body): Body<Map<String, Value>>,
) -> Reply<Response> {
    let id = body.remove("id").map(own_id).transpose()?;
    let mut draft = Draft::default();
    for (name, value) in body {
        draft.set(&name, value)?;
    }
    let image = images::create(&deps, &call.cx, &call.caller, id, &draft).await?;
    let location = format!("{}/image/v2/images/{}", deps.public_url, image.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view(&image))).into_response())
}

fn own_id(value: Value) -> Result<Uuid> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| Error::bad_request("Invalid value for attribute 'id': a UUID expected."))
}

/// What is no UUID names no image.
pub fn parse_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| not_found(text))
}

pub async fn show(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let image = images::show(&deps, &call.caller, SHOW, parse_id(&id)?).await?;
    Ok(Json(view(&image)))
}

pub async fn update(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply<Json<Value>> {
    let changes = patch::parse(&headers, &body)?;
    let change = |draft: &mut Draft| changes.iter().try_for_each(|change| change.apply(draft));
    let image = images::update(&deps, &call.cx, &call.caller, parse_id(&id)?, change).await?;
    Ok(Json(view(&image)))
}

pub async fn delete(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<StatusCode> {
    images::delete(&deps, &call.cx, &call.caller, parse_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn add_tag(
    State(deps): State<Deps>,
    call: Call,
    Path((id, tag)): Path<(String, String)>,
) -> Reply<StatusCode> {
    images::update(&deps, &call.cx, &call.caller, parse_id(&id)?, |draft| draft.tag(&tag)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn remove_tag(
    State(deps): State<Deps>,
    call: Call,
    Path((id, tag)): Path<(String, String)>,
) -> Reply<StatusCode> {
    let change = |draft: &mut Draft| {
        let missing = || Error::new(hanse_core::Kind::NotFound, format!("Tag {tag} not found on image {id}"));
        draft.tags.remove(&tag).then_some(()).ok_or_else(missing)
    };
    images::update(&deps, &call.cx, &call.caller, parse_id(&id)?, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn deactivate(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<StatusCode> {
    images::deactivate(&deps, &call.cx, &call.caller, parse_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn reactivate(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<StatusCode> {
    images::reactivate(&deps, &call.cx, &call.caller, parse_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn list(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    let mut page = params.page(Direction::Descending)?;
    if !params.has("limit") {
        page = Page { limit: DEFAULT_LIMIT, ..page };
    }
    let keys = sort_keys(&params)?;
    let narrow = |select| filter(select, &params);
    let (found, more) = images::list(&deps, &call.caller, narrow, &keys, &page).await?;
    let query = |params: String| if params.is_empty() { String::new() } else { format!("?{params}") };
    let mut first = params.with_marker("");
    // `with_marker` ends with the marker, which the first page has none of.
    first.truncate(first.len() - "marker=".len());
    let first = first.trim_end_matches('&').to_owned();
    let mut body = json!({
        "images": found.iter().map(view).collect::<Vec<_>>(),
        "first": format!("/v2/images{}", query(first)),
        "schema": "/v2/schemas/images",
    });
    if let (true, Some(last)) = (more, found.last()) {
        body["next"] = format!("/v2/images?{}", params.with_marker(&last.id.to_string())).into();
    }
    Ok(Json(body))
}

fn sort_keys(params: &Params) -> Result<Vec<SortKey>> {
    let mut asked: Vec<(&str, Option<&str>)> = Vec::new();
    if let Some(sort) = params.get("sort") {
        asked.extend(
            sort.split(',')
                .map(|part| part.split_once(':').map_or((part, None), |(key, to)| (key, Some(to)))),
        );
    } else {
        let directions = params.all("sort_dir");
        let keys = params.all("sort_key");
        let keys = if keys.is_empty() { vec!["created_at"] } else { keys };
        // One direction is meant for all keys.
        let direction = |place: usize| directions.get(place).or(directions.first()).copied();
        asked.extend(keys.into_iter().enumerate().map(|(place, key)| (key, direction(place))));
    }
    asked
        .into_iter()
        .map(|(key, direction)| {
            let expression = match key.trim() {
                "created_at" => "created_at",
                "updated_at" => "updated_at",
                "id" => "id",
                "name" => "COALESCE(name, '')",
                "status" => "status",
                "size" => "COALESCE(size, 0)",
                "disk_format" => "COALESCE(disk_format, '')",
                "container_format" => "COALESCE(container_format, '')",
                _ => return Err(Error::bad_request(format!("Invalid sort key: {key}"))),
            };
            let direction = match direction.map(str::trim) {
                None | Some("desc") => Direction::Descending,
                Some("asc") => Direction::Ascending,
                Some(_) => return Err(Error::bad_request("Invalid sort direction: it must be asc or desc.")),
            };
            Ok(SortKey::new(expression, direction))
        })
        .collect()
}

fn filter(mut select: Select, params: &Params) -> Result<Select> {
    let mut hidden = false;
    for (name, value) in params.iter() {
        select = match name {
            "limit" | "marker" | "sort_key" | "sort_dir" | "sort" | "member_status" => select,
            "name" | "id" | "status" | "container_format" | "disk_format" => one_of(select, name, value),
            "owner" => select.eq("project_id", value),
            "checksum" => select.eq("checksum", value),
            "os_hash_value" => select.eq("hash", value),
            "visibility" if value == "all" => select,
            "visibility" if matches!(value, "shared" | "community") => select.and("1 = 0"),
            "visibility" => select.eq("visibility", Visibility::parse(value)?.as_str()),
            "protected" => select.eq("protected", Flag(truth(params, name)?)),
            "os_hidden" => {
                hidden = truth(params, name)?;
                select
            }
            "size_min" => select.compare("size", ">=", number(name, value)?),
            "size_max" => select.compare("size", "<=", number(name, value)?),
            "min_ram" | "min_disk" | "size" | "virtual_size" => select.eq(name, number(name, value)?),
            "tag" => select.and_with(
                "EXISTS (SELECT 1 FROM image_tags t WHERE t.image_id = images.id AND t.tag = ?)",
                [value],
            ),
            "created_at" | "updated_at" => when(select, name, value)?,
            property => select.and_with(
                "EXISTS (SELECT 1 FROM image_properties p
                         WHERE p.image_id = images.id AND p.name = ? AND p.value = ?)",
                [property, value],
            ),
        };
    }
    Ok(select.eq("hidden", Flag(hidden)))
}

/// `a`, or `in:a,b`.
fn one_of(select: Select, column: &str, value: &str) -> Select {
    match value.strip_prefix("in:") {
        Some(list) => select.any(column, list.split(',').map(|one| one.trim_matches('"'))),
        None => select.eq(column, value),
    }
}

/// `gte:2026-11-22T00:00:00Z`.
fn when(select: Select, column: &str, value: &str) -> Result<Select> {
    let (operator, time) = match value.split_once(':') {
        Some(("gt", time)) => (">", time),
        Some(("gte", time)) => (">=", time),
        Some(("lt", time)) => ("<", time),
        Some(("lte", time)) => ("<=", time),
        Some(("neq", time)) => ("<>", time),
        Some(("eq", time)) => ("=", time),
        _ => ("=", value),
    };
    // The API shows whole seconds, so it compares whole seconds.
    let seconds = format!("{column} / 1000000");
    Ok(select.compare(&seconds, operator, hanse_core::Timestamp::parse(time)?.seconds()))
}

fn truth(params: &Params, name: &str) -> Result<bool> {
    Ok(params.flag(name)?.unwrap_or(false))
}

fn number(name: &str, value: &str) -> Result<i64> {
    value.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
        Error::bad_request(format!("Invalid filter value {value} for {name}: a whole number expected."))
    })
}

/// An image as the API shows it.
pub fn view(image: &Image) -> Value {
    let draft = &image.draft;
    let mut view: Map<String, Value> =
        draft.properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut put = |name: &str, value: Value| view.insert(name.to_owned(), value);
    let path = format!("/v2/images/{}", image.id);
    put("id", image.id.to_string().into());
    put("name", draft.name.clone().into());
    put("status", image.status.as_str().into());
    put("visibility", draft.visibility.as_str().into());
    put("protected", draft.protected.into());
    put("os_hidden", draft.hidden.into());
    put("owner", image.project_id.clone().into());
    put("container_format", draft.container_format.clone().into());
    put("disk_format", draft.disk_format.map(hanse_node::documents::DiskFormat::as_str).into());
    put("min_disk", draft.min_disk.into());
    put("min_ram", draft.min_ram.into());
    put("size", image.size.into());
    put("virtual_size", image.virtual_size.into());
    put("checksum", image.checksum.clone().into());
    put("os_hash_algo", image.hash.as_ref().map(|_| "sha512").into());
    put("os_hash_value", image.hash.clone().into());
    put("created_at", image.created_at.iso_seconds().into());
    put("updated_at", image.updated_at.iso_seconds().into());
    put("tags", draft.tags.iter().cloned().collect::<Vec<_>>().into());
    put("self", path.clone().into());
    put("file", format!("{path}/file").into());
    put("schema", "/v2/schemas/image".into());
    Value::Object(view)
}
