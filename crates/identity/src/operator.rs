//! What the operator of the machine may do and ask without an account: `hanse admin`.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result, Secret};
use hanse_crypto::PasswordHasher;
use hanse_policy::{Caller, Grant, Role, Target, Verb};
use hanse_store::Db;

use crate::Identity;
use crate::auth::{DomainNamed, Named};
use crate::compliance::day;
use crate::db;
use crate::db::revision::Touched;
use crate::db::users::NewPassword;
use crate::model::{Assignment, Holder, Site, missing};
use crate::snapshot::{Filter, Held, Person, Place, Snapshot};
use crate::verbs::RESET_PASSWORD;

/// Gives a user another password, which does not expire, and ends all of the user's tokens. An account that was locked
/// or that nobody used for too long is open again: this is how to get back in when no other way is left. The user is named by id, or by name and the name
/// of its domain. A process that serves already sees it within a second.
///
/// # Errors
/// 404 if there is no such user; 400 if the password is one that nobody could use.
pub async fn reset_password(
    db: &Db,
    cx: &Cx,
    hasher: &PasswordHasher,
    user: &str,
    domain: &str,
    password: Secret<String>,
) -> Result<()> {
    crate::users::check_password(&password)?;
    let mut conn = db.read().await?;
    let by_name = Named::Name { name: user.to_owned(), domain: DomainNamed::Name(domain.to_owned()) };
    let found = match db::users::login(&mut conn, &by_name).await? {
        Some(found) => Some(found),
        None => db::users::login(&mut conn, &Named::Id(user.to_owned())).await?,
    };
    drop(conn);
    let id = found.ok_or_else(|| missing("user", user))?.user.id;
    let hash = hasher.hash(cx, password).await?;
    let (grant, hash, now) = (&Grant::operator(cx, RESET_PASSWORD, id), hash.as_str(), cx.now());
    db.write(cx, grant, |tx| {
        Box::pin(async move {
            db::users::set_password(tx, grant, &NewPassword::of_operator(hash), now).await?;
            db::users::note_active(tx, grant.target(), day(now)).await?;
            db::revision::bump(tx, [Touched::User(grant.target().to_owned())]).await
        })
    })
    .await
    .map(drop)
}

/// A way in which somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// What their token has to be good for: `project web in Default`.
    pub scope: String,
    /// The roles there that come from one assignment, implied ones included.
    pub roles: Vec<String>,
    /// That assignment: `role admin on domain Default, given to group operators, inherited`.
    pub through: String,
}

/// Who asks what: whether `user` may do `verb` to `target`.
pub struct Question<'q> {
    /// Id, or name that nobody else has.
    pub user: &'q str,
    pub verb: Verb,
    /// Id or name of the user, project or domain that the verb acts on or in; `system` for what belongs to none.
    pub target: &'q str,
}

/// Every way in which the user may do that now; none if they may not.
///
/// # Errors
/// 404 if user or target are not there or disabled, 409 if a name stands for several.
pub async fn explain(identity: &Identity, cx: &Cx, question: &Question<'_>) -> Result<Vec<Way>> {
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let person = snapshot.the_person(question.user)?;
    if snapshot.live_person(&person.id).is_none() {
        return Err(Error::conflict(format!("The user {} or their domain is disabled.", person.name)));
    }
    let target = snapshot.target(question.target)?;
    let filter = Filter { user_id: Some(person.id.to_string()), effective: true, ..Filter::default() };
    let mut ways: BTreeMap<(Site, Assignment), Vec<Role>> = BTreeMap::new();
    for Held { held, through } in snapshot.assignments(&filter, None, usize::MAX) {
        let role = snapshot.role(&held.role_id).ok_or_else(|| missing("role", &held.role_id))?;
        let role = Role { id: role.id.to_string(), name: role.name.clone() };
        ways.entry((held.site, through)).or_default().push(role);
    }
    let mut found = Vec::new();
    for ((site, through), roles) in ways {
        let Some((scope, _)) = snapshot.live_site(&site) else { continue };
        let mut names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
        names.sort_unstable();
        let caller = Caller {
            user_id: person.id.to_string(),
            user_name: person.name.clone(),
            user_domain: snapshot
                .domain_ref(&person.domain_id)
                .ok_or_else(|| missing("domain", &person.domain_id))?,
            scope,
            roles,
            expires_at: cx.now(),
            audit_ids: Vec::new(),
            delegation: None,
        };
        if caller.authorize(cx, question.verb, target.clone()).is_ok() {
            found.push(Way {
                scope: snapshot.title(&site),
                roles: names,
                through: snapshot.origin(&through),
            });
        }
    }
    Ok(found)
}

/// The only one of these, or an error that says why there is none.
fn the_only<T>(what: &str, named: &str, mut found: impl Iterator<Item = T>) -> Result<T> {
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(missing(what, named)),
        (Some(_), Some(_)) => Err(Error::conflict(format!("Several have the name {named}: say the id."))),
    }
}

impl Snapshot {
    pub(crate) fn the_project(&self, named: &str) -> Result<&Place> {
        let named_so = |place: &&Place| place.name == named && !place.is_domain;
        let by_name = || the_only("project", named, self.places().filter(named_so));
        self.project(named).map_or_else(by_name, Ok)
    }

    pub(crate) fn the_person(&self, named: &str) -> Result<&Person> {
        let by_name = || the_only("user", named, self.people().filter(|person| person.name == named));
        self.person(named).map_or_else(by_name, Ok)
    }

    fn target(&self, named: &str) -> Result<Target> {
        if named == "system" {
            return Ok(Target::new(named));
        }
        let mut places = self.places().filter(|place| place.name == named).peekable();
        let place = match self.place(named) {
            Some(place) => Some(place),
            None if places.peek().is_some() => Some(the_only("project", named, places)?),
            None => None,
        };
        let person = || self.the_person(named).map_err(|_| missing("user, project or domain", named));
        Ok(match place {
            Some(Place { id, is_domain: true, .. }) => Target::new(&**id).in_domain(&**id),
            Some(place) => Target::new(&*place.id).in_project(&*place.id).in_domain(&*place.domain_id),
            None => {
                let person = person()?;
                Target::new(&*person.id).of_user(&*person.id).in_domain(&*person.domain_id)
            }
        })
    }

    fn title(&self, site: &Site) -> String {
        let name = |id: &str| self.place(id).map_or_else(|| id.to_owned(), |place| place.name.clone());
        match site {
            Site::System => "the system".to_owned(),
            Site::Domain(id) => format!("domain {}", name(id)),
            Site::Project(id) => {
                let domain = self.project(id).map(|project| name(&project.domain_id)).unwrap_or_default();
                format!("project {} in {domain}", name(id))
            }
        }
    }

    fn origin(&self, assignment: &Assignment) -> String {
        let role = self.role(&assignment.role_id).map_or(&*assignment.role_id, |role| &role.name);
        let given = match &assignment.holder {
            Holder::User(_) => String::new(),
            Holder::Group(id) => {
                let name = self.group(id).map_or(&**id, |group| &group.name);
                format!(", given to group {name}")
            }
        };
        let inherited = if assignment.inherited { ", inherited" } else { "" };
        format!("role {role} on {}{given}{inherited}", self.title(&assignment.site))
    }
}
