//! Filters of lists, with Keystone's inexact comparators: `name__icontains=web`.

use hanse_core::{Error, Result, Timestamp};
use hanse_store::Select;
use hanse_web::Params;

/// Narrows a list by columns of text. An empty value stands for NULL or '': Keystone writes `?parent_region_id=`.
pub(crate) fn by_text(mut select: Select, params: &Params, columns: &[&'static str]) -> Select {
    for column in columns {
        if let Some(value) = params.get(column) {
            select = match value {
                "" => select.and(&format!("COALESCE({column}, '') = ''")),
                value => select.eq(column, value),
            };
        }
        for (key, value) in params.iter() {
            if let Some(how) = key.strip_prefix(column).and_then(|rest| rest.strip_prefix("__")) {
                select = compare(select, column, how, value);
            }
        }
    }
    select
}

/// Narrows a list by a truth value.
pub(crate) fn by_flag(select: Select, params: &Params, column: &'static str) -> Result<Select> {
    Ok(select.eq_some(column, params.flag(column)?))
}

/// Narrows a list by a time, as in `password_expires_at=lt:2026-12-08T22:02:00Z`, or `eq` if only a time is given.
///
/// # Errors
/// 400 if that is no time, or the comparison none of lt, lte, gt, gte, eq and neq.
pub(crate) fn by_time(mut select: Select, params: &Params, column: &'static str) -> Result<Select> {
    for (_, value) in params.iter().filter(|(key, _)| *key == column) {
        let (how, time) = match value.split_once(':') {
            Some((how, time)) if how.starts_with(|first: char| first.is_ascii_alphabetic()) => (how, time),
            _ => ("eq", value),
        };
        let operator = match how {
            "lt" => "<",
            "lte" => "<=",
            "gt" => ">",
            "gte" => ">=",
            "eq" => "=",
            "neq" => "<>",
            _ => {
                return Err(Error::bad_request(format!(
                    "{column}: {how} is none of lt, lte, gt, gte, eq and neq"
                )));
            }
        };
        select = select.compare(column, operator, Timestamp::parse(time)?);
    }
    Ok(select)
}

/// An unknown comparator compares nothing, as in Keystone. `LIKE` would treat case differently on the two engines.
fn compare(select: Select, column: &str, how: &str, value: &str) -> Select {
    let (how, text, value) = match how.strip_prefix('i') {
        Some(rest) => (rest, format!("lower({column})"), value.to_lowercase()),
        None => (how, column.to_owned(), value.to_owned()),
    };
    if value.is_empty() {
        return select;
    }
    let condition = match how {
        "contains" => format!("replace({text}, ?, '') <> {text}"),
        "startswith" => format!("substr({text}, 1, length(?)) = ?"),
        "endswith" => format!("substr({text}, length({text}) - length(?) + 1) = ?"),
        _ => return select,
    };
    select.and_with(&condition, [value.as_str(), value.as_str()])
}
