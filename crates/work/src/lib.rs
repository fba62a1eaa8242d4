//! Durable work.
//!
//! An API call writes what the user wants and, in the same transaction, [`wake`]s the reconciler that will make it
//! so. A reconciler takes no input but the id: it reads the rows, does one idempotent step, and says whether there is
//! a next one. Work is claimed by an expiring lease with a fencing token, so any number of processes may run the same
//! reconcilers, and a process that died mid-step loses nothing (DESIGN I2–I4).

mod items;
mod runner;

use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{CrashPoints, Cx, Result};
use hanse_policy::Grant;
use hanse_store::{Db, Migration, Migrations, Step, Tx};

pub use items::{Backlog, backlog, wake};
pub use runner::Runner;

pub const MIGRATIONS: Migrations = Migrations {
    service: "work",
    steps: &[Migration { version: 1, name: "work", sql: include_str!("../migrations/0001_work.sql") }],
};

/// The right to write of a part of the control plane that acts on nobody's behalf: the hub of the agents.
pub fn system_grant(cx: &Cx, part: &'static str, id: &str) -> Grant {
    Grant::reconciler(cx, part, id)
}

/// What a step says at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is another step to do at once.
    Again,
    /// Something else must happen first. It wakes the reconciler; the time is for the case that it does not.
    Wait { at_most: Duration, reason: String },
    /// The object is in a stable state.
    Done,
}

impl Outcome {
    pub fn wait(at_most: Duration, reason: impl Into<String>) -> Outcome {
        Outcome::Wait { at_most, reason: reason.into() }
    }
}

/// Brings the objects of one kind, step by step, to the state that is wanted.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// As it stands in the table: `compute.servers`.
    fn kind(&self) -> &'static str;

    /// Does one idempotent step for the object. It may have been done before, in part or whole.
    ///
    /// # Errors
    /// The step runs again, after a pause that grows. What cannot succeed must end in an ERROR state of the object.
    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome>;
}

/// The right to do one step for one object, for as long as the lease lasts.
pub struct Turn {
    pub cx: Cx,
    /// How many times in a row this object's step has failed.
    pub attempts: u32,
    db: Db,
    grant: Grant,
    fence: i64,
    kind: &'static str,
    crash: CrashPoints,
}

impl Turn {
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The fencing token: grows with every claim of the object, and travels with every external effect.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Passes a named crash point; there is one between any two external effects.
    ///
    /// # Errors
    /// Only what a test injects.
    pub fn crash_point(&self, name: &'static str) -> Result<()> {
        self.crash.pass(name)
    }

    /// Writes as this reconciler, if it still holds the lease: a process that was suspended for an hour changes
    /// nothing when it wakes up.
    ///
    /// # Errors
    /// 409 when the lease is lost; else as [`Db::write`].
    pub async fn write<'a, T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> Fn(&'t mut Tx<'a>) -> Step<'t, T>,
    {
        let condition = items::lease(self.kind, self.grant.target(), self.fence);
        self.db.write_if(&self.cx, &self.grant, Some(&condition), work).await
    }
}
