//! The database: one writer with a fair queue on SQLite, serializable transactions on PostgreSQL.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_policy::Grant;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor as _, Transaction};
use tokio::sync::Notify;

use crate::audit;
use crate::coalesced::within;
use crate::migrate::{self, Migrations};
use crate::query::{Query, database, query};

/// How often a write runs again after the database could not serialize it: many writers of one place need as many.
const ATTEMPTS: u32 = 60;

/// The longest pause before a write runs again, in milliseconds. All pauses together stay below the limit of a request.
const PAUSE_MAX: u64 = 250;

/// How long a statement may take on PostgreSQL, and how long one waits for a connection to it: a server that holds
/// connections and does not answer must not hold requests too. SQLite is this process, and its queue is fair.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a migration may take, where no request waits.
const LONG_PATIENCE: Duration = Duration::from_secs(3600);

/// How long a connection that was used may take to be ready for the next.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A handle to the state. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    engine: Engine,
    /// On PostgreSQL the same pool twice.
    readers: AnyPool,
    writer: AnyPool,
    topics: Mutex<HashMap<&'static str, Arc<Notify>>>,
}

/// A connection that statements run on: a pooled one for reads, or that of a transaction.
pub struct Conn {
    inside: Inside,
    /// For each statement.
    limit: Duration,
}

enum Inside {
    Pooled(PoolConnection<Any>),
    Transaction(Transaction<'static, Any>),
}

impl Conn {
    pub(crate) fn raw(&mut self) -> &mut AnyConnection {
        match &mut self.inside {
            Inside::Pooled(conn) => conn,
            Inside::Transaction(tx) => tx,
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }
}

/// A write transaction. `'a` is the life of what its closure borrows.
pub struct Tx<'a> {
    conn: Conn,
    engine: Engine,
    signals: Vec<&'static str>,
    borrowed: PhantomData<&'a ()>,
}

impl Deref for Tx<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Tx<'_> {
    /// Wakes those who wait for [`Db::signal`] of this topic, once and if the transaction commits.
    pub fn signal(&mut self, topic: &'static str) {
        if !self.signals.contains(&topic) {
            self.signals.push(topic);
        }
    }

    /// The time that leases are measured in: the database's on PostgreSQL, which several processes share, and that
    /// of the context on SQLite.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn now(&mut self, cx: &Cx) -> Result<Timestamp> {
        match self.engine {
            Engine::Sqlite => Ok(cx.now()),
            Engine::Postgres => {
                let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
                let (micros,): (i64,) = query(sql).one(self).await?;
                Ok(Timestamp(micros))
            }
        }
    }
}

/// What must hold for a write to happen: the query gives a row (of one integer).
pub struct Condition {
    pub query: Query,
    pub otherwise: &'static str,
}

/// What a closure given to [`Db::write`] returns: `Box::pin(async move { … })`.
pub type Step<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

impl Db {
    /// Opens (and creates) an SQLite database and brings its schema up to date.
    ///
    /// # Errors
    /// If the file cannot be opened, or was written by a newer release.
    pub async fn sqlite(cx: &Cx, path: &Path, migrations: &[Migrations]) -> Result<Db> {
        let url = format!("sqlite://{}?mode=rwc", percent_encode(path)?);
        let writer = pool(&url, Engine::Sqlite, 1, false).await?;
        // WAL must be on before the first reader connects, or that one would try to switch it on itself.
        let readers = pool(&url, Engine::Sqlite, 4, true).await?;
        let db = Db::over(Engine::Sqlite, readers, writer);
        migrate::run(&db, cx, migrations, Some(path)).await?;
        Ok(db)
    }

    /// Opens a PostgreSQL database and brings its schema up to date.
    ///
    /// # Errors
    /// If it cannot be reached, or was written by a newer release.
    pub async fn postgres(cx: &Cx, url: &str, migrations: &[Migrations]) -> Result<Db> {
        let both = pool(url, Engine::Postgres, 16, false).await?;
        let db = Db::over(Engine::Postgres, both.clone(), both);
        migrate::run(&db, cx, migrations, None).await?;
        Ok(db)
    }

    fn over(engine: Engine, readers: AnyPool, writer: AnyPool) -> Db {
        Db(Arc::new(Inner { engine, readers, writer, topics: Mutex::default() }))
    }

    pub fn engine(&self) -> Engine {
        self.0.engine
    }

    /// A connection to read with. Each statement sees what was committed before it.
    ///
    /// # Errors
    /// 503 if there is none for 30 seconds (on PostgreSQL ten).
    pub async fn read(&self) -> Result<Conn> {
        let inside = Inside::Pooled(self.0.readers.acquire().await.map_err(database)?);
        Ok(Conn { inside, limit: self.patience() })
    }

    fn patience(&self) -> Duration {
        if self.0.engine == Engine::Postgres { PATIENCE } else { LONG_PATIENCE }
    }

    /// Runs `work` in one transaction, together with the audit event that `grant` stands for.
    ///
    /// When the database cannot serialize the transaction, the closure runs again; so it must have no effect outside
    /// of the transaction.
    ///
    /// # Errors
    /// What the closure returns (and nothing is changed), or a failure of the database.
    pub async fn write<'a, T, F>(&self, cx: &Cx, grant: &Grant, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> Step<'t, T>,
    {
        self.write_if(cx, grant, None, work).await
    }

    /// The same, provided that a condition holds in the same transaction.
    ///
    /// # Errors
    /// 409 if the condition does not hold.
    pub async fn write_if<'a, T, F>(
        &self,
        cx: &Cx,
        grant: &Grant,
        condition: Option<&Condition>,
        work: F,
    ) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> Step<'t, T>,
    {
        let mut attempt = 1;
        loop {
            match self.attempt(cx, grant, condition, &work).await {
                Err(error) if is_serialization(&error) && attempt < ATTEMPTS => {
                    tracing::debug!(attempt, verb = grant.verb(), "write runs again");
                    // An uneven pause that grows lets one of the rivals finish first, however slow the machine is.
                    let longest = PAUSE_MAX.min(4 << attempt.min(6));
                    let share = u64::from(u16::from_be_bytes(cx.bytes()));
                    tokio::time::sleep(Duration::from_millis((longest * share) >> 16)).await;
                    attempt += 1;
                }
                Err(error) if is_serialization(&error) => {
                    return Err(
                        Error::unavailable("Too many change the same at once; try again.").because(error)
                    );
                }
                other => return other,
            }
        }
    }

    async fn attempt<'a, T, F>(
        &self,
        cx: &Cx,
        grant: &Grant,
        condition: Option<&Condition>,
        work: &F,
    ) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> Step<'t, T>,
    {
        let mut tx = self.begin(self.patience()).await?;
        if let Some(condition) = condition
            && condition.query.clone().optional::<(Option<i64>,)>(&mut tx).await?.is_none()
        {
            return Err(Error::conflict(condition.otherwise));
        }
        let value = work(&mut tx).await?;
        audit::record(&mut tx, cx, grant).await?;
        self.commit(tx).await?;
        Ok(value)
    }

    /// The writing connection, for what SQLite refuses inside a transaction.
    pub(crate) async fn outside_transaction(&self) -> Result<Conn> {
        let inside = Inside::Pooled(self.0.writer.acquire().await.map_err(database)?);
        Ok(Conn { inside, limit: LONG_PATIENCE })
    }

    /// A transaction for a migration, which may take its time.
    pub(crate) async fn begin_long<'a>(&self) -> Result<Tx<'a>> {
        self.begin(LONG_PATIENCE).await
    }

    async fn begin<'a>(&self, limit: Duration) -> Result<Tx<'a>> {
        let statement = match self.0.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let begun = async { self.0.writer.begin_with(statement).await.map_err(database) };
        let conn = Conn { inside: Inside::Transaction(within(limit, begun).await?), limit };
        Ok(Tx { conn, engine: self.0.engine, signals: Vec::new(), borrowed: PhantomData })
    }

    pub(crate) async fn commit(&self, tx: Tx<'_>) -> Result<()> {
        let limit = tx.conn.limit;
        if let Inside::Transaction(inside) = tx.conn.inside {
            within(limit, async { inside.commit().await.map_err(database) }).await?;
        }
        for topic in tx.signals {
            self.signal(topic).notify_one();
        }
        Ok(())
    }

    /// What a background loop waits for: notified after a commit that called [`Tx::signal`] with this topic *in this
    /// process*. A loop must also look by timer, for what other processes write. One waiter a topic.
    pub fn signal(&self, topic: &'static str) -> Arc<Notify> {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic).or_default().clone()
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        self.0.writer.close().await;
        self.0.readers.close().await;
    }
}

/// Whether the database asks for the transaction to be run again: PostgreSQL's `serialization_failure` and
/// `deadlock_detected`, SQLite's `SQLITE_BUSY` and its extended codes.
fn is_serialization(error: &Error) -> bool {
    error
        .cause()
        .and_then(|cause| cause.downcast_ref::<sqlx::Error>())
        .and_then(|cause| cause.as_database_error())
        .is_some_and(|inner| matches!(inner.code().as_deref(), Some("40001" | "40P01" | "5" | "261" | "517")))
}

async fn pool(url: &str, engine: Engine, connections: u32, read_only: bool) -> Result<AnyPool> {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);
    let options: AnyConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        Error::bad_request("the database address does not read").because(error)
    })?;
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(if engine == Engine::Postgres { PATIENCE } else { Duration::from_secs(30) })
        // A connection is checked when it fails, not before each use: that would double the round trips.
        .test_before_acquire(engine == Engine::Postgres)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_release(move |conn, _| {
            Box::pin(async move {
                if conn.is_in_transaction() || engine == Engine::Postgres {
                    // Waits until a rollback that was only asked for, or a statement that nobody waits for, is done.
                    // One that never is must not keep its place in the pool.
                    let ready = tokio::time::timeout(RETURN_LIMIT, conn.ping()).await;
                    ready.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                }
                // A full disk makes SQLite roll back by itself; the driver's own rollback finds nothing then, and it
                // counts a transaction for ever. Such a connection is good for nothing.
                Ok(!conn.is_in_transaction())
            })
        })
        .after_connect(move |conn, _| {
            Box::pin(async move {
                if engine == Engine::Postgres {
                    // The locks of a process that was cut off or suspended in a transaction must not stay.
                    conn.execute("SET idle_in_transaction_session_timeout = '60s'").await?;
                }
                if engine == Engine::Sqlite {
                    // FULL: what was acknowledged survives a power cut (each commit is fsynced).
                    conn.execute(
                        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -4096",
                    )
                    .await?;
                    if read_only {
                        conn.execute("PRAGMA query_only = ON").await?;
                    }
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| Error::unavailable("cannot open the database").because(error))
}

/// A path as it may stand in an `sqlite://` address.
fn percent_encode(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::bad_request("the path of the database is not UTF-8"))?;
    Ok(text.replace('%', "%25").replace('?', "%3f").replace('#', "%23"))
}
