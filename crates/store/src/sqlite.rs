//! SQLite lives in this process, so a statement is a call and not a message: it runs on the thread of whoever asks.
//! To hand it to a thread and back would take longer than most statements do.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hanse_core::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Rows};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::column::Value;
use crate::failure::{Failure, cannot_open, cannot_reach, database, is_serialization, overloaded};
use crate::query::{FromRow, Raw, Row};

/// Connections that read at once.
const READERS: u32 = 4;

/// How long one waits for a connection.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);

/// How long one waits for another process that has locked the database, and how long before one looks again.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Statements that a connection keeps compiled.
const STATEMENTS: usize = 128;

/// A statement that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// One database file: one connection that writes, in a fair queue, and some that read.
pub(crate) struct Sqlite {
    readers: Arc<Connections>,
    writer: Arc<Connections>,
}

struct Connections {
    path: PathBuf,
    read_only: bool,
    places: Arc<Semaphore>,
    size: u32,
    idle: Mutex<Vec<Connection>>,
}

/// A connection that somebody has. One that is dropped within a transaction is rolled back.
pub(crate) struct Lease {
    conn: Option<Connection>,
    in_transaction: bool,
    home: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

impl Sqlite {
    /// Opens the file, and creates it if it is not there.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn open(path: &Path) -> Result<Sqlite> {
        let connections = |size, read_only| {
            let (places, idle) = (Arc::new(Semaphore::new(size as usize)), Mutex::default());
            Arc::new(Connections { path: path.to_owned(), read_only, places, size, idle })
        };
        let (writer, readers) = (connections(1, false), connections(READERS, true));
        // WAL must be on before the first reader connects, or that one would try to switch it on itself.
        let first = writer.open().map_err(cannot_open)?;
        writer.put_back(first);
        Ok(Sqlite { readers, writer })
    }

    /// # Errors
    /// 503 if there is none for 30 seconds.
    pub(crate) async fn reader(&self) -> Result<Lease> {
        self.readers.clone().lease().await
    }

    /// The connection that writes, for what SQLite refuses within a transaction.
    ///
    /// # Errors
    /// As for [`Sqlite::reader`].
    pub(crate) async fn writer(&self) -> Result<Lease> {
        self.writer.clone().lease().await
    }

    /// The connection that writes, in a transaction.
    ///
    /// # Errors
    /// 503 if the writers before take 30 seconds; a failure that is worth another attempt if another process has had the
    /// database locked for ten.
    pub(crate) async fn begin(&self) -> Result<Lease> {
        let mut lease = self.writer().await?;
        let start = Instant::now();
        loop {
            match lease.begin() {
                // Nobody who waits for another process keeps a thread from other work.
                Err(error) if is_serialization(&error) && start.elapsed() < LOCK_LIMIT => {
                    sleep(LOCK_PAUSE).await;
                }
                begun => return begun.map(|()| lease),
            }
        }
    }

    /// Waits for whoever has a connection, and closes all.
    pub(crate) async fn close(&self) {
        for connections in [&self.writer, &self.readers] {
            // Fails only if they are closed already.
            let all = connections.places.acquire_many(connections.size).await;
            connections.places.close();
            drop(all);
            let closing = std::mem::take(&mut *connections.idle());
            // The last one copies the log into the database.
            aside(|| drop(closing));
        }
    }
}

impl Connections {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open(&self.path)?;
        conn.busy_timeout(LOCK_LIMIT)?;
        // FULL: what was acknowledged survives a power cut (each commit is fsynced).
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF; PRAGMA cache_size = -4096",
        )?;
        if self.read_only {
            conn.execute_batch("PRAGMA query_only = ON")?;
        } else {
            // Whoever begins a transaction waits by themselves.
            conn.busy_timeout(Duration::ZERO)?;
        }
        // A plan that goes by what is bound is made anew each time that is bound.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(conn)
    }

    async fn lease(self: Arc<Self>) -> Result<Lease> {
        let place = timeout(QUEUE_LIMIT, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| overloaded())?.map_err(cannot_reach)?;
        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => aside(|| self.open()).map_err(cannot_open)?,
        };
        Ok(Lease { conn: Some(conn), in_transaction: false, home: self, _place: place })
    }

    fn put_back(&self, conn: Connection) {
        self.idle().push(conn);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        if !conn.is_autocommit()
            && let Err(error) = run(&conn, "ROLLBACK")
        {
            tracing::warn!(%error, "SQLite does not roll back; its connection is closed");
            return;
        }
        self.home.put_back(conn);
    }
}

impl Lease {
    fn conn(&self) -> Result<&Connection> {
        let conn = self.conn.as_ref().ok_or_else(|| Error::internal("a connection was given back"))?;
        // A full disk makes SQLite roll back by itself; what came after would be a transaction of its own.
        if self.in_transaction && conn.is_autocommit() {
            return Err(Error::internal("SQLite has rolled this transaction back"));
        }
        Ok(conn)
    }

    fn begin(&mut self) -> Result<()> {
        run(self.conn()?, "BEGIN IMMEDIATE").map_err(database)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// The inner one is SQLite's.
    pub(crate) fn execute(&mut self, sql: &str, values: &[Value]) -> Result<Result<u64, Failure>> {
        let conn = self.conn()?;
        timed(sql, || {
            let done = prepare(conn, sql, values).and_then(|mut statement| statement.raw_execute());
            Ok(done.map(|rows| rows as u64).map_err(Failure::from))
        })
    }

    /// The rows of a statement. A list may be long, so other tasks of this thread go on elsewhere meanwhile.
    ///
    /// # Errors
    /// If SQLite or the row type fails.
    pub(crate) fn all<T: FromRow>(&mut self, sql: &str, values: &[Value]) -> Result<Vec<T>> {
        let conn = self.conn()?;
        aside(|| {
            timed(sql, || {
                let mut statement = prepare(conn, sql, values).map_err(database)?;
                let (mut rows, mut found) = (statement.raw_query(), Vec::new());
                while let Some(row) = next(&mut rows)? {
                    found.push(row);
                }
                Ok(found)
            })
        })
    }

    /// The first row of a statement, if there is one.
    ///
    /// # Errors
    /// If SQLite or the row type fails.
    pub(crate) fn optional<T: FromRow>(&mut self, sql: &str, values: &[Value]) -> Result<Option<T>> {
        let conn = self.conn()?;
        timed(sql, || next(&mut prepare(conn, sql, values).map_err(database)?.raw_query()))
    }

    /// Runs several statements, which are separated by semicolons.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<()> {
        self.conn()?.execute_batch(sql).map_err(database)
    }

    /// # Errors
    /// SQLite's; nothing is changed then.
    pub(crate) fn commit(self) -> Result<()> {
        let conn = self.conn()?;
        aside(|| run(conn, "COMMIT").map_err(database))
    }
}

/// Runs a statement that has no parameters and gives no rows.
fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    prepare(conn, sql, &[])?.raw_execute().map(drop)
}

fn prepare<'c>(conn: &'c Connection, sql: &str, values: &[Value]) -> rusqlite::Result<CachedStatement<'c>> {
    let mut statement = conn.prepare_cached(sql)?;
    for place in 1..=statement.parameter_count() {
        // `$2` is a name to SQLite, which counts parameters in the order in which they first appear.
        let name = statement.parameter_name(place).unwrap_or_default();
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or_else(|| rusqlite::Error::InvalidParameterName(name.to_owned()))?;
        statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(borrowed(value)))?;
    }
    Ok(statement)
}

fn borrowed(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
        Value::Int(Some(number)) => ValueRef::Integer(*number),
        Value::Float(Some(number)) => ValueRef::Real(*number),
        Value::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
        Value::Text(None) | Value::Int(None) | Value::Float(None) | Value::Bytes(None) => ValueRef::Null,
    }
}

fn next<T: FromRow>(rows: &mut Rows<'_>) -> Result<Option<T>> {
    match rows.next().map_err(database)? {
        Some(row) => T::from_row(&Row(Raw::Sqlite(row))).map(Some),
        None => Ok(None),
    }
}

/// The value of a column.
///
/// # Errors
/// If there is no such column.
pub(crate) fn column(row: &rusqlite::Row<'_>, index: usize) -> Result<Value> {
    Ok(match row.get_ref(index).map_err(database)? {
        ValueRef::Null => Value::Text(None),
        ValueRef::Integer(number) => Value::Int(Some(number)),
        ValueRef::Real(number) => Value::Float(Some(number)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(Some(text.to_owned())),
            Err(error) => return Err(Error::internal("a text in the database is not UTF-8").because(error)),
        },
        ValueRef::Blob(bytes) => Value::Bytes(Some(bytes.to_vec())),
    })
}

/// Says so if it takes long.
fn timed<T>(sql: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    if took > SLOW {
        tracing::warn!(?took, sql, "a slow statement");
    }
    done
}

/// Runs what may block this thread for a while. Where there are other threads, they take over its tasks first.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
