//! `hanse admin orphans`: what is left of projects and users that are no more. A project is deleted without what is in
//! it, as in Keystone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hanse_core::{Cx, Error, Kind, Result};
use hanse_network::Network;
use hanse_policy::Caller;
use hanse_store::{Db, Owned, OwnedTable};
use hanse_volume::Volume;
use serde_json::{Value, json};

/// How long a server or a volume may take to go before the next one's turn, and between two looks.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// The services that own something.
pub struct Owners {
    pub db: Db,
    pub compute: hanse_compute::Deps,
    pub network: Network,
    pub volume: Volume,
    pub image: hanse_image::Deps,
}

/// Who owns the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Project,
    User,
}

/// All tables, in the order in which their rows can go: a server holds on to ports and volumes.
fn tables() -> impl Iterator<Item = (Owner, &'static OwnedTable)> {
    let of_projects = [
        hanse_compute::orphans::OWNED,
        hanse_network::orphans::OWNED,
        hanse_volume::orphans::OWNED,
        hanse_image::orphans::OWNED,
    ];
    let of_projects = of_projects.into_iter().flatten().map(|table| (Owner::Project, table));
    of_projects.chain(hanse_compute::orphans::OWNED_BY_USERS.iter().map(|table| (Owner::User, table)))
}

/// What is left over, as a person and as a program reads it.
pub fn view(left: &[Owned]) -> Value {
    let line = |owned: &Owned| json!({ "kind": owned.kind, "id": owned.id, "name": owned.name, "owner_id": owned.owner });
    left.iter().map(line).collect()
}

pub fn describe(owned: &Owned) -> String {
    format!("{} {} \"{}\" of {}", owned.kind, owned.id, owned.name.escape_debug(), owned.owner)
}

/// So many of each kind: `2 servers, 1 network`.
pub fn summary(left: &[Owned]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    left.iter().for_each(|owned| *counts.entry(owned.kind).or_default() += 1);
    let plural =
        |(kind, count): (&&str, &usize)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" });
    counts.iter().map(plural).collect::<Vec<_>>().join(", ")
}

impl Owners {
    /// Everything whose project or user does not exist (any more); of one project only, if it is named.
    ///
    /// # Errors
    /// 409 if that project exists.
    pub async fn list(&self, project: Option<&str>) -> Result<Vec<Owned>> {
        if let Some(project) = project
            && !hanse_identity::existing_projects(&self.db, &[project.to_owned()]).await?.is_empty()
        {
            return Err(Error::conflict(format!("The project {project} exists: what it has is its own.")));
        }
        let mut left = Vec::new();
        for (owner, table) in tables() {
            left.extend(self.left_in(owner, table, project).await?);
        }
        Ok(left)
    }

    /// Identity is asked after the table: whoever owned something and is not there now will not come back.
    async fn left_in(&self, owner: Owner, table: &OwnedTable, project: Option<&str>) -> Result<Vec<Owned>> {
        let mut owners = table.owners(&mut self.db.read().await?).await?;
        let existing = match owner {
            Owner::Project => {
                owners.retain(|owner| project.is_none_or(|project| project == owner));
                hanse_identity::existing_projects(&self.db, &owners).await?
            }
            Owner::User if project.is_some() => return Ok(Vec::new()),
            Owner::User => hanse_identity::existing_users(&self.db, &owners).await?,
        };
        owners.retain(|owner| !existing.contains(owner));
        table.of(&mut self.db.read().await?, &owners).await
    }

    /// Deletes what is left, kind by kind, in the ways of the APIs, and tells of each. Run again, it goes on.
    ///
    /// `running` says whether the control plane is there, without which servers and volumes do not go. Returns what
    /// has not gone, with the reason.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn purge(
        &self,
        cx: &Cx,
        project: Option<&str>,
        running: impl Fn() -> bool,
        tell: impl Fn(&str),
    ) -> Result<Vec<(Owned, String)>> {
        let mut stayed = Vec::new();
        for (owner, table) in tables() {
            let mut asked = BTreeSet::new();
            let mut reasons = BTreeMap::new();
            let mut seen = usize::MAX;
            let mut patience = PATIENCE;
            loop {
                let left = self.left_in(owner, table, project).await?;
                for owned in &left {
                    let key = (owned.owner.clone(), owned.id.clone());
                    if asked.contains(&key) {
                        continue;
                    }
                    match self.delete(cx, owned).await {
                        Ok(()) => {
                            tell(&format!("deleted: {}", describe(owned)));
                            asked.insert(key);
                        }
                        Err(error) if error.kind() == Kind::NotFound => _ = asked.insert(key),
                        Err(error) => _ = reasons.insert(key, error.detail()),
                    }
                }
                let left = self.left_in(owner, table, project).await?;
                if left.is_empty() || patience.is_zero() || !running() {
                    for owned in left {
                        let reason = reasons.remove(&(owned.owner.clone(), owned.id.clone()));
                        let reason = reason.unwrap_or_else(|| match running() {
                            true => "its node has not taken it away yet".to_owned(),
                            false => "it goes when the cloud runs".to_owned(),
                        });
                        stayed.push((owned, reason));
                    }
                    if !asked.is_empty() && !stayed.is_empty() && !running() {
                        // What stands behind servers and volumes has to wait for them.
                        return Ok(stayed);
                    }
                    break;
                }
                // What only waits for its node gets time; what was refused would be refused again.
                let waits = left.iter().any(|owned| asked.contains(&(owned.owner.clone(), owned.id.clone())));
                patience = match left.len() < seen && waits {
                    true => PATIENCE,
                    false if waits => patience.saturating_sub(LOOK),
                    false => Duration::ZERO,
                };
                seen = left.len();
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(stayed)
    }

    async fn delete(&self, cx: &Cx, owned: &Owned) -> Result<()> {
        let operator = &Caller::operator();
        match owned.kind {
            "server" | "key pair" => {
                hanse_compute::orphans::delete_owned(&self.compute, cx, operator, owned).await
            }
            "volume" => self.volume.delete_owned(cx, operator, owned).await,
            "image" => hanse_image::orphans::delete_owned(&self.image, cx, operator, owned).await,
            _ => self.network.delete_owned(cx, operator, owned).await,
        }
    }
}
