//! Lists: filters and keyset pages, composed without string formatting of anything a client sent.

use hanse_core::{Direction, Error, Page, Result};
use hanse_policy::Scope;

use crate::column::Value;
use crate::db::Conn;
use crate::query::{FromRow, Query, query};

/// A `SELECT` under construction.
#[must_use]
pub struct Select {
    pub(crate) table: &'static str,
    columns: String,
    pub(crate) values: Vec<Value>,
    pub(crate) conditions: Vec<String>,
}

impl Select {
    /// `columns` and `table` are ours, never a client's.
    pub fn from(table: &'static str, columns: &str) -> Select {
        Select { table, columns: columns.to_owned(), values: Vec::new(), conditions: Vec::new() }
    }

    /// `column = value`
    pub fn eq(self, column: &str, value: impl Into<Value>) -> Select {
        self.compare(column, "=", value)
    }

    /// `column = value` if there is a value to compare with.
    pub fn eq_some<V: Into<Value>>(self, column: &str, value: Option<V>) -> Select {
        match value {
            Some(value) => self.eq(column, value),
            None => self,
        }
    }

    /// Any comparison that both engines know: `<>`, `<`, `>=`, `LIKE`, …
    pub fn compare(mut self, column: &str, operator: &str, value: impl Into<Value>) -> Select {
        self.values.push(value.into());
        self.conditions.push(format!("{column} {operator} ${}", self.values.len()));
        self
    }

    /// A condition without parameters.
    pub fn and(mut self, condition: &str) -> Select {
        self.conditions.push(condition.to_owned());
        self
    }

    /// A condition of our own text in which each `?` stands for the next of `values`.
    pub fn and_with<V: Into<Value>>(
        mut self,
        condition: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Select {
        let mut parts = condition.split('?');
        let mut text = format!("({}", parts.next().unwrap_or_default());
        for (part, value) in parts.zip(values) {
            self.values.push(value.into());
            text.push_str(&format!("${}{part}", self.values.len()));
        }
        text.push(')');
        self.conditions.push(text);
        self
    }

    /// `column IN (values)`; nothing matches an empty list.
    pub fn any<V: Into<Value>>(mut self, column: &str, values: impl IntoIterator<Item = V>) -> Select {
        let from = self.values.len();
        self.values.extend(values.into_iter().map(Into::into));
        self.conditions.push(in_list(column, from + 1, self.values.len() - from));
        self
    }

    /// What the caller may see, for tables with the column `project_id`.
    pub fn scope(self, scope: &Scope) -> Select {
        match scope {
            Scope::All => self,
            Scope::Project(id) => self.eq("project_id", id),
            // A domain or a user owns no row of a table that belongs to projects.
            Scope::Domain(_) | Scope::User(_) => self.and("1 = 0"),
        }
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn exists(mut self, conn: &mut Conn) -> Result<bool> {
        self.columns = "CAST(1 AS BIGINT)".to_owned();
        Ok(self.finish(" LIMIT 1").optional::<(Option<i64>,)>(conn).await?.is_some())
    }

    /// # Errors
    /// If the database or the row type fails.
    pub async fn optional<T: FromRow>(self, conn: &mut Conn) -> Result<Option<T>> {
        self.finish("").optional(conn).await
    }

    /// All rows, in the order (created_at, id), oldest first. For lists that are short by nature.
    ///
    /// # Errors
    /// If the database or the row type fails.
    pub async fn all<T: FromRow>(self, conn: &mut Conn) -> Result<Vec<T>> {
        self.finish(" ORDER BY created_at, id").all(conn).await
    }

    /// All rows, in no order, also of a table without `created_at`.
    ///
    /// # Errors
    /// If the database or the row type fails.
    pub async fn unordered<T: FromRow>(self, conn: &mut Conn) -> Result<Vec<T>> {
        self.finish("").all(conn).await
    }

    /// One page in the order (created_at, id), and whether more follows.
    ///
    /// # Errors
    /// 400 if the marker names nothing in this list.
    pub async fn page<T: FromRow>(mut self, conn: &mut Conn, page: &Page) -> Result<(Vec<T>, bool)> {
        let (operator, order) = match page.direction {
            Direction::Ascending => (">", "created_at, id"),
            Direction::Descending => ("<", "created_at DESC, id DESC"),
        };
        if let Some(marker) = &page.marker {
            let (created_at,): (i64,) = self
                .created_at(marker)
                .optional(conn)
                .await?
                .ok_or_else(|| Error::bad_request(format!("marker [{marker}] not found")))?;
            self.values.push(created_at.into());
            self.values.push(marker.into());
            let last = self.values.len();
            self.conditions.push(format!("(created_at, id) {operator} (${}, ${last})", last - 1));
        }
        let limit = page.limit as usize;
        let mut rows: Vec<T> =
            self.finish(&format!(" ORDER BY {order} LIMIT {}", limit + 1)).all(conn).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }

    /// The time of the row that a marker names, under the same conditions as the list.
    pub(crate) fn created_at(&self, marker: &str) -> Query {
        let mut values = self.values.clone();
        values.push(marker.into());
        let mut conditions = self.conditions.clone();
        conditions.push(format!("id = ${}", values.len()));
        bind_all(format!("SELECT created_at FROM {}{}", self.table, clause(&conditions)), values)
    }

    pub(crate) fn finish(self, tail: &str) -> Query {
        let sql = format!("SELECT {} FROM {}{}{tail}", self.columns, self.table, clause(&self.conditions));
        bind_all(sql, self.values)
    }
}

fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

fn bind_all(sql: String, values: Vec<Value>) -> Query {
    values.into_iter().fold(query(sql), Query::bind)
}

/// `column IN ($from, …)` for `count` parameters that are bound in that order; nothing matches an empty list.
pub fn in_list(column: &str, from: usize, count: usize) -> String {
    if count == 0 {
        return "1 = 0".to_owned();
    }
    let places: Vec<String> = (from..from + count).map(|place| format!("${place}")).collect();
    format!("{column} IN ({})", places.join(", "))
}
