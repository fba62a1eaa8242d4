//! Lists as Neutron's clients ask for them: filters by field, `fields`, `sort_key`, `sort_dir`, `limit`, `marker`,
//! `page_reverse`.

use hanse_core::{Direction, Result};
use hanse_web::Params;
use serde_json::{Map, Value};

use crate::error::{invalid, named};

/// How a field is stored and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    /// Text or NULL; an empty filter finds NULL.
    MaybeText,
    Number,
    Flag,
}

/// A field of an API object that is a column: what can be filtered and sorted by.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// A column, or a condition with `{}` where the list of the wanted values stands.
    pub column: &'static str,
    pub kind: FieldKind,
}

pub const fn text(name: &'static str, column: &'static str) -> Field {
    Field { name, column, kind: FieldKind::Text }
}

pub const fn maybe(name: &'static str, column: &'static str) -> Field {
    Field { name, column, kind: FieldKind::MaybeText }
}

pub const fn number(name: &'static str, column: &'static str) -> Field {
    Field { name, column, kind: FieldKind::Number }
}

pub const fn flag(name: &'static str, column: &'static str) -> Field {
    Field { name, column, kind: FieldKind::Flag }
}

/// A table as lists see it.
pub struct Table {
    pub name: &'static str,
    pub fields: &'static [Field],
    /// What a project may see of it; `{project}` stands for the id of that project.
    pub visible: &'static str,
}

/// One filter: the field is one of these values.
#[derive(Clone, Debug)]
pub struct Filter {
    pub field: Field,
    pub values: Vec<hanse_store::Value>,
}

/// A list that a client asks for.
#[derive(Clone, Debug)]
pub struct Listing {
    pub filters: Vec<Filter>,
    pub sort: Vec<(Field, Direction)>,
    pub limit: u32,
    pub marker: Option<String>,
    /// The page before the marker rather than the one after it.
    pub reverse: bool,
}

/// What a list found.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub rows: Vec<T>,
    /// There is more in the direction that was read.
    pub more: bool,
}

const CONTROLS: [&str; 6] = ["fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"];

/// The most filters and sort keys that one list takes.
const MOST: usize = 300;

impl Listing {
    /// # Errors
    /// 400 for a filter that is no field, or a value that is none of it.
    pub fn parse(table: &Table, params: &Params) -> Result<Listing> {
        if params.iter().count() > MOST {
            return Err(invalid(format!("The query has more than {MOST} parameters.")));
        }
        let page = params.page(Direction::Ascending)?;
        let mut filters: Vec<Filter> = Vec::new();
        for (key, value) in params.iter().filter(|(key, _)| !CONTROLS.contains(key)) {
            let (key, value) = split_fixed_ips(key, value)?;
            let field = find(table, key).ok_or_else(|| unknown(key, "filtering"))?;
            let value = parse_value(field, value)?;
            match filters.iter_mut().find(|filter| filter.field.name == field.name) {
                Some(filter) => filter.values.push(value),
                None => filters.push(Filter { field, values: vec![value] }),
            }
        }
        let (keys, directions) = (params.all("sort_key"), params.all("sort_dir"));
        if !directions.is_empty() && directions.len() != keys.len() {
            return Err(invalid("The number of sort_keys and sort_dirs must be same"));
        }
        let mut sort = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let field = find(table, key)
                .filter(|field| !field.column.contains("{}"))
                .ok_or_else(|| unknown(key, "sorting"))?;
            let direction = match directions.get(place).copied().unwrap_or("asc") {
                "asc" => Direction::Ascending,
                "desc" => Direction::Descending,
                other => return Err(invalid(format!("sort_dir must be asc or desc, not '{other}'"))),
            };
            sort.push((field, direction));
        }
        if sort.is_empty() {
            sort.push((number("created_at", "created_at"), Direction::Ascending));
        }
        let reverse = params.flag("page_reverse")?.unwrap_or(false);
        Ok(Listing { filters, sort, limit: page.limit, marker: page.marker, reverse })
    }
}

/// `fixed_ips=ip_address=10.0.0.5` is the one filter that names a part of a field.
fn split_fixed_ips<'p>(key: &'p str, value: &'p str) -> Result<(&'p str, &'p str)> {
    if key != "fixed_ips" {
        return Ok((key, value));
    }
    match value.split_once('=') {
        Some(("ip_address", address)) => Ok(("ip_address", address)),
        Some(("subnet_id", subnet)) => Ok(("subnet_id", subnet)),
        _ => Err(invalid(format!("'{value}' is no filter for fixed_ips: write ip_address=… or subnet_id=…"))),
    }
}

fn find(table: &Table, name: &str) -> Option<Field> {
    let name = if name == "tenant_id" { "project_id" } else { name };
    table.fields.iter().find(|field| field.name == name).copied()
}

fn unknown(name: &str, what: &str) -> hanse_core::Error {
    let name: String = name.chars().take(64).collect();
    named(
        hanse_core::Kind::BadRequest,
        "HTTPBadRequest",
        format!("['{name}'] is invalid attribute for {what}"),
    )
}

fn parse_value(field: Field, value: &str) -> Result<hanse_store::Value> {
    match field.kind {
        FieldKind::Text | FieldKind::MaybeText => Ok(value.into()),
        FieldKind::Number => {
            value.parse::<i64>().map(Into::into).map_err(|_| invalid(format!("'{value}' is not an integer")))
        }
        FieldKind::Flag => match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" | "yes" => Ok(true.into()),
            "false" | "0" | "f" | "no" => Ok(false.into()),
            _ => Err(invalid(format!("'{value}' cannot be converted to boolean"))),
        },
    }
}

/// Keeps what `fields` asks for, if it does.
pub fn select(object: Value, params: &Params) -> Value {
    let wanted = params.all("fields");
    if wanted.iter().all(|name| name.is_empty()) {
        return object;
    }
    match object {
        Value::Object(object) => {
            Value::Object(object.into_iter().filter(|(key, _)| wanted.contains(&key.as_str())).collect())
        }
        other => other,
    }
}

/// The body of a list: the objects and, where there are more, the links to them.
pub fn body<T>(
    base: &str,
    collection: &str,
    params: &Params,
    found: &Found<T>,
    view: impl Fn(&T) -> Value,
    id: impl Fn(&T) -> String,
) -> Value {
    let reverse = params.flag("page_reverse").ok().flatten().unwrap_or(false);
    let mut links = Vec::new();
    let mut link = |rel: &str, row: Option<&T>| {
        if let Some(row) = row {
            let query = without_reverse(params).with_marker(&id(row));
            let back = if rel == "previous" { "&page_reverse=True" } else { "" };
            links.push(serde_json::json!({"rel": rel, "href": format!("{base}/{collection}?{query}{back}")}));
        }
    };
    if found.more || (reverse && params.has("marker")) {
        link("next", found.rows.last().filter(|_| !reverse || params.has("marker")));
    }
    if if reverse { found.more } else { params.get("marker").is_some_and(|marker| !marker.is_empty()) } {
        link("previous", found.rows.first());
    }
    let rows = found.rows.iter().map(|row| select(view(row), params)).collect();
    let collection = collection.replace('-', "_");
    let mut body = Map::new();
    if !links.is_empty() {
        body.insert(format!("{collection}_links"), links.into());
    }
    body.insert(collection, Value::Array(rows));
    Value::Object(body)
}

fn without_reverse(params: &Params) -> Params {
    let kept: Vec<String> = params
        .iter()
        .filter(|(key, _)| *key != "page_reverse")
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect();
    Params::parse(&kept.join("&"))
}

/// Enough to survive [`Params::parse`] unchanged.
fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        name: "things",
        fields: &[
            text("name", "name"),
            text("project_id", "project_id"),
            flag("shared", "shared"),
            number("mtu", "mtu"),
        ],
        visible: "project_id = {project}",
    };

    #[test]
    fn a_query_becomes_filters_and_nonsense_is_refused() {
        let parse = |query: &str| Listing::parse(&TABLE, &Params::parse(query));
        let listing =
            parse("name=a&name=b&tenant_id=p&shared=True&sort_key=name&sort_dir=desc&limit=5").unwrap();
        assert_eq!(listing.filters.len(), 3);
        assert_eq!(listing.filters[0].values.len(), 2);
        assert_eq!((listing.limit, listing.sort.len()), (5, 1));
        for wrong in [
            "nmae=a",
            "shared=maybe",
            "mtu=big",
            "limit=-1",
            "sort_key=colour",
            "sort_key=name&sort_dir=up",
            "sort_dir=asc",
            "fixed_ips=10.0.0.1",
        ] {
            assert_eq!(parse(wrong).unwrap_err().kind(), hanse_core::Kind::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn links_lead_on_and_back() {
        let params = Params::parse("limit=1&marker=a&name=x y");
        let found = Found { rows: vec!["b"], more: true };
        let body =
            body("http://c/network/v2.0", "things", &params, &found, |_| Value::Null, |row| row.to_string());
        let links = body["things_links"].as_array().unwrap();
        assert_eq!(links[0]["href"], "http://c/network/v2.0/things?limit=1&name=x%20y&marker=b");
        assert_eq!(links[1]["rel"], "previous");
        assert!(links[1]["href"].as_str().unwrap().ends_with("marker=b&page_reverse=True"));
    }
}
