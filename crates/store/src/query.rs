//! A statement with its parameters, and the rows that come back.

use hanse_core::{Error, Result};
use sqlx::{Column as _, Row as _};

use crate::column::{FromColumn, Value};
use crate::db::{Conn, Inside};
use crate::failure::{Failure, database};
use crate::{postgres, sqlite};

/// The target of the trace event that each statement leaves, with its text in `sql`.
pub const STATEMENT: &str = "hanse_store::statement";

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

/// One row of a result, as its engine has it.
pub struct Row<'r>(pub(crate) Raw<'r>);

pub(crate) enum Raw<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r sqlx::postgres::PgRow),
}

impl Row<'_> {
    /// # Errors
    /// An internal error if there is no such column or it holds something else.
    pub fn get<T: FromColumn>(&self, column: &str) -> Result<T> {
        let index = match self.0 {
            Raw::Sqlite(row) => row.as_ref().column_index(column).ok(),
            Raw::Postgres(row) => row.columns().iter().position(|known| known.name() == column),
        };
        let index = index.ok_or_else(|| Error::internal(format!("the result has no column {column}")))?;
        self.at(index).map_err(|error| Error::internal(format!("column {column}: {error}")))
    }

    fn at<T: FromColumn>(&self, index: usize) -> Result<T> {
        T::from_column(match self.0 {
            Raw::Sqlite(row) => sqlite::column(row, index)?,
            Raw::Postgres(row) => postgres::column(row, index)?,
        })
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
        self.run(conn).await?.map_err(|failure| {
            if failure.is_unique_violation() {
                Error::conflict(conflict).because(failure)
            } else {
                database(failure)
            }
        })
    }

    async fn run(self, conn: &mut Conn) -> Result<Result<u64, Failure>> {
        self.prepare().await?;
        match &mut conn.0 {
            Inside::Sqlite(lease) => lease.execute(&self.sql, &self.values),
            Inside::Postgres(session) => session.execute(&self.sql, self.values).await,
        }
    }

    /// # Errors
    /// An internal error if the database or the row type fails.
    pub async fn all<T: FromRow>(self, conn: &mut Conn) -> Result<Vec<T>> {
        self.prepare().await?;
        match &mut conn.0 {
            Inside::Sqlite(lease) => lease.all(&self.sql, &self.values),
            Inside::Postgres(session) => session.all(&self.sql, self.values).await,
        }
    }

    /// # Errors
    /// An internal error if the database or the row type fails.
    pub async fn optional<T: FromRow>(self, conn: &mut Conn) -> Result<Option<T>> {
        self.prepare().await?;
        match &mut conn.0 {
            Inside::Sqlite(lease) => lease.optional(&self.sql, &self.values),
            Inside::Postgres(session) => session.optional(&self.sql, self.values).await,
        }
    }

    /// # Errors
    /// An internal error also if there is no row.
    pub async fn one<T: FromRow>(self, conn: &mut Conn) -> Result<T> {
        self.optional(conn).await?.ok_or_else(|| Error::internal("a statement gave no row"))
    }

    /// What comes before every statement.
    ///
    /// # Errors
    /// 400 for a NUL in a text: PostgreSQL takes none, and what has one comes from outside.
    async fn prepare(&self) -> Result<()> {
        let has_nul = |value: &Value| matches!(value, Value::Text(Some(text)) if text.contains('\0'));
        if self.values.iter().any(has_nul) {
            return Err(Error::bad_request("A text must not contain a NUL character."));
        }
        tracing::trace!(target: STATEMENT, sql = self.sql);
        // A task that asks SQLite again and again never waits, and would keep its thread to itself.
        tokio::task::consume_budget().await;
        Ok(())
    }
}
