//! Runs reconcilers: claim, step, release.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{CrashPoints, Cx, Error, Result};
use hanse_policy::Grant;
use hanse_store::{Db, Engine};
use tokio_util::sync::CancellationToken;

use crate::items::{self, Item, LEASE};
use crate::{Outcome, Reconciler, Turn};

/// The longest time between two looks at the table, for work that another process has written.
const POLL: Duration = Duration::from_secs(1);

/// A step that takes longer than this failed: its lease must not run out under it.
const STEP_LIMIT: Duration = LEASE.saturating_sub(Duration::from_secs(10));

/// The longest pause after failures.
const PAUSE_LIMIT: Duration = Duration::from_secs(60);

/// Runs all reconcilers of the process. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    db: Db,
    cx: Cx,
    owner: Arc<str>,
    crash: CrashPoints,
    reconcilers: Arc<Vec<Arc<dyn Reconciler>>>,
    kinds: Arc<Vec<&'static str>>,
}

impl Runner {
    pub fn new(db: Db, cx: &Cx, reconcilers: Vec<Arc<dyn Reconciler>>, crash: CrashPoints) -> Runner {
        let kinds = reconcilers.iter().map(|reconciler| reconciler.kind()).collect();
        let owner = format!("{}-{}", std::process::id(), cx.hex_id()).into();
        Runner {
            db,
            cx: cx.clone(),
            owner,
            crash,
            reconcilers: Arc::new(reconcilers),
            kinds: Arc::new(kinds),
        }
    }

    /// Works with `workers` tasks until `stop` is cancelled; a step that has begun is finished.
    pub async fn run(&self, workers: usize, stop: CancellationToken) {
        if let Err(error) = self.take_over().await {
            tracing::error!(%error, "cannot take over the work of a process that died; its leases must run out");
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers.max(1) {
            let (runner, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move { runner.work(&stop).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// An SQLite state belongs to one process (the state directory is locked), so whoever holds leases is dead, and
    /// nobody needs to wait until they run out. On PostgreSQL they may be another process's.
    async fn take_over(&self) -> Result<()> {
        if self.db.engine() != Engine::Sqlite {
            return Ok(());
        }
        let grant = Grant::reconciler(&self.cx, "work", "leases");
        self.db.write(&self.cx, &grant, |tx| Box::pin(items::free_all(tx))).await
    }

    async fn work(&self, stop: &CancellationToken) {
        let woken = self.db.signal(items::TOPIC);
        while !stop.is_cancelled() {
            let pause = match self.once().await {
                Ok(true) => {
                    // There may be more than one worker's share.
                    woken.notify_one();
                    continue;
                }
                Ok(false) => self.pause().await,
                Err(error) => {
                    tracing::error!(%error, "cannot claim work");
                    POLL
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pause(&self) -> Duration {
        let due = async { items::next_due(&mut self.db.read().await?).await };
        match due.await {
            Ok(Some(due)) => due.since(self.cx.now()).clamp(Duration::from_millis(5), POLL),
            _ => POLL,
        }
    }

    /// Does everything that is due now, one step after the other. For tests.
    ///
    /// # Errors
    /// If work cannot be claimed.
    pub async fn drain(&self) -> Result<u32> {
        let mut steps = 0;
        while self.once().await? {
            steps += 1;
        }
        Ok(steps)
    }

    /// Claims one item and does one step. Returns whether there was one.
    async fn once(&self) -> Result<bool> {
        if self.kinds.is_empty() {
            return Ok(false);
        }
        let (cx, kinds, owner) = (&self.cx, self.kinds.as_slice(), &*self.owner);
        // A look without a lock, since most looks find nothing.
        if items::next_due(&mut self.db.read().await?).await?.is_none() {
            return Ok(false);
        }
        let grant = Grant::reconciler(cx, "work", "claim");
        let claimed = self.db.write(cx, &grant, |tx| Box::pin(items::claim(tx, cx, kinds, owner))).await?;
        let Some(item) = claimed else { return Ok(false) };
        let Some(reconciler) = self.reconcilers.iter().find(|reconciler| reconciler.kind() == item.kind)
        else {
            return Ok(false);
        };
        self.step(reconciler.clone(), &item).await?;
        Ok(true)
    }

    async fn step(&self, reconciler: Arc<dyn Reconciler>, item: &Item) -> Result<()> {
        let cx = self.cx.background(&format!("work-{}-{}", item.kind, item.fence));
        let kind = reconciler.kind();
        let turn = Turn {
            grant: Grant::reconciler(&cx, kind, &item.object_id),
            db: self.db.clone(),
            attempts: item.attempts,
            fence: item.fence,
            crash: self.crash.clone(),
            kind,
            cx,
        };
        let id = item.object_id.clone();
        // In a task of its own, so that a panic ends this step and not the worker.
        let step = tokio::spawn(async move {
            let done = AssertUnwindSafe(tokio::time::timeout(STEP_LIMIT, reconciler.step(&turn, &id)));
            done.0.await.unwrap_or_else(|_| Err(Error::unavailable("the step took too long")))
        });
        let outcome =
            step.await.unwrap_or_else(|panic| Err(Error::internal(format!("the step broke: {panic}"))));
        let (cx, grant) = (&self.cx, Grant::reconciler(&self.cx, kind, &item.object_id));
        let outcome = &outcome;
        self.db
            .write(cx, &grant, |tx| {
                Box::pin(async move {
                    match outcome {
                        Ok(Outcome::Done) => items::finish(tx, cx, item).await,
                        Ok(Outcome::Again) => items::release(tx, cx, item, Duration::ZERO, None, 0).await,
                        Ok(Outcome::Wait { at_most, reason }) => {
                            items::release(tx, cx, item, *at_most, Some(reason), 0).await
                        }
                        Err(error) => {
                            let pause = Duration::from_millis(250 << item.attempts.min(8)).min(PAUSE_LIMIT);
                            tracing::warn!(kind, id = item.object_id, attempts = item.attempts + 1, %error, "step failed");
                            let reason = error.detail();
                            items::release(tx, cx, item, pause, Some(&reason), item.attempts + 1).await
                        }
                    }
                })
            })
            .await
    }
}
