//! Filters and orders of server lists.

use hanse_core::{Cx, Direction, Error, Result, Timestamp, Uuid};
use hanse_policy::{Caller, Scope};
use hanse_store::{Select, SortKey};
use hanse_web::Params;

use crate::Deps;
use crate::model::State;
use crate::verbs;

/// What the list is about: one's own project, or all of them if an admin asks for that.
pub fn scope(caller: &Caller, params: &Params) -> Result<Scope> {
    if params.flag("all_tenants")? == Some(true) {
        caller.scope(verbs::LIST_ALL)
    } else {
        caller.own_scope(verbs::LIST)
    }
}

/// Servers with a certain address: the network service knows them.
pub async fn at_address(deps: &Deps, cx: &Cx, scope: &Scope, params: &Params) -> Result<Option<Vec<Uuid>>> {
    let project = match scope {
        Scope::Project(id) => Some(id.as_str()),
        _ => None,
    };
    let Some(pattern) = params.get("ip").or(params.get("ip6")) else { return Ok(None) };
    // A regular expression to Nova; what addresses are made of needs none of it.
    let text: String = pattern.chars().filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':')).collect();
    Ok(Some(deps.networks.servers_at(cx, project, &text).await?))
}

pub fn apply(mut select: Select, params: &Params, admin: bool) -> Result<Select> {
    let statuses = params.all("status");
    if !statuses.is_empty() {
        let fits = |state: &State| statuses.iter().any(|status| status.eq_ignore_ascii_case(state.status()));
        select = select.any("state", State::EACH.into_iter().filter(fits).map(State::as_str));
    }
    for (name, value) in params.iter() {
        select = match name {
            "name" => by_name(select, value),
            "image" => select.eq("image_id", last_segment(value)),
            "flavor" => select.eq("flavor_id", last_segment(value)),
            "uuid" => select.eq("id", value),
            "reservation_id" => select.eq("reservation_id", value),
            "key_name" => select.eq("key_name", value),
            "user_id" => select.eq("user_id", value),
            "vm_state" => select.any(
                "state",
                State::EACH.into_iter().filter(|state| state.vm_state() == value).map(State::as_str),
            ),
            "changes-since" => select.compare("updated_at", ">=", Timestamp::parse(value)?),
            "host" | "node" if admin => select.eq("node", value),
            "project_id" | "tenant_id" if admin => select.eq("project_id", value),
            // What is deleted is gone.
            "deleted" if admin && params.flag("deleted")? == Some(true) => select.and("1 = 0"),
            _ => select,
        };
    }
    Ok(select)
}

/// Nova also takes an object's address.
fn last_segment(value: &str) -> &str {
    value.rsplit('/').next().unwrap_or(value)
}

/// A regular expression to Nova. Here: a part of the name, with `^`, `$` and `.*` as everywhere, letters of either case.
fn by_name(select: Select, pattern: &str) -> Select {
    let (start, rest) = pattern.strip_prefix('^').map_or(("%", pattern), |rest| ("", rest));
    let (rest, end) = rest.strip_suffix('$').map_or((rest, "%"), |rest| (rest, ""));
    let mut like = start.to_owned();
    let mut chars = rest.to_lowercase().chars().collect::<Vec<_>>().into_iter().peekable();
    while let Some(c) = chars.next() {
        match c {
            '.' if chars.peek() == Some(&'*') => {
                chars.next();
                like.push('%');
            }
            // `\.` is a dot.
            '\\' => like.push_str(&chars.next().map(escape).unwrap_or_default()),
            c => like.push_str(&escape(c)),
        }
    }
    like.push_str(end);
    select.and_with("LOWER(name) LIKE ? ESCAPE '!'", [like])
}

fn escape(c: char) -> String {
    if matches!(c, '%' | '_' | '!') { format!("!{c}") } else { c.to_string() }
}

pub fn sort_keys(params: &Params) -> Result<Vec<SortKey>> {
    let (keys, directions) = (params.all("sort_key"), params.all("sort_dir"));
    if keys.is_empty() {
        let direction = direction(directions.first().copied().unwrap_or("desc"))?;
        return Ok(vec![SortKey::new("created_at", direction)]);
    }
    keys.iter()
        .enumerate()
        .map(|(place, key)| {
            let expression = match *key {
                "created_at" => "created_at",
                "updated_at" => "updated_at",
                "uuid" => "id",
                "display_name" => "name",
                "vm_state" | "task_state" | "power_state" => "state",
                "host" | "node" => "COALESCE(node, '')",
                "instance_type_id" => "flavor_id",
                "image_ref" => "image_id",
                "key_name" => "COALESCE(key_name, '')",
                "launched_at" => "COALESCE(launched_at, 0)",
                "project_id" => "project_id",
                "user_id" => "user_id",
                other => return Err(Error::bad_request(format!("Invalid sort key: {other}"))),
            };
            let text = directions.get(place).or(directions.first()).copied().unwrap_or("desc");
            Ok(SortKey::new(expression, direction(text)?))
        })
        .collect()
}

fn direction(text: &str) -> Result<Direction> {
    match text {
        "asc" => Ok(Direction::Ascending),
        "desc" => Ok(Direction::Descending),
        _ => Err(Error::bad_request("Unknown sort direction, must be one of: asc, desc")),
    }
}
