//! What a list of volumes can be asked for.

use hanse_core::{Direction, Error, Page, Result};
use hanse_store::SortKey;
use hanse_web::{Call, Params};

use crate::model::Metadata;
use crate::volumes::Filter;

/// What is not known here is ignored, as Cinder ignores filters that it does not allow.
pub(crate) fn filter(params: &Params, call: &Call) -> Result<Filter> {
    let text = |key: &str| params.get(key).map(str::to_owned);
    let all_projects = call.caller.is_admin() && params.flag("all_tenants")?.unwrap_or(false);
    Ok(Filter {
        all_projects,
        project_id: text("project_id").or_else(|| text("tenant_id")).filter(|_| all_projects),
        user_id: text("user_id"),
        id: text("id"),
        name: text("name").or_else(|| text("display_name")),
        status: text("status"),
        availability_zone: text("availability_zone"),
        bootable: params.flag("bootable")?,
        metadata: params.get("metadata").map(entries).transpose()?.unwrap_or_default(),
    })
}

/// `{'key': 'value'}`: Python's spelling of a dictionary, or JSON's.
fn entries(text: &str) -> Result<Metadata> {
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&text.replace('\'', "\"")))
        .map_err(|_| Error::bad_request("metadata must be a dictionary of texts"))
}

pub(crate) fn page(params: &Params) -> Result<Page> {
    match params.get("offset") {
        None | Some("0") => params.page(Direction::Descending),
        Some(_) => Err(Error::not_implemented("Lists are paged by marker here, not by offset.")),
    }
}

/// `sort=key:direction,…`, or `sort_key` and `sort_dir`; newest first without them.
pub(crate) fn sort(params: &Params) -> Result<Vec<SortKey>> {
    let pairs: Vec<(&str, &str)> = match (params.get("sort"), params.get("sort_key")) {
        (Some(sort), _) => {
            sort.split(',').map(|part| part.split_once(':').unwrap_or((part, "desc"))).collect()
        }
        (None, Some(key)) => vec![(key, params.get("sort_dir").unwrap_or("desc"))],
        (None, None) => vec![("created_at", params.get("sort_dir").unwrap_or("desc"))],
    };
    pairs.into_iter().map(|(key, direction)| sort_key(key.trim(), direction.trim())).collect()
}

fn sort_key(key: &str, direction: &str) -> Result<SortKey> {
    let direction = match direction {
        "asc" => Direction::Ascending,
        "desc" => Direction::Descending,
        other => {
            return Err(Error::bad_request(format!(
                "The sort direction must be asc or desc, not '{other}'."
            )));
        }
    };
    let expression = match key {
        "id" => "id",
        "name" | "display_name" => "COALESCE(name, '')",
        "status" => "state",
        "size" => "size",
        "availability_zone" => "availability_zone",
        "bootable" => "bootable",
        "created_at" => "created_at",
        "updated_at" => "COALESCE(updated_at, 0)",
        other => return Err(Error::bad_request(format!("Sort key '{other}' is invalid."))),
    };
    Ok(SortKey::new(expression, direction))
}
