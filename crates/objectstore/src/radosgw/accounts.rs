//! Keeps the users that radosgw has for projects as the projects are: their limits, and whether anybody may in.
//!
//! One item of durable work stands for all of them. Each pass reads what there is on both sides and sets what differs, so that
//! one that was cut off is simply made again. A project that was disabled or deleted has its user suspended; nothing is ever
//! deleted, as our own engine deletes nothing of such projects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Cx, Result};
use hanse_store::{Db, Select, query};
use hanse_work::{Outcome, Reconciler, Turn};
use tokio::sync::Mutex;

use super::admin::{Admin, Wanted};
use crate::ports::{Limits, Project, Projects, Quota};

/// As it stands in the table of work.
pub const KIND: &str = "objectstore.radosgw";
/// The one item.
const ALL: &str = "accounts";
/// From the end of one pass to the next: a limit that was changed counts after this time at the latest.
const EVERY: Duration = Duration::from_secs(10);
/// What was set is believed to stand for so many passes; then it is looked at again, since others may change it.
const BELIEVED: u32 = 30;
/// Projects of one step, which has to end before its lease does.
const BATCH: usize = 100;

/// Makes the reconciler begin, and go on for ever.
///
/// # Errors
/// If the database fails.
pub async fn begin(db: &Db, cx: &Cx) -> Result<()> {
    let grant = hanse_work::system_grant(cx, KIND, ALL);
    db.write(cx, &grant, |tx| Box::pin(hanse_work::wake(tx, cx, KIND, ALL))).await
}

/// The reconciler.
pub struct Accounts {
    admin: Arc<Admin>,
    projects: Arc<dyn Projects>,
    limits: Arc<dyn Limits>,
    db: Db,
    pass: Mutex<Pass>,
}

/// What this process remembers; without it everything is looked at anew.
#[derive(Default)]
struct Pass {
    number: u32,
    /// What is still to be done.
    due: VecDeque<Due>,
    settled: BTreeMap<String, Wanted>,
}

enum Due {
    Settle(Project, Wanted),
    /// The project is no more.
    Suspend(String),
}

impl Accounts {
    pub fn new(admin: Arc<Admin>, projects: Arc<dyn Projects>, limits: Arc<dyn Limits>, db: Db) -> Accounts {
        Accounts { admin, projects, limits, db, pass: Mutex::default() }
    }

    /// What has to be set or looked at. A project without limits gets its user from radosgw, when it needs one.
    async fn plan(&self, turn: &Turn, settled: &mut BTreeMap<String, Wanted>) -> Result<VecDeque<Due>> {
        // Identity is asked last: whoever has a user and is not there now will not come back.
        let mut there: BTreeSet<String> = self.admin.projects().await?.into_iter().collect();
        let known: Vec<(String,)> =
            Select::from("radosgw_accounts", "project_id").unordered(&mut self.db.read().await?).await?;
        let known: BTreeSet<String> = known.into_iter().map(|(id,)| id).collect();
        let mut due = VecDeque::new();
        let mut new = Vec::new();
        for project in self.projects.all(&turn.cx).await? {
            let quota = self.limits.of(&turn.cx, &project.id).await?;
            let has_user = there.remove(&project.id);
            if !has_user && (quota == Quota::default() || !project.enabled) {
                continue;
            }
            if !known.contains(&project.id) {
                new.push(project.id.clone());
            }
            let wanted = Wanted { is_suspended: !project.enabled, quota };
            if !has_user || settled.get(&project.id) != Some(&wanted) {
                due.push_back(Due::Settle(project, wanted));
            }
        }
        due.extend(there.into_iter().filter(|id| known.contains(id)).map(Due::Suspend));
        note(turn, &new).await?;
        Ok(due)
    }

    async fn settle(&self, due: &Due, settled: &mut BTreeMap<String, Wanted>) -> Result<()> {
        match due {
            Due::Settle(project, wanted) => {
                if self.admin.settle(&project.id, &project.name, wanted).await? {
                    tracing::info!(project_id = project.id, ?wanted, "radosgw knows what a project may have");
                }
                settled.insert(project.id.clone(), wanted.clone());
            }
            Due::Suspend(project_id) => self.admin.suspend(project_id).await?,
        }
        Ok(())
    }
}

/// Writes down whose users are ours, before anything is done with them.
async fn note(turn: &Turn, project_ids: &[String]) -> Result<()> {
    if project_ids.is_empty() {
        return Ok(());
    }
    turn.write(|tx| {
        Box::pin(async move {
            for id in project_ids {
                query("INSERT INTO radosgw_accounts (project_id) VALUES ($1) ON CONFLICT (project_id) DO NOTHING")
                    .bind(id)
                    .execute(tx)
                    .await?;
            }
            Ok(())
        })
    })
    .await
}

#[async_trait]
impl Reconciler for Accounts {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn step(&self, turn: &Turn, _: &str) -> Result<Outcome> {
        let mut pass = self.pass.lock().await;
        let Pass { number, due, settled } = &mut *pass;
        if due.is_empty() {
            if *number % BELIEVED == 0 {
                settled.clear();
            }
            *number = number.wrapping_add(1);
            *due = self.plan(turn, settled).await?;
        }
        for _ in 0..BATCH {
            let Some(next) = due.pop_front() else {
                return Ok(Outcome::wait(EVERY, "limits may change"));
            };
            if let Err(error) = self.settle(&next, settled).await {
                // One that is refused must not hold up the others; what is left is found again by the next pass.
                if self.admin.check().await.is_err() {
                    due.clear();
                    return Err(error);
                }
                tracing::warn!(error = %error.detail(), "the user of a project in radosgw is not as it should be");
            }
        }
        Ok(Outcome::Again)
    }
}
