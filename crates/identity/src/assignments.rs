//! Who holds which role where.

use std::sync::Arc;

use hanse_core::{Cx, Error, Kind, Page, Result};
use hanse_policy::{Caller, Scope, Target, Verb};
use hanse_store::Conn;

use crate::Identity;
use crate::db;
use crate::model::{Assignment, Group, Holder, Project, Role, Site, User, missing};
use crate::snapshot::{Filter, Held, Snapshot, place};
use crate::verbs::{
    CHECK_GRANT, CHECK_SYSTEM_GRANT, CREATE_GRANT, CREATE_SYSTEM_GRANT, LIST_GRANTS, LIST_ROLE_ASSIGNMENTS,
    LIST_SYSTEM_GRANTS, REVOKE_GRANT, REVOKE_SYSTEM_GRANT,
};

/// What a domain manager may give and take (SCS-0302): nothing that reaches beyond its own power.
pub(crate) const MANAGED_ROLES: [&str; 3] = ["manager", "member", "reader"];

/// A holder and a place, and whether what is held there is for the projects below.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) holder: Holder,
    pub(crate) site: Site,
    pub(crate) inherited: bool,
}

impl Spot {
    pub(crate) fn with(self, role_id: String) -> Assignment {
        Assignment { holder: self.holder, site: self.site, role_id, inherited: self.inherited }
    }
}

fn pick(site: &Site, elsewhere: Verb, system: Verb) -> Verb {
    if *site == Site::System { system } else { elsewhere }
}

/// The domains of holder and site.
async fn homes(conn: &mut Conn, holder: &Holder, site: &Site) -> Result<(String, Option<String>)> {
    let holder = match holder {
        Holder::User(id) => {
            db::rows::find::<User>(conn, id).await?.ok_or_else(|| missing("user", id))?.domain_id
        }
        Holder::Group(id) => {
            db::rows::find::<Group>(conn, id).await?.ok_or_else(|| missing("group", id))?.domain_id
        }
    };
    let place = match site {
        Site::System => return Ok((holder, None)),
        Site::Project(id) | Site::Domain(id) => db::rows::find::<Project>(conn, id).await?,
    };
    let site = match (site, place) {
        (Site::Domain(_), Some(domain)) if domain.is_domain => domain.id,
        (Site::Domain(id), _) => return Err(missing("domain", id)),
        // Keystone lets a domain stand where a project does: it is one.
        (_, Some(project)) if project.is_domain => project.id,
        (_, Some(project)) => project.domain_id,
        (_, None) => return Err(missing("project", site.columns().1)),
    };
    Ok((holder, Some(site)))
}

/// What the rules ask about: within a domain are only assignments whose holder, place and role all are.
async fn target(conn: &mut Conn, assignment: &Assignment, role: &Role, manages: bool) -> Result<Target> {
    let target = Target::new(assignment.id());
    let (holder, site) = homes(conn, &assignment.holder, &assignment.site).await?;
    let good_role = if manages {
        role.domain_id.is_empty() && MANAGED_ROLES.contains(&role.name.as_str())
    } else {
        role.domain_id.is_empty() || role.domain_id == holder
    };
    Ok(match site {
        Some(domain) if domain == holder && good_role => target.in_domain(domain),
        _ => target,
    })
}

/// Who manages a domain must not come to power by way of somebody who has more, by setting their password or by
/// joining their group: whatever the holder has must be what the caller could have given.
///
/// # Errors
/// 403 if it is more.
pub(crate) async fn check_within_reach(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    holder: &Holder,
) -> Result<()> {
    if caller.is_admin() {
        return Ok(());
    }
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let filter = match holder {
        Holder::User(id) => Filter { user_id: Some(id.clone()), effective: true, ..Filter::default() },
        Holder::Group(id) => Filter { group_id: Some(id.clone()), ..Filter::default() },
    };
    let could_give = |held: &Assignment| {
        let mut roles = snapshot.implied_by(&held.role_id).filter_map(|id| snapshot.role(id));
        snapshot.domain_of(&held.site) == caller.domain_id()
            && roles.all(|role| MANAGED_ROLES.contains(&role.name.as_str()))
    };
    if snapshot.assignments(&filter, None, usize::MAX).iter().all(|line| could_give(&line.held)) {
        return Ok(());
    }
    Err(Error::forbidden("They hold more than a manager of the domain may give: ask an administrator."))
}

/// What is not there is answered as what lies elsewhere is: 403 to whoever may not go everywhere.
fn or_forbidden<T>(found: Result<T>, cx: &Cx, caller: &Caller, verb: Verb, id: &str) -> Result<T> {
    match found {
        Err(error) if error.kind() == Kind::NotFound => {
            caller.authorize(cx, verb, Target::new(id))?;
            Err(error)
        }
        other => other,
    }
}

async fn role(conn: &mut Conn, id: &str) -> Result<Role> {
    db::rows::find(conn, id).await?.ok_or_else(|| missing("role", id))
}

/// Asks first whether the caller may do such a thing at all, so that nobody learns what there is.
async fn authorize(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    assignment: &Assignment,
) -> Result<hanse_policy::Grant> {
    caller.scope(verb)?;
    let mut conn = identity.0.db.read().await?;
    let role = role(&mut conn, &assignment.role_id).await?;
    let target = target(&mut conn, assignment, &role, true).await;
    caller.authorize(cx, verb, or_forbidden(target, cx, caller, verb, &assignment.id())?)
}

pub(crate) async fn create(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    assignment: &Assignment,
) -> Result<()> {
    let verb = pick(&assignment.site, CREATE_GRANT, CREATE_SYSTEM_GRANT);
    let grant = authorize(identity, cx, caller, verb, assignment).await?;
    let (grant, now) = (&grant, cx.now());
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let (_, site) = homes(tx, &assignment.holder, &assignment.site).await?;
                let role = role(tx, &assignment.role_id).await?;
                if !role.domain_id.is_empty() && site.is_none() {
                    return Err(Error::bad_request("A role of a domain cannot be given on the system."));
                }
                if !role.domain_id.is_empty() && site.as_deref() != Some(role.domain_id.as_str()) {
                    return Err(Error::forbidden("The role belongs to another domain."));
                }
                db::assignments::insert(tx, grant, assignment, now).await?;
                Ok(((), db::revision::bump(tx, [assignment.holder.touched()]).await?))
            })
        })
        .await
}

/// # Errors
/// 404 if the role was not given there.
pub(crate) async fn check(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    assignment: &Assignment,
) -> Result<()> {
    let verb = pick(&assignment.site, CHECK_GRANT, CHECK_SYSTEM_GRANT);
    caller.scope(verb)?;
    let mut conn = identity.0.db.read().await?;
    let role = role(&mut conn, &assignment.role_id).await?;
    let target = target(&mut conn, assignment, &role, false).await;
    caller.authorize(cx, verb, or_forbidden(target, cx, caller, verb, &assignment.id())?)?;
    if !db::assignments::exists(&mut conn, assignment).await? {
        return Err(missing("role assignment", assignment.id()));
    }
    Ok(())
}

/// The roles that were given there, implied ones not counted.
pub(crate) async fn list(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    spot: &Spot,
    page: &Page,
) -> Result<(Vec<Role>, bool)> {
    let verb = pick(&spot.site, LIST_GRANTS, LIST_SYSTEM_GRANTS);
    caller.scope(verb)?;
    let mut conn = identity.0.db.read().await?;
    let homes = homes(&mut conn, &spot.holder, &spot.site).await;
    let (holder, site) = or_forbidden(homes, cx, caller, verb, spot.holder.columns().1)?;
    let target = Target::new(spot.holder.columns().1);
    let target = match site {
        Some(domain) if domain == holder => target.in_domain(domain),
        _ => target,
    };
    caller.authorize(cx, verb, target)?;
    let ids = db::assignments::roles(&mut conn, &spot.holder, &spot.site, spot.inherited).await?;
    db::roles::named(&mut conn, &ids, page).await
}

pub(crate) async fn delete(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    assignment: &Assignment,
) -> Result<()> {
    let verb = pick(&assignment.site, REVOKE_GRANT, REVOKE_SYSTEM_GRANT);
    let grant = authorize(identity, cx, caller, verb, assignment).await?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::assignments::delete(tx, grant).await? == 0 {
                    return Err(missing("role assignment", grant.target()));
                }
                let touched = [assignment.holder.touched()];
                Ok(((), db::revision::bump_keeping_an_admin(tx, touched).await?))
            })
        })
        .await
}

/// More places than this are not asked for one by one.
const PLACES_MAX: usize = 500;

/// Who can be in a list about some places or a role, so that a page of it costs the same however many users there are.
async fn holders(identity: &Identity, snapshot: &Snapshot, filter: &Filter) -> Result<Option<Vec<Holder>>> {
    if filter.user_id.is_some() || filter.group_id.is_some() {
        return Ok(None);
    }
    let (places, roles) = snapshot.sources(filter);
    if (places.is_none() && roles.is_none()) || places.as_ref().is_some_and(|all| all.len() > PLACES_MAX) {
        return Ok(None);
    }
    let mut conn = identity.0.db.read().await?;
    let mut found = db::assignments::holders_of_any(&mut conn, places.as_deref(), roles.as_deref()).await?;
    if filter.effective {
        let groups: Vec<String> = found
            .iter()
            .filter_map(|holder| match holder {
                Holder::Group(id) => Some(id.clone()),
                Holder::User(_) => None,
            })
            .collect();
        found.retain(|holder| matches!(holder, Holder::User(_)));
        found.extend(db::groups::members(&mut conn, &groups).await?.into_iter().map(Holder::User));
    }
    found.sort_by_cached_key(place);
    found.dedup();
    Ok(Some(found))
}

/// All that the filter names, and the snapshot that has the names to the ids. Without a limit, everything.
pub(crate) async fn list_all(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    mut filter: Filter,
    marker: Option<&str>,
    limit: Option<u32>,
) -> Result<(Vec<Held>, bool, Arc<Snapshot>)> {
    if let Scope::Domain(id) = caller.scope(LIST_ROLE_ASSIGNMENTS)? {
        filter.domain_id = Some(id);
    }
    // Asks the database: what another process has just written must be in the list.
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    filter.holders = holders(identity, &snapshot, &filter).await?;
    let limit = limit.map_or(usize::MAX - 1, |limit| limit as usize);
    let mut found = snapshot.assignments(&filter, marker, limit);
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more, snapshot))
}
