//! Runs a [`Listing`]: filters, scope, and keyset pages by any sort keys.

use hanse_core::{Direction, Error, Result};
use hanse_policy::Scope;
use hanse_store::{Conn, FromRow, Query, Row, Value, in_list, query};

use crate::listing::{Field, FieldKind, Filter, Found, Listing, Table};

/// Conditions with their parameters.
#[derive(Default)]
struct Clauses {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Clauses {
    fn place(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }

    fn scope(&mut self, table: &Table, scope: &Scope) {
        match scope {
            Scope::All => {}
            Scope::Project(id) => {
                let place = self.place(id.into());
                self.conditions.push(table.visible.replace("{project}", &format!("${place}")));
            }
            // A domain or a user owns nothing here.
            Scope::Domain(_) | Scope::User(_) => self.conditions.push("1 = 0".to_owned()),
        }
    }

    fn filter(&mut self, filter: &Filter) {
        let from = self.values.len() + 1;
        self.values.extend(filter.values.iter().cloned());
        self.conditions.push(match filter.field.column.split_once("{}") {
            Some((before, after)) => {
                let places: Vec<String> =
                    (from..=self.values.len()).map(|place| format!("${place}")).collect();
                format!("{before}{}{after}", places.join(", "))
            }
            None => in_list(&expression(filter.field), from, filter.values.len()),
        });
    }

    fn finish(self, sql: impl FnOnce(&str) -> String) -> Query {
        let clause = match self.conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", self.conditions.join(" AND ")),
        };
        self.values.into_iter().fold(query(sql(&clause)), Query::bind)
    }
}

/// The column, never NULL.
fn expression(field: Field) -> String {
    match field.kind {
        FieldKind::MaybeText => format!("COALESCE({}, '')", field.column),
        FieldKind::Text | FieldKind::Flag => field.column.to_owned(),
        FieldKind::Number => format!("COALESCE({}, -1)", field.column),
    }
}

/// The sort keys of one row, as they are compared with.
struct Keys(Vec<Value>);

/// No list is sorted by more keys; [`Keys`] are read as columns k0, k1, …
const KEYS: usize = 10;

impl FromRow for Keys {
    fn from_row(row: &Row) -> Result<Keys> {
        let mut keys = Vec::new();
        for place in 0..KEYS {
            let column = format!("k{place}");
            match (row.get::<i64>(&column), row.get::<String>(&column)) {
                (Ok(number), _) => keys.push(number.into()),
                (_, Ok(text)) => keys.push(text.into()),
                _ => break,
            }
        }
        Ok(Keys(keys))
    }
}

/// One page of a table.
///
/// # Errors
/// 400 if the marker names nothing that the caller sees.
pub async fn page<T: FromRow>(
    conn: &mut Conn,
    table: &Table,
    scope: &Scope,
    listing: &Listing,
) -> Result<Found<T>> {
    // The id makes every order a total one.
    let last = listing.sort.last().map_or(Direction::Ascending, |(_, direction)| *direction);
    let mut order: Vec<(String, bool)> = listing
        .sort
        .iter()
        .take(KEYS - 1)
        .map(|(field, direction)| (expression(*field), *direction == Direction::Ascending))
        .collect();
    order.push(("id".to_owned(), last == Direction::Ascending));
    if listing.reverse {
        order.iter_mut().for_each(|(_, ascending)| *ascending = !*ascending);
    }

    let mut clauses = Clauses::default();
    clauses.scope(table, scope);
    for filter in &listing.filters {
        clauses.filter(filter);
    }
    if let Some(marker) = &listing.marker {
        let keys = marker_keys(conn, table, scope, &order, marker).await?;
        clauses.conditions.push(after(&mut clauses.values, &order, keys));
    }
    let sorted: Vec<String> = order
        .iter()
        .map(|(column, ascending)| format!("{column} {}", if *ascending { "ASC" } else { "DESC" }))
        .collect();
    let limit = listing.limit as usize;
    let tail = format!(" ORDER BY {} LIMIT {}", sorted.join(", "), limit + 1);
    let mut rows: Vec<T> =
        clauses.finish(|clause| format!("SELECT * FROM {}{clause}{tail}", table.name)).all(conn).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    if listing.reverse {
        rows.reverse();
    }
    Ok(Found { rows, more })
}

/// The sort keys of the row that a marker names.
async fn marker_keys(
    conn: &mut Conn,
    table: &Table,
    scope: &Scope,
    order: &[(String, bool)],
    marker: &str,
) -> Result<Vec<Value>> {
    let mut clauses = Clauses::default();
    clauses.scope(table, scope);
    let place = clauses.place(marker.into());
    clauses.conditions.push(format!("id = ${place}"));
    let columns: Vec<String> =
        order.iter().enumerate().map(|(place, (column, _))| format!("{column} AS k{place}")).collect();
    let found: Option<Keys> = clauses
        .finish(|clause| format!("SELECT {} FROM {}{clause}", columns.join(", "), table.name))
        .optional(conn)
        .await?;
    found.map(|keys| keys.0).ok_or_else(|| {
        let marker: String = marker.chars().take(64).collect();
        Error::bad_request(format!("marker [{marker}] not found")).named("InvalidInput")
    })
}

/// What comes behind these keys: `a > x OR (a = x AND (b > y OR …))`.
fn after(values: &mut Vec<Value>, order: &[(String, bool)], keys: Vec<Value>) -> String {
    let mut condition = "1 = 0".to_owned();
    for ((column, ascending), key) in order.iter().zip(keys).rev() {
        values.push(key);
        let place = values.len();
        let operator = if *ascending { ">" } else { "<" };
        condition = format!("({column} {operator} ${place} OR ({column} = ${place} AND {condition}))");
    }
    condition
}

/// One object, if the caller may see it.
///
/// # Errors
/// If the database fails.
pub async fn show<T: FromRow>(
    conn: &mut Conn,
    table: &Table,
    scope: &Scope,
    id: hanse_core::Uuid,
) -> Result<Option<T>> {
    let mut clauses = Clauses::default();
    clauses.scope(table, scope);
    let place = clauses.place(id.into());
    clauses.conditions.push(format!("id = ${place}"));
    clauses.finish(|clause| format!("SELECT * FROM {}{clause}", table.name)).optional(conn).await
}
