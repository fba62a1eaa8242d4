//! PostgreSQL: a server that may be slow, silent or away, so that everything asked of it has a limit.

use std::time::Duration;

use hanse_core::{Error, Result};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgRow, PgValueRef};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgPool, Row as _, Transaction, TypeInfo as _,
    ValueRef as _,
};

use crate::coalesced::within;
use crate::column::Value;
use crate::failure::{Failure, cannot_open, database};
use crate::query::{FromRow, Raw, Row};

const CONNECTIONS: u32 = 16;

/// How long a statement may take, and how long one waits for a connection: a server that holds connections and does
/// not answer must not hold requests too.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a migration may take, where no request waits.
const LONG_PATIENCE: Duration = Duration::from_secs(3600);

/// How long a connection that was used may take to be ready for the next.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// The pool of connections to one database.
pub(crate) struct Postgres(PgPool);

/// A connection that somebody has, and how long each of its statements may take.
pub(crate) struct Session {
    held: Held,
    limit: Duration,
}

enum Held {
    Pooled(PoolConnection<sqlx::Postgres>),
    Transaction(Transaction<'static, sqlx::Postgres>),
}

impl Postgres {
    /// # Errors
    /// 400 if the address does not read, 503 if the server cannot be reached.
    pub(crate) async fn connect(url: &str) -> Result<Postgres> {
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
            Error::bad_request("the database address does not read").because(error)
        })?;
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(true)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    // The locks of a process that was cut off or suspended in a transaction must not stay.
                    conn.execute("SET idle_in_transaction_session_timeout = '60s'").await?;
                    Ok(())
                })
            })
            .after_release(|conn, _| {
                Box::pin(async move {
                    // Waits until a rollback that was only asked for, or a statement that nobody waits for, is done.
                    // One that never is must not keep its place in the pool.
                    let ready = tokio::time::timeout(RETURN_LIMIT, conn.ping()).await;
                    ready.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                    Ok(!conn.is_in_transaction())
                })
            })
            .connect_with(options)
            .await
            .map(Postgres)
            .map_err(cannot_open)
    }

    /// A connection outside of any transaction.
    ///
    /// # Errors
    /// 503 if there is none for ten seconds.
    pub(crate) async fn session(&self) -> Result<Session> {
        let conn = self.0.acquire().await.map_err(database)?;
        Ok(Session { held: Held::Pooled(conn), limit: PATIENCE })
    }

    /// A connection in a transaction; a `long` one has all the time that a migration needs.
    ///
    /// # Errors
    /// 503 if there is none in time.
    pub(crate) async fn begin(&self, long: bool) -> Result<Session> {
        let limit = if long { LONG_PATIENCE } else { PATIENCE };
        let begin = self.0.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE");
        let begun = within(limit, async { begin.await.map_err(database) }).await?;
        Ok(Session { held: Held::Transaction(begun), limit })
    }

    pub(crate) async fn close(&self) {
        self.0.close().await;
    }
}

impl Session {
    fn conn(&mut self) -> &mut PgConnection {
        match &mut self.held {
            Held::Pooled(conn) => conn,
            Held::Transaction(transaction) => transaction,
        }
    }

    /// # Errors
    /// The inner one is PostgreSQL's; the outer one is 503 if it does not answer.
    pub(crate) async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<Result<u64, Failure>> {
        let limit = self.limit;
        let done = within(limit, async { Ok(bound(sql, values).execute(self.conn()).await) }).await?;
        Ok(done.map(|done| done.rows_affected()).map_err(Failure::from))
    }

    /// # Errors
    /// If PostgreSQL or the row type fails.
    pub(crate) async fn all<T: FromRow>(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<T>> {
        let limit = self.limit;
        let rows = async { bound(sql, values).fetch_all(self.conn()).await.map_err(database) };
        let rows = within(limit, rows).await?;
        rows.iter().map(|row| T::from_row(&Row(Raw::Postgres(row)))).collect()
    }

    /// # Errors
    /// If PostgreSQL or the row type fails.
    pub(crate) async fn optional<T: FromRow>(&mut self, sql: &str, values: Vec<Value>) -> Result<Option<T>> {
        let limit = self.limit;
        let row = async { bound(sql, values).fetch_optional(self.conn()).await.map_err(database) };
        let row = within(limit, row).await?;
        row.map(|row| T::from_row(&Row(Raw::Postgres(&row)))).transpose()
    }

    /// Runs several statements, which are separated by semicolons.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub(crate) async fn batch(&mut self, sql: &'static str) -> Result<()> {
        let limit = self.limit;
        let done = async { sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.conn()).await.map_err(database) };
        within(limit, done).await.map(drop)
    }

    /// # Errors
    /// PostgreSQL's; nothing is changed then, or it is not known.
    pub(crate) async fn commit(self) -> Result<()> {
        let Held::Transaction(transaction) = self.held else { return Ok(()) };
        within(self.limit, async { transaction.commit().await.map_err(database) }).await
    }
}

fn bound(sql: &str, values: Vec<Value>) -> sqlx::query::Query<'_, sqlx::Postgres, PgArguments> {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Value::Text(value) => query.bind(value),
        Value::Int(value) => query.bind(value),
        Value::Float(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// The value of a column.
///
/// # Errors
/// If there is no such column, or it has a type that is none of ours.
pub(crate) fn column(row: &PgRow, index: usize) -> Result<Value> {
    let raw: PgValueRef<'_> = row.try_get_raw(index).map_err(database)?;
    if raw.is_null() {
        return Ok(Value::Text(None));
    }
    let kind = raw.type_info();
    let value = match kind.name() {
        "TEXT" | "VARCHAR" | "NAME" | "CHAR" | "UNKNOWN" => row.try_get(index).map(Value::Text),
        "INT8" => row.try_get(index).map(Value::Int),
        "INT4" => row.try_get(index).map(|value: Option<i32>| Value::Int(value.map(i64::from))),
        "INT2" => row.try_get(index).map(|value: Option<i16>| Value::Int(value.map(i64::from))),
        "FLOAT8" => row.try_get(index).map(Value::Float),
        "FLOAT4" => row.try_get(index).map(|value: Option<f32>| Value::Float(value.map(f64::from))),
        "BYTEA" => row.try_get(index).map(Value::Bytes),
        other => return Err(Error::internal(format!("a column of the foreign type {other}"))),
    };
    value.map_err(database)
}
