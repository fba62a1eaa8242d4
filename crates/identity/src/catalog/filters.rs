//! Which endpoints a project sees: those that it was given, alone or in groups; all of them if it was given none.

use hanse_core::{Cx, Result};
use hanse_policy::{Caller, Scope, Target, Verb};

use super::{Endpoint, EndpointGroup};
use crate::Identity;
use crate::db;
use crate::db::associations::Kind;
use crate::db::revision::Touched;
use crate::model::{Project, missing};
use crate::resource::{Resource, show};
use crate::verbs::{
    ADD_ENDPOINT_GROUP_TO_PROJECT, ADD_ENDPOINT_TO_PROJECT, CHECK_ENDPOINT_IN_PROJECT,
    LIST_ENDPOINT_GROUPS_FOR_PROJECT, LIST_ENDPOINTS_FOR_PROJECT, LIST_PROJECTS_FOR_ENDPOINT,
    LIST_PROJECTS_OF_ENDPOINT_GROUP, REMOVE_ENDPOINT_FROM_PROJECT, REMOVE_ENDPOINT_GROUP_FROM_PROJECT,
    SHOW_ENDPOINT_GROUP_IN_PROJECT,
};

/// What a project can be given.
pub(crate) trait Given: Resource {
    const KIND: Kind;
    const CHECK: Verb;
    const ADD: Verb;
    const REMOVE: Verb;
    const LIST: Verb;
    const PROJECTS: Verb;
}

impl Given for Endpoint {
    const KIND: Kind = Kind::ProjectEndpoint;
    const CHECK: Verb = CHECK_ENDPOINT_IN_PROJECT;
    const ADD: Verb = ADD_ENDPOINT_TO_PROJECT;
    const REMOVE: Verb = REMOVE_ENDPOINT_FROM_PROJECT;
    const LIST: Verb = LIST_ENDPOINTS_FOR_PROJECT;
    const PROJECTS: Verb = LIST_PROJECTS_FOR_ENDPOINT;
}

impl Given for EndpointGroup {
    const KIND: Kind = Kind::ProjectEndpointGroup;
    const CHECK: Verb = SHOW_ENDPOINT_GROUP_IN_PROJECT;
    const ADD: Verb = ADD_ENDPOINT_GROUP_TO_PROJECT;
    const REMOVE: Verb = REMOVE_ENDPOINT_GROUP_FROM_PROJECT;
    const LIST: Verb = LIST_ENDPOINT_GROUPS_FOR_PROJECT;
    const PROJECTS: Verb = LIST_PROJECTS_OF_ENDPOINT_GROUP;
}

async fn require_project(identity: &Identity, id: &str) -> Result<()> {
    let mut conn = identity.0.db.read().await?;
    let found: Option<Project> = db::rows::find(&mut conn, id).await?;
    found.filter(|project| !project.is_domain).ok_or_else(|| missing("project", id)).map(|_| ())
}

/// # Errors
/// 404 if the project was not given it.
pub(crate) async fn check<G: Given>(
    identity: &Identity,
    caller: &Caller,
    project: &str,
    id: &str,
) -> Result<()> {
    caller.scope(G::CHECK)?;
    require_project(identity, project).await?;
    show::<G>(identity, caller, id).await?;
    let mut conn = identity.0.db.read().await?;
    if db::associations::exists(&mut conn, G::KIND, project, id).await? {
        return Ok(());
    }
    Err(missing(G::NOUN, format!("{id} in project {project}")))
}

pub(crate) async fn add<G: Given>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    project: &str,
    id: &str,
) -> Result<()> {
    let grant = caller.authorize(cx, G::ADD, Target::new(project).in_project(project))?;
    require_project(identity, project).await?;
    show::<G>(identity, caller, id).await?;
    identity
        .write(cx, &grant, |tx| {
            Box::pin(async move {
                db::associations::insert(tx, G::KIND, project, id).await?;
                Ok(((), db::revision::bump(tx, [Touched::Catalog]).await?))
            })
        })
        .await
}

pub(crate) async fn remove<G: Given>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    project: &str,
    id: &str,
) -> Result<()> {
    let grant = caller.authorize(cx, G::REMOVE, Target::new(project).in_project(project))?;
    identity
        .write(cx, &grant, |tx| {
            Box::pin(async move {
                if db::associations::delete(tx, G::KIND, project, id).await? == 0 {
                    return Err(missing(G::NOUN, format!("{id} in project {project}")));
                }
                Ok(((), db::revision::bump(tx, [Touched::Catalog]).await?))
            })
        })
        .await
}

/// What the project was given.
pub(crate) async fn list<G: Given>(identity: &Identity, caller: &Caller, project: &str) -> Result<Vec<G>> {
    caller.scope(G::LIST)?;
    require_project(identity, project).await?;
    let mut conn = identity.0.db.read().await?;
    let pairs = db::associations::all(&mut conn, G::KIND).await?;
    let ids: Vec<&String> = pairs.iter().filter(|pair| pair.0 == project).map(|pair| &pair.1).collect();
    let mut found = G::built_in(identity);
    found.retain(|row| ids.iter().any(|id| *id == row.id()));
    found.extend(db::rows::select::<G>().any("id", ids).all::<G>(&mut conn).await?);
    Ok(found)
}

/// The projects that were given it.
pub(crate) async fn projects_of<G: Given>(
    identity: &Identity,
    caller: &Caller,
    id: &str,
) -> Result<Vec<Project>> {
    caller.scope(G::PROJECTS)?;
    show::<G>(identity, caller, id).await?;
    let mut conn = identity.0.db.read().await?;
    let pairs = db::associations::all(&mut conn, G::KIND).await?;
    let ids = pairs.iter().filter(|pair| pair.1 == id).map(|pair| &pair.0);
    db::rows::select::<Project>().any("id", ids).all(&mut conn).await
}

/// The endpoints that a project was given, alone and in groups.
pub(crate) async fn endpoints_of_project(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    project: &str,
) -> Result<Vec<Endpoint>> {
    let scope = caller.scope(LIST_ENDPOINTS_FOR_PROJECT)?;
    debug_assert!(scope == Scope::All, "the rule is for admins and system readers");
    require_project(identity, project).await?;
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let given = snapshot.catalog().given(&identity.0.catalog, project).unwrap_or_default();
    Ok(given.into_iter().cloned().collect())
}
