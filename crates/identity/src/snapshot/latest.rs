//! The newest snapshot of a process, and how old it may be.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};
use hanse_store::Db;
use tokio::sync::Mutex;

use super::Snapshot;
use crate::db;

/// How long another process may keep believing in a token that has died.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Keeps the snapshot of this process at most a second behind the database, and never behind its own writes.
pub(crate) struct Snapshots {
    db: Db,
    latest: RwLock<Latest>,
    /// Held by the one who asks the database; the others wait for its answer.
    loading: Mutex<()>,
}

#[derive(Clone, Default)]
struct Latest {
    snapshot: Arc<Snapshot>,
    /// When the database was last seen to have this revision; `None` if that must be asked first.
    confirmed: Option<Timestamp>,
}

impl Latest {
    fn is_fresh(&self, now: Timestamp) -> bool {
        // A clock that was set back must not make the snapshot fresh for long.
        self.confirmed.is_some_and(|confirmed| now >= confirmed && now.since(confirmed) < TRUSTED_FOR)
    }
}

impl Snapshots {
    pub(crate) fn new(db: Db) -> Snapshots {
        Snapshots { db, latest: RwLock::default(), loading: Mutex::default() }
    }

    fn latest(&self) -> Latest {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, latest: Latest) {
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = latest;
    }

    /// What was true within the last second. Asks the database at most once a second.
    pub(crate) async fn current(&self, cx: &Cx) -> Result<Arc<Snapshot>> {
        let latest = self.latest();
        if latest.is_fresh(cx.now()) {
            return Ok(latest.snapshot);
        }
        let _one = self.loading.lock().await;
        let latest = self.latest();
        if latest.is_fresh(cx.now()) {
            return Ok(latest.snapshot);
        }
        self.confirm(cx, latest).await
    }

    /// What is true now, for issuing tokens.
    pub(crate) async fn confirmed(&self, cx: &Cx) -> Result<Arc<Snapshot>> {
        let _one = self.loading.lock().await;
        self.confirm(cx, self.latest()).await
    }

    /// Catches up with a write of this process. The write is done, so a failure here is none of the caller's: the
    /// snapshot is then asked for again before it is used.
    pub(crate) async fn catch_up(&self, cx: &Cx, revision: i64) {
        let _one = self.loading.lock().await;
        let latest = self.latest();
        if latest.snapshot.revision() >= revision && latest.confirmed.is_some() {
            return;
        }
        if let Err(error) = self.confirm(cx, latest.clone()).await {
            tracing::warn!(%error, "cannot read identity after a write");
            self.set(Latest { snapshot: latest.snapshot, confirmed: None });
        }
    }

    async fn confirm(&self, cx: &Cx, latest: Latest) -> Result<Arc<Snapshot>> {
        let now = cx.now();
        let mut conn = self.db.read().await?;
        let revision = db::revision::read(&mut conn).await?;
        let known = latest.snapshot.revision();
        let snapshot = if revision == known {
            latest.snapshot
        } else if known == 0 || revision < known {
            // Lower than what was known: another database was put in the place of this one.
            Arc::new(Snapshot::load(&mut conn, revision, now).await?)
        } else {
            Arc::new(latest.snapshot.advance(&mut conn, revision, now).await?)
        };
        self.set(Latest { snapshot: snapshot.clone(), confirmed: Some(now) });
        Ok(snapshot)
    }
}
