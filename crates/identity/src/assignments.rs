//! Who holds which role where.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_core::{Cx, Page, Result};
use hanse_policy::{Caller, Scope, Target, Verb};
use hanse_store::Tx;

use crate::Identity;
use crate::db;
use crate::model::{Assignment, Role, Site, missing};
use crate::roles;
use crate::snapshot::Snapshot;
use crate::verbs::{
    CHECK_GRANT, CHECK_SYSTEM_GRANT, CREATE_GRANT, CREATE_SYSTEM_GRANT, LIST_GRANTS, LIST_ROLE_ASSIGNMENTS,
    LIST_SYSTEM_GRANTS, REVOKE_GRANT, REVOKE_SYSTEM_GRANT,
};

#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) user_id: Option<String>,
    pub(crate) role_id: Option<String>,
    pub(crate) site: Option<Site>,
    /// Roles that are implied count as held.
    pub(crate) effective: bool,
}

/// One line of a list: what is held, and the assignment that it comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) held: Assignment,
    pub(crate) through: Assignment,
}

fn pick(site: &Site, elsewhere: Verb, system: Verb) -> Verb {
    if *site == Site::System { system } else { elsewhere }
}

fn target(assignment: &Assignment) -> Target {
    let target = Target::new(assignment.id());
    match &assignment.site {
        Site::Project(id) => target.in_project(id),
        Site::Domain(id) => target.in_domain(id),
        Site::System => target,
    }
}

pub(crate) async fn create(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    assignment: &Assignment,
) -> Result<()> {
    let verb = pick(&assignment.site, CREATE_GRANT, CREATE_SYSTEM_GRANT);
    let grant = caller.authorize(cx, verb, target(assignment))?;
    let (grant, now) = (&grant, cx.now());
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                require_parts(tx, assignment).await?;
                db::assignments::insert(tx, grant, assignment, now).await?;
                Ok(((), db::revision::bump(tx).await?))
            })
        })
        .await
}

/// User, role and scope must be there, within the transaction that joins them.
async fn require_parts(tx: &mut Tx<'_>, assignment: &Assignment) -> Result<()> {
    let (user, role) = (&assignment.user_id, &assignment.role_id);
    db::users::show(tx, &Scope::All, user).await?.ok_or_else(|| missing("user", user))?;
    db::roles::show(tx, role).await?.ok_or_else(|| missing("role", role))?;
    match &assignment.site {
        Site::System => {}
        Site::Project(id) => {
            db::projects::show(tx, &Scope::All, false, id).await?.ok_or_else(|| missing("project", id))?;
        }
        Site::Domain(id) => {
            db::projects::show(tx, &Scope::All, true, id).await?.ok_or_else(|| missing("domain", id))?;
        }
    }
    Ok(())
}

/// # Errors
/// 404 if the user does not hold the role there.
pub(crate) async fn check(identity: &Identity, caller: &Caller, assignment: &Assignment) -> Result<()> {
    caller.scope(pick(&assignment.site, CHECK_GRANT, CHECK_SYSTEM_GRANT))?;
    let mut conn = identity.0.db.read().await?;
    if !db::assignments::exists(&mut conn, assignment).await? {
        return Err(missing("role assignment", assignment.id()));
    }
    Ok(())
}

/// The roles that a user holds there, implied ones not counted.
pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    site: Site,
    page: &Page,
) -> Result<(Vec<Role>, bool)> {
    caller.scope(pick(&site, LIST_GRANTS, LIST_SYSTEM_GRANTS))?;
    let mut conn = identity.0.db.read().await?;
    if db::users::show(&mut conn, &Scope::All, user_id).await?.is_none() {
        return Err(missing("user", user_id));
    }
    let (what, exists) = match &site {
        Site::System => ("system", true),
        Site::Project(id) => {
            ("project", db::projects::show(&mut conn, &Scope::All, false, id).await?.is_some())
        }
        Site::Domain(id) => ("domain", db::projects::show(&mut conn, &Scope::All, true, id).await?.is_some()),
    };
    if !exists {
        return Err(missing(what, site.columns().1));
    }
    let filter = Filter { user_id: Some(user_id.to_owned()), site: Some(site), ..Filter::default() };
    let held = db::assignments::list(&mut conn, &filter).await?;
    let ids = held.into_iter().map(|(_, assignment)| assignment.role_id).collect();
    let filter = roles::Filter { ids: Some(ids), ..roles::Filter::default() };
    db::roles::list(&mut conn, &filter, page).await
}

pub(crate) async fn delete(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    assignment: &Assignment,
) -> Result<()> {
    let verb = pick(&assignment.site, REVOKE_GRANT, REVOKE_SYSTEM_GRANT);
    let grant = caller.authorize(cx, verb, target(assignment))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::assignments::delete(tx, grant).await? == 0 {
                    return Err(missing("role assignment", grant.target()));
                }
                Ok(((), db::revision::bump_keeping_an_admin(tx).await?))
            })
        })
        .await
}

/// All that the filter names, and the snapshot that has the names to the ids.
pub(crate) async fn list_all(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    filter: &Filter,
) -> Result<(Vec<Held>, Arc<Snapshot>)> {
    caller.scope(LIST_ROLE_ASSIGNMENTS)?;
    let snapshot = identity.0.snapshots.current(cx).await?;
    let mut conn = identity.0.db.read().await?;
    let mut held = Vec::new();
    let mut seen = BTreeSet::new();
    for (_, through) in db::assignments::list(&mut conn, filter).await? {
        let itself = std::slice::from_ref(&through.role_id);
        for role_id in if filter.effective { snapshot.implied_by(&through.role_id) } else { itself } {
            let line = Assignment { role_id: role_id.clone(), ..through.clone() };
            let asked = filter.role_id.as_ref().is_none_or(|wanted| wanted == role_id);
            if asked && seen.insert(line.id()) {
                held.push(Held { held: line, through: through.clone() });
            }
        }
    }
    Ok((held, snapshot))
}
