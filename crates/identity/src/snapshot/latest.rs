//! The newest snapshot of a process, and how old it may be.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};
use hanse_store::{Coalesced, Db, within};

use super::Snapshot;
use crate::db;
use crate::model::Site;
use crate::token::{Delegated, Payload};

/// How long another process may keep believing in a token that has died.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How long the database may take to say which revision it has. Reading what has changed may take longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Keeps the snapshot of this process at most a second behind the database, and never behind its own writes.
pub(crate) struct Snapshots {
    shared: Arc<Shared>,
    /// One asks the database; the others get its answer.
    asking: Coalesced<Arc<Snapshot>>,
}

struct Shared {
    db: Db,
    latest: RwLock<Latest>,
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

    fn if_fresh(self, now: Timestamp) -> Option<Arc<Snapshot>> {
        self.is_fresh(now).then_some(self.snapshot)
    }
}

impl Snapshots {
    pub(crate) fn new(db: Db) -> Snapshots {
        Snapshots { shared: Arc::new(Shared { db, latest: RwLock::default() }), asking: Coalesced::default() }
    }

    /// What was true within the last second. Asks the database at most once a second.
    ///
    /// # Errors
    /// 503 if the database does not answer within seconds: what is older is not believed.
    pub(crate) async fn current(&self, cx: &Cx) -> Result<Arc<Snapshot>> {
        if let Some(snapshot) = self.shared.latest().if_fresh(cx.now()) {
            return Ok(snapshot);
        }
        let (shared, clock) = (self.shared.clone(), cx.clone());
        let known = move || shared.latest().if_fresh(clock.now());
        self.asking.ask_unless(known, self.shared.clone().confirm(cx.clone())).await
    }

    /// What is true now, for issuing tokens.
    ///
    /// # Errors
    /// As for [`Snapshots::current`].
    pub(crate) async fn confirmed(&self, cx: &Cx) -> Result<Arc<Snapshot>> {
        self.asking.ask(self.shared.clone().confirm(cx.clone())).await
    }

    /// Catches up with a write of this process. The write is done, so a failure here is none of the caller's: the
    /// snapshot is then asked for again before it is used.
    pub(crate) async fn catch_up(&self, cx: &Cx, revision: i64) {
        let latest = self.shared.latest();
        if latest.snapshot.revision() >= revision && latest.confirmed.is_some() {
            return;
        }
        if let Err(error) = self.confirmed(cx).await {
            tracing::warn!(%error, "cannot read identity after a write");
            self.shared.doubt(revision);
        }
    }
}

impl Shared {
    fn latest(&self) -> Latest {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The snapshot is known to be behind.
    fn doubt(&self, revision: i64) {
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        if latest.snapshot.revision() < revision {
            latest.confirmed = None;
        }
    }

    async fn confirm(self: Arc<Self>, cx: Cx) -> Result<Arc<Snapshot>> {
        let latest = self.latest();
        let now = cx.now();
        let asked = async {
            let mut conn = self.db.read().await?;
            let revision = db::revision::read(&mut conn).await?;
            Ok((conn, revision))
        };
        let (mut conn, revision) = within(ANSWER_LIMIT, asked).await?;
        let known = latest.snapshot.revision();
        let snapshot = if revision == known {
            latest.snapshot
        } else if known == 0 || revision < known {
            // Lower than what was known: another database was put in the place of this one.
            Arc::new(Snapshot::load(&mut conn, revision, now).await?)
        } else {
            Arc::new(latest.snapshot.advance(&mut conn, revision, now).await?)
        };
        let latest = Latest { snapshot: snapshot.clone(), confirmed: Some(now) };
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = latest;
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Whether a token that is worth nothing here is worth nothing in any later snapshot either. If not, what it is
    /// made from may have been written by another process since this snapshot was read.
    pub(crate) fn has_ended(&self, now: Timestamp, payload: &Payload) -> bool {
        let is_past = |known: Option<u32>, token: u32| known.is_some_and(|known| known > token);
        let site = match &payload.site {
            Some(Site::Project(id) | Site::Domain(id)) => self.place(id).map(|place| place.epoch),
            _ => None,
        };
        let user = self.person(&payload.user_id).map(|person| person.epoch);
        now >= payload.expires_at
            || self.revoked.contains(&payload.audit_id)
            || is_past(site, payload.site_epoch)
            // The epoch of a trust is that of several users.
            || (!matches!(payload.delegated, Delegated::Trust(_)) && is_past(user, payload.user_epoch))
    }
}
