//! Identity as this process knows it: all that deciding about a token takes, in memory.
//!
//! A snapshot is loaded whole when the revision in the database has moved. That is one pass over the tables for each
//! write anywhere, which suits tens of thousands of users, not millions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};
use hanse_policy::{Caller, DomainRef, ProjectRef, Role, TokenScope};
use hanse_store::{Conn, Db};
use tokio::sync::Mutex;

use crate::db;
use crate::model::Site;
use crate::token::{AuditId, Payload};

/// How long another process may keep believing in a token that has died.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) domain_id: String,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) default_project_id: Option<String>,
    pub(crate) epoch: u32,
}

/// A project or a domain.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) domain_id: String,
    pub(crate) is_domain: bool,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) epoch: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    revision: i64,
    people: HashMap<String, Person>,
    places: HashMap<String, Place>,
    /// By domain, then by name; domains themselves stand under ''.
    people_names: HashMap<String, HashMap<String, String>>,
    place_names: HashMap<String, HashMap<String, String>>,
    roles: HashMap<String, Role>,
    /// Each role with all that it implies, itself first.
    implied: HashMap<String, Vec<String>>,
    assigned: HashMap<String, Vec<(Site, String)>>,
    revoked: HashSet<AuditId>,
}

impl Snapshot {
    /// Reads everything. What commits meanwhile may be in it or not: the revision, read first, is then too low, and
    /// the next look loads again.
    async fn load(conn: &mut Conn, now: Timestamp) -> Result<Snapshot> {
        let mut snapshot = Snapshot { revision: db::revision::read(conn).await?, ..Snapshot::default() };
        for place in db::projects::places(conn).await? {
            let names = snapshot.place_names.entry(place.domain_id.clone()).or_default();
            names.insert(place.name.clone(), place.id.clone());
            snapshot.places.insert(place.id.clone(), place);
        }
        for person in db::users::people(conn).await? {
            let names = snapshot.people_names.entry(person.domain_id.clone()).or_default();
            names.insert(person.name.clone(), person.id.clone());
            snapshot.people.insert(person.id.clone(), person);
        }
        for role in db::roles::all(conn).await? {
            snapshot.roles.insert(role.id.clone(), Role { id: role.id, name: role.name });
        }
        snapshot.implied = closure(snapshot.roles.keys(), &db::roles::implications(conn).await?);
        for (_, assignment) in db::assignments::all(conn).await? {
            let held = snapshot.assigned.entry(assignment.user_id).or_default();
            held.push((assignment.site, assignment.role_id));
        }
        snapshot.revoked = db::revocations::current(conn, now).await?;
        Ok(snapshot)
    }

    pub(crate) fn person(&self, id: &str) -> Option<&Person> {
        self.people.get(id)
    }

    pub(crate) fn person_named(&self, domain_id: &str, name: &str) -> Option<&Person> {
        self.people_names.get(domain_id)?.get(name).and_then(|id| self.people.get(id))
    }

    pub(crate) fn role(&self, id: &str) -> Option<&Role> {
        self.roles.get(id)
    }

    pub(crate) fn domain(&self, id: &str) -> Option<&Place> {
        self.places.get(id).filter(|place| place.is_domain)
    }

    pub(crate) fn domain_named(&self, name: &str) -> Option<&Place> {
        self.place_names.get("")?.get(name).and_then(|id| self.places.get(id))
    }

    pub(crate) fn project(&self, id: &str) -> Option<&Place> {
        self.places.get(id).filter(|place| !place.is_domain)
    }

    pub(crate) fn project_named(&self, domain_id: &str, name: &str) -> Option<&Place> {
        // Under '' stand domains, which are no projects.
        if domain_id.is_empty() {
            return None;
        }
        self.place_names.get(domain_id)?.get(name).and_then(|id| self.places.get(id))
    }

    pub(crate) fn domain_ref(&self, id: &str) -> Option<DomainRef> {
        self.domain(id).map(|domain| DomainRef { id: domain.id.clone(), name: domain.name.clone() })
    }

    /// The user, if neither they nor their domain are disabled.
    pub(crate) fn live_person(&self, id: &str) -> Option<&Person> {
        self.people.get(id).filter(|person| person.enabled && self.is_live_domain(&person.domain_id))
    }

    fn is_live_domain(&self, id: &str) -> bool {
        self.domain(id).is_some_and(|domain| domain.enabled)
    }

    /// The scope and its epoch, if neither it nor its domain are disabled.
    pub(crate) fn live_site(&self, site: &Site) -> Option<(TokenScope, u32)> {
        match site {
            Site::System => Some((TokenScope::System, 0)),
            Site::Domain(id) => {
                let domain = self.domain(id).filter(|domain| domain.enabled)?;
                Some((TokenScope::Domain(self.domain_ref(id)?), domain.epoch))
            }
            Site::Project(id) => {
                let project = self.project(id).filter(|project| project.enabled)?;
                if !self.is_live_domain(&project.domain_id) {
                    return None;
                }
                let domain = self.domain_ref(&project.domain_id)?;
                let scope = ProjectRef { id: project.id.clone(), name: project.name.clone(), domain };
                Some((TokenScope::Project(scope), project.epoch))
            }
        }
    }

    /// The roles that a user has there, implied ones included, ordered by name.
    pub(crate) fn roles(&self, user_id: &str, site: &Site) -> Vec<Role> {
        let held = self.assigned.get(user_id).map(Vec::as_slice).unwrap_or_default();
        let direct = held.iter().filter(|(at, _)| at == site).map(|(_, role)| role);
        let ids: BTreeSet<&String> = direct.flat_map(|role| self.implied_by(role)).collect();
        let mut roles: Vec<Role> = ids.into_iter().filter_map(|id| self.roles.get(id)).cloned().collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        roles
    }

    /// The role itself and all that it implies.
    pub(crate) fn implied_by(&self, role_id: &str) -> &[String] {
        self.implied.get(role_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where the user has any role.
    pub(crate) fn sites(&self, user_id: &str) -> BTreeSet<Site> {
        let held = self.assigned.get(user_id).map(Vec::as_slice).unwrap_or_default();
        held.iter().map(|(site, _)| site.clone()).collect()
    }

    /// What a token is worth now; `None` if it is dead.
    pub(crate) fn caller(&self, now: Timestamp, payload: &Payload) -> Option<Caller> {
        if now >= payload.expires_at || self.revoked.contains(&payload.audit_id) {
            return None;
        }
        let person = self.live_person(&payload.user_id)?;
        if person.epoch != payload.user_epoch {
            return None;
        }
        let (scope, roles) = match &payload.site {
            None => (TokenScope::Unscoped, Vec::new()),
            Some(site) => {
                let (scope, epoch) = self.live_site(site)?;
                let roles = self.roles(&person.id, site);
                if roles.is_empty() || epoch != payload.site_epoch {
                    return None;
                }
                (scope, roles)
            }
        };
        Some(Caller {
            user_id: person.id.clone(),
            user_name: person.name.clone(),
            user_domain: self.domain_ref(&person.domain_id)?,
            scope,
            roles,
            expires_at: payload.expires_at,
            audit_ids: payload.audit_ids(),
        })
    }
}

/// Each role with all that it implies over any number of steps; circles do no harm.
fn closure<'a>(
    roles: impl Iterator<Item = &'a String>,
    implications: &[(String, String)],
) -> HashMap<String, Vec<String>> {
    let mut next: HashMap<&str, Vec<&str>> = HashMap::new();
    for (prior, implied) in implications {
        next.entry(prior).or_default().push(implied);
    }
    roles
        .map(|role| {
            let mut reached = vec![role.as_str()];
            let mut at = 0;
            while let Some(&current) = reached.get(at) {
                for &implied in next.get(current).map(Vec::as_slice).unwrap_or_default() {
                    if !reached.contains(&implied) {
                        reached.push(implied);
                    }
                }
                at += 1;
            }
            (role.clone(), reached.into_iter().map(str::to_owned).collect())
        })
        .collect()
}

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
        if latest.snapshot.revision >= revision && latest.confirmed.is_some() {
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
        let snapshot = if revision == latest.snapshot.revision {
            latest.snapshot
        } else {
            Arc::new(Snapshot::load(&mut conn, now).await?)
        };
        self.set(Latest { snapshot: snapshot.clone(), confirmed: Some(now) });
        Ok(snapshot)
    }
}
