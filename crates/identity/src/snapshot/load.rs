//! Reading a snapshot: whole, or what was touched since the last one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use hanse_core::{Result, Timestamp};
use hanse_policy::AccessRule;
use hanse_store::Conn;

use super::known_keys::KnownKeys;
use super::{
    ApplicationCredential, Assigned, ById, Ec2Credential, Group, Id, KnownRole, Person, Place, SiteKind,
    Snapshot,
};
use crate::db;
use crate::db::revision::Touched;
use crate::model::{Assignment, Holder, Site};
use crate::token::AuditId;
use crate::trusts::Trust;

/// More touched rows than this are read faster with all the others.
const PIECES_MAX: usize = 400;

/// Gives one allocation to equal ids.
#[derive(Default)]
struct Interner(HashSet<Id>);

impl Interner {
    fn intern(&mut self, text: &str) -> Id {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let id: Id = text.into();
        self.0.insert(id.clone());
        id
    }

    fn assigned(&mut self, assignment: &Assignment) -> Assigned {
        let (kind, place) = match &assignment.site {
            Site::Project(id) => (SiteKind::Project, id.as_str()),
            Site::Domain(id) => (SiteKind::Domain, id.as_str()),
            Site::System => (SiteKind::System, ""),
        };
        let (place, role) = (self.intern(place), self.intern(&assignment.role_id));
        Assigned { kind, inherited: assignment.inherited, place, role }
    }
}

/// What the rows of the tables make, for all or for some of them.
#[derive(Default)]
struct Pieces {
    people: ById<Person>,
    groups: ById<Group>,
    places: ById<Place>,
}

/// Which rows to read of a kind: those of these ids, or all.
type Which<'w> = Option<&'w [String]>;

async fn pieces(
    conn: &mut Conn,
    known: &mut Interner,
    people: Which<'_>,
    groups: Which<'_>,
    places: Which<'_>,
) -> Result<Pieces> {
    let mut made = Pieces::default();
    let mut held: HashMap<Holder, Vec<Assigned>> = HashMap::new();
    db::assignments::each(conn, people, groups, |assignment| {
        let assigned = known.assigned(&assignment);
        held.entry(assignment.holder).or_default().push(assigned);
    })
    .await?;
    let mut member_of: HashMap<String, Vec<Id>> = HashMap::new();
    for (group, user) in db::groups::memberships(conn, people).await? {
        member_of.entry(user).or_default().push(known.intern(&group));
    }
    for user in db::users::people(conn, people).await? {
        let id = known.intern(&user.id);
        let person = Person {
            id: id.clone(),
            domain_id: known.intern(&user.domain_id),
            name: user.name,
            enabled: user.enabled,
            default_project_id: user.default_project_id,
            epoch: db::epoch(user.token_epoch)?,
            password_expires_at: user.password_expires_at,
            mfa_rules: crate::users::mfa_rules(&user.options).into(),
            groups: member_of.remove(&user.id).unwrap_or_default().into(),
            assigned: held.remove(&Holder::User(user.id)).unwrap_or_default().into(),
        };
        made.people.insert(id, Arc::new(person));
    }
    for group in db::groups::some(conn, groups).await? {
        let id = known.intern(&group.id);
        let group = Group {
            id: id.clone(),
            domain_id: known.intern(&group.domain_id),
            name: group.name,
            assigned: held.remove(&Holder::Group(group.id)).unwrap_or_default().into(),
        };
        made.groups.insert(id, Arc::new(group));
    }
    for project in db::projects::places(conn, places).await? {
        let id = known.intern(&project.id);
        let place = Place {
            id: id.clone(),
            domain_id: known.intern(&project.domain_id),
            parent_id: known.intern(&project.parent_id),
            is_domain: project.is_domain,
            name: project.name,
            enabled: project.enabled,
            epoch: db::epoch(project.token_epoch)?,
        };
        made.places.insert(id, Arc::new(place));
    }
    Ok(made)
}

async fn roles(conn: &mut Conn, known: &mut Interner) -> Result<HashMap<Id, KnownRole>> {
    let rows = db::roles::all(conn).await?;
    let mut implies = closure(rows.iter().map(|role| &role.id), &db::roles::implications(conn).await?);
    let mut roles = HashMap::new();
    for row in rows {
        let id = known.intern(&row.id);
        let implies = implies.remove(&row.id).unwrap_or_default();
        let implies = implies.iter().map(|role| known.intern(role)).collect();
        roles.insert(id.clone(), KnownRole { id, name: row.name, domain_id: row.domain_id, implies });
    }
    Ok(roles)
}

async fn application_credentials(
    conn: &mut Conn,
    known: &mut Interner,
    which: Which<'_>,
) -> Result<ById<ApplicationCredential>> {
    let rows = db::application_credentials::some(conn, which).await?;
    let ids: Vec<String> = rows.iter().flat_map(|row| row.access_rules.clone().unwrap_or_default()).collect();
    let rules = match which {
        None => db::application_credentials::rules_of(conn, None).await?,
        Some(_) => db::application_credentials::rules_of(conn, Some(&ids)).await?,
    };
    let rules: HashMap<&str, AccessRule> = rules
        .iter()
        .map(|rule| {
            let (service, method, path) = (rule.service.clone(), rule.method.clone(), rule.path.clone());
            (rule.id.as_str(), AccessRule { service, method, path })
        })
        .collect();
    let mut made = ById::new();
    for row in rows {
        let own = row.access_rules.as_ref();
        let own = own.map(|ids| ids.iter().filter_map(|id| rules.get(id.as_str()).cloned()).collect());
        let credential = ApplicationCredential {
            user_id: known.intern(&row.user_id),
            project_id: known.intern(&row.project_id),
            name: row.name,
            roles: row.roles.iter().map(|role| known.intern(role)).collect(),
            expires_at: row.expires_at,
            unrestricted: row.unrestricted,
            access_rules: own,
        };
        made.insert(known.intern(&row.id), Arc::new(credential));
    }
    Ok(made)
}

async fn trusts(conn: &mut Conn, known: &mut Interner, which: Which<'_>) -> Result<ById<Trust>> {
    let rows = db::trusts::some(conn, which).await?;
    Ok(rows.into_iter().map(|row| (known.intern(&row.id), Arc::new(row))).collect())
}

async fn ec2_credentials(
    conn: &mut Conn,
    known: &mut Interner,
    which: Which<'_>,
) -> Result<HashMap<Id, Arc<Ec2Credential>>> {
    let mut made = HashMap::new();
    for row in db::credentials::ec2(conn, which).await? {
        let Some(access_hash) = &row.access_hash else { continue };
        let credential = Ec2Credential {
            id: known.intern(&row.id),
            user_id: known.intern(&row.user_id),
            project_id: row.project_id.as_deref().map(|id| known.intern(id)),
            blob: row.blob.into(),
        };
        made.insert(known.intern(access_hash), Arc::new(credential));
    }
    Ok(made)
}

impl Snapshot {
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Reads everything. What commits meanwhile may be in it or not: the revision, read before, is then too low, and
    /// the next look reads it again.
    pub(super) async fn load(conn: &mut Conn, revision: i64, now: Timestamp) -> Result<Snapshot> {
        let mut known = Interner::default();
        let made = pieces(conn, &mut known, None, None, None).await?;
        Ok(Snapshot {
            revision,
            people: Arc::new(made.people),
            groups: Arc::new(made.groups),
            places: Arc::new(made.places),
            roles: Arc::new(roles(conn, &mut known).await?),
            catalog: Arc::new(db::catalog::listing(conn).await?),
            application_credentials: Arc::new(application_credentials(conn, &mut known, None).await?),
            trusts: Arc::new(trusts(conn, &mut known, None).await?),
            ec2_credentials: Arc::new(ec2_credentials(conn, &mut known, None).await?),
            revoked: Arc::new(db::revocations::current(conn, now).await?),
            known_keys: KnownKeys::default(),
        })
    }

    /// The snapshot of a later revision. Reads what was touched since, or everything if that is too much.
    pub(super) async fn advance(&self, conn: &mut Conn, revision: i64, now: Timestamp) -> Result<Snapshot> {
        let touched = db::revision::touched(conn, self.revision, revision).await?;
        let touched: Option<BTreeSet<Touched>> = touched.map(|all| all.into_iter().collect());
        let touched = match touched {
            Some(parts) if parts.len() <= PIECES_MAX && !parts.contains(&Touched::Everything) => parts,
            _ => return Snapshot::load(conn, revision, now).await,
        };
        let (mut people, mut groups, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut credentials, mut entrusted, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Snapshot { revision, ..self.clone() };
        // Ids of what is read are seldom new to the rest, so a few of them may stand twice in memory.
        let mut known = Interner::default();
        for part in touched {
            match part {
                Touched::User(id) => people.push(id),
                Touched::Group(id) => groups.push(id),
                Touched::Place(id) => places.push(id),
                Touched::ApplicationCredential(id) => credentials.push(id),
                Touched::Trust(id) => entrusted.push(id),
                Touched::Ec2Credential(id) => keys.push(id),
                Touched::Roles => next.roles = Arc::new(roles(conn, &mut known).await?),
                Touched::Catalog => next.catalog = Arc::new(db::catalog::listing(conn).await?),
                Touched::Revocation(id) => {
                    if let Some(id) = AuditId::parse(&id) {
                        Arc::make_mut(&mut next.revoked).insert(id);
                    }
                }
                Touched::Everything => {}
            }
        }
        if people.len() + groups.len() + places.len() > 0 {
            let made = pieces(conn, &mut known, Some(&people), Some(&groups), Some(&places)).await?;
            replace(&mut next.people, &people, made.people);
            replace(&mut next.groups, &groups, made.groups);
            replace(&mut next.places, &places, made.places);
        }
        if !credentials.is_empty() {
            let read = application_credentials(conn, &mut known, Some(&credentials)).await?;
            replace(&mut next.application_credentials, &credentials, read);
        }
        if !entrusted.is_empty() {
            let read = trusts(conn, &mut known, Some(&entrusted)).await?;
            replace(&mut next.trusts, &entrusted, read);
        }
        if !keys.is_empty() {
            let all = Arc::make_mut(&mut next.ec2_credentials);
            all.retain(|id, _| !keys.iter().any(|key| **key == **id));
            all.extend(ec2_credentials(conn, &mut known, Some(&keys)).await?);
        }
        Ok(next)
    }
}

/// Puts what was read in the place of what was touched; what was not found is gone.
fn replace<T>(all: &mut Arc<ById<T>>, touched: &[String], read: ById<T>) {
    if touched.is_empty() {
        return;
    }
    let all = Arc::make_mut(all);
    for id in touched {
        all.remove(id.as_str());
    }
    all.extend(read);
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
