//! A statement with its parameters, and the rows that come back.

use hanse_core::{Error, Result};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column as _, Row as _, ValueRef as _};

use crate::coalesced::within;
use crate::column::{FromColumn, Value};
use crate::db::Conn;

/// A statement under construction. The text is ours; whatever comes from a client is bound.
#[must_use]
#[derive(Clone, Debug)]
pub struct Query {
    sql: String,
    values: Vec<Value>,
}

/// Starts a statement; parameters are written `$1`, `$2`, … and bound in that order.
pub fn query(sql: impl Into<String>) -> Query {
    Query { sql: sql.into(), values: Vec::new() }
}

/// One row of a result.
pub struct Row(AnyRow);

impl Row {
    /// # Errors
    /// An internal error if there is no such column or it holds something else.
    pub fn get<T: FromColumn>(&self, column: &str) -> Result<T> {
        let index = self
            .0
            .columns()
            .iter()
            .position(|known| known.name() == column)
            .ok_or_else(|| Error::internal(format!("the result has no column {column}")))?;
        self.at(index).map_err(|error| Error::internal(format!("column {column}: {error}")))
    }

    fn at<T: FromColumn>(&self, index: usize) -> Result<T> {
        let raw = self.0.try_get_raw(index).map_err(database)?;
        let value = if raw.is_null() {
            Value::Text(None)
        } else {
            match raw.type_info().kind() {
                AnyTypeInfoKind::Text => Value::Text(Some(self.0.try_get(index).map_err(database)?)),
                AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
                    Value::Int(Some(self.0.try_get(index).map_err(database)?))
                }
                AnyTypeInfoKind::Real | AnyTypeInfoKind::Double => {
                    Value::Float(Some(self.0.try_get(index).map_err(database)?))
                }
                AnyTypeInfoKind::Blob => Value::Bytes(Some(self.0.try_get(index).map_err(database)?)),
                other => return Err(Error::internal(format!("a column of the foreign type {other:?}"))),
            }
        };
        T::from_column(value)
    }
}

/// What a row can become.
pub trait FromRow: Sized {
    /// # Errors
    /// An internal error if the row does not fit.
    fn from_row(row: &Row) -> Result<Self>;
}

/// A result of one column.
impl<T: FromColumn> FromRow for (T,) {
    fn from_row(row: &Row) -> Result<(T,)> {
        Ok((row.at(0)?,))
    }
}

impl<A: FromColumn, B: FromColumn> FromRow for (A, B) {
    fn from_row(row: &Row) -> Result<(A, B)> {
        Ok((row.at(0)?, row.at(1)?))
    }
}

impl<A: FromColumn, B: FromColumn, C: FromColumn> FromRow for (A, B, C) {
    fn from_row(row: &Row) -> Result<(A, B, C)> {
        Ok((row.at(0)?, row.at(1)?, row.at(2)?))
    }
}

impl<A: FromColumn, B: FromColumn, C: FromColumn, D: FromColumn> FromRow for (A, B, C, D) {
    fn from_row(row: &Row) -> Result<(A, B, C, D)> {
        Ok((row.at(0)?, row.at(1)?, row.at(2)?, row.at(3)?))
    }
}

impl Query {
    pub fn bind(mut self, value: impl Into<Value>) -> Query {
        self.values.push(value.into());
        self
    }

    /// Runs the statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// 409 if a unique index refuses it; name the conflict at the call with [`Query::execute_unique`].
    pub async fn execute(self, conn: &mut Conn) -> Result<u64> {
        self.run(conn).await?.map_err(database)
    }

    /// The same, where a violated unique index means `conflict` (a public message).
    ///
    /// # Errors
    /// 409 with that message.
    pub async fn execute_unique(self, conn: &mut Conn, conflict: &str) -> Result<u64> {
        self.run(conn).await?.map_err(|error| match error.as_database_error() {
            Some(known) if known.is_unique_violation() => Error::conflict(conflict).because(error),
            _ => database(error),
        })
    }

    async fn run(self, conn: &mut Conn) -> Result<Result<u64, sqlx::Error>> {
        let limit = conn.limit();
        let done = async { Ok(prepare(&self.sql, self.values)?.execute(conn.raw()).await) };
        Ok(within(limit, done).await?.map(|done| done.rows_affected()))
    }

    /// # Errors
    /// An internal error if the database or the row type fails.
    pub async fn all<T: FromRow>(self, conn: &mut Conn) -> Result<Vec<T>> {
        let limit = conn.limit();
        let rows = async { prepare(&self.sql, self.values)?.fetch_all(conn.raw()).await.map_err(database) };
        let rows = within(limit, rows).await?;
        rows.into_iter().map(|row| T::from_row(&Row(row))).collect()
    }

    /// # Errors
    /// An internal error if the database or the row type fails.
    pub async fn optional<T: FromRow>(self, conn: &mut Conn) -> Result<Option<T>> {
        let limit = conn.limit();
        let row =
            async { prepare(&self.sql, self.values)?.fetch_optional(conn.raw()).await.map_err(database) };
        let row = within(limit, row).await?;
        row.map(|row| T::from_row(&Row(row))).transpose()
    }

    /// # Errors
    /// An internal error also if there is no row.
    pub async fn one<T: FromRow>(self, conn: &mut Conn) -> Result<T> {
        self.optional(conn).await?.ok_or_else(|| Error::internal("a statement gave no row"))
    }
}

type Prepared<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// # Errors
/// 400 for a NUL in a text: PostgreSQL takes none, and what has one comes from outside.
fn prepare(sql: &str, values: Vec<Value>) -> Result<Prepared<'_>> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in values {
        query = match value {
            Value::Text(Some(text)) if text.contains('\0') => {
                return Err(Error::bad_request("A text must not contain a NUL character."));
            }
            Value::Text(value) => query.bind(value),
            Value::Int(value) => query.bind(value),
            Value::Float(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        };
    }
    Ok(query)
}

/// What a failure of the database is to us.
pub(crate) fn database(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => {
            Error::conflict("The object exists already.").because(error)
        }
        sqlx::Error::PoolTimedOut => {
            Error::unavailable("The database is overloaded; try again.").because(error)
        }
        sqlx::Error::Database(inner) if is_full(inner.as_ref()) => {
            Error::unavailable("The disk of the cloud's database is full; the operator must free space.")
                .because(error)
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed => cannot_reach(error),
        sqlx::Error::Database(inner) if is_away(inner.as_ref()) => cannot_reach(error),
        _ => Error::internal("").because(error),
    }
}

fn cannot_reach(error: sqlx::Error) -> Error {
    Error::unavailable("The database cannot be reached; try again.").because(error)
}

/// PostgreSQL starts, stops, is full of connections, or has ended this one (class 57P and 08, `too_many_connections`,
/// `idle_in_transaction_session_timeout`).
fn is_away(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    code.starts_with("57P") || code.starts_with("08") || matches!(&*code, "53300" | "25P03")
}

/// `SQLITE_FULL` and PostgreSQL's `disk_full`.
fn is_full(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("13" | "53100"))
}
