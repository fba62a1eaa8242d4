//! The database: one writer with a fair queue on SQLite, serializable transactions on PostgreSQL.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_policy::Grant;
use tokio::sync::Notify;

use crate::audit;
use crate::failure::is_serialization;
use crate::migrate::{self, Migrations};
use crate::postgres::{Postgres, Session};
use crate::query::{Query, query};
use crate::sqlite::{Lease, Sqlite};

/// How often a write runs again after the database could not serialize it: many writers of one place need as many.
const ATTEMPTS: u32 = 60;

/// The longest pause before a write runs again, in milliseconds. All pauses together stay below the limit of a request.
const PAUSE_MAX: u64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A handle to the state. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    server: Server,
    topics: Mutex<HashMap<&'static str, Arc<Notify>>>,
}

enum Server {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// A connection that statements run on: one for reads, or that of a transaction.
pub struct Conn(pub(crate) Inside);

pub(crate) enum Inside {
    Sqlite(Lease),
    Postgres(Session),
}

/// A write transaction. `'a` is the life of what its closure borrows.
pub struct Tx<'a> {
    conn: Conn,
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
        match self.conn.0 {
            Inside::Sqlite(_) => Ok(cx.now()),
            Inside::Postgres(_) => {
                let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
                let (micros,): (i64,) = query(sql).one(self).await?;
                Ok(Timestamp(micros))
            }
        }
    }

    /// Runs the statements of a migration.
    pub(crate) async fn batch(&mut self, sql: &'static str) -> Result<()> {
        match &mut self.conn.0 {
            Inside::Sqlite(lease) => lease.batch(sql),
            Inside::Postgres(session) => session.batch(sql).await,
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
        let db = Db::over(Server::Sqlite(Sqlite::open(path)?));
        migrate::run(&db, cx, migrations, Some(path)).await?;
        Ok(db)
    }

    /// Opens a PostgreSQL database and brings its schema up to date.
    ///
    /// # Errors
    /// If it cannot be reached, or was written by a newer release.
    pub async fn postgres(cx: &Cx, url: &str, migrations: &[Migrations]) -> Result<Db> {
        let db = Db::over(Server::Postgres(Postgres::connect(url).await?));
        migrate::run(&db, cx, migrations, None).await?;
        Ok(db)
    }

    fn over(server: Server) -> Db {
        Db(Arc::new(Inner { server, topics: Mutex::default() }))
    }

    pub fn engine(&self) -> Engine {
        match self.0.server {
            Server::Sqlite(_) => Engine::Sqlite,
            Server::Postgres(_) => Engine::Postgres,
        }
    }

    /// A connection to read with. Each statement sees what was committed before it.
    ///
    /// # Errors
    /// 503 if there is none for 30 seconds (on PostgreSQL ten).
    pub async fn read(&self) -> Result<Conn> {
        Ok(Conn(match &self.0.server {
            Server::Sqlite(sqlite) => Inside::Sqlite(sqlite.reader().await?),
            Server::Postgres(postgres) => Inside::Postgres(postgres.session().await?),
        }))
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
        let mut tx = self.begin(false).await?;
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
        Ok(Conn(match &self.0.server {
            Server::Sqlite(sqlite) => Inside::Sqlite(sqlite.writer().await?),
            Server::Postgres(postgres) => Inside::Postgres(postgres.session().await?),
        }))
    }

    /// A transaction for a migration, which may take its time.
    pub(crate) async fn begin_long<'a>(&self) -> Result<Tx<'a>> {
        self.begin(true).await
    }

    async fn begin<'a>(&self, long: bool) -> Result<Tx<'a>> {
        let conn = Conn(match &self.0.server {
            Server::Sqlite(sqlite) => Inside::Sqlite(sqlite.begin().await?),
            Server::Postgres(postgres) => Inside::Postgres(postgres.begin(long).await?),
        });
        Ok(Tx { conn, signals: Vec::new(), borrowed: PhantomData })
    }

    pub(crate) async fn commit(&self, tx: Tx<'_>) -> Result<()> {
        match tx.conn.0 {
            Inside::Sqlite(lease) => lease.commit()?,
            Inside::Postgres(session) => session.commit().await?,
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
        match &self.0.server {
            Server::Sqlite(sqlite) => sqlite.close().await,
            Server::Postgres(postgres) => postgres.close().await,
        }
    }
}
