//! Projects and domains, which are projects at the root.

use std::collections::BTreeSet;

use hanse_core::{Cx, Error, Kind, Page, Result, check_text};
use hanse_policy::{Caller, Scope, Target, TokenScope};
use hanse_store::{Conn, Tx};
use hanse_web::Params;
use serde::Deserialize;

use crate::Identity;
use crate::bootstrap::DEFAULT_DOMAIN;
use crate::db;
use crate::db::revision::Touched;
use crate::model::{
    Attributes, Holder, Project, Site, check_same_domain, checked_extra, checked_name, immutable,
    is_immutable, missing, nullable, set_options,
};
use crate::users::home_domain;
use crate::verbs::{
    AUTH_DOMAINS, AUTH_PROJECTS, CREATE_DOMAIN, CREATE_PROJECT, DELETE_DOMAIN, DELETE_PROJECT, LIST_DOMAINS,
    LIST_PROJECTS, LIST_USER_PROJECTS, SHOW_DOMAIN, SHOW_PROJECT, SHOW_PROJECT_OF_DOMAIN, UPDATE_DOMAIN,
    UPDATE_PROJECT,
};

/// How many projects may stand above each other (Keystone's `max_project_tree_depth`, the domain not counted).
const DEPTH_MAX: usize = 5;
const DESCRIPTION_MAX: usize = 4096;
const TAGS_MAX: usize = 80;

/// For both; a domain takes neither `domain_id` nor `parent_id`.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    domain_id: Option<String>,
    parent_id: Option<String>,
    is_domain: Option<bool>,
    /// The id that a new domain shall have, so that it is the same in several clouds.
    explicit_domain_id: Option<String>,
    description: Option<String>,
    enabled: Option<bool>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    domain_id: Option<String>,
    parent_id: Option<String>,
    is_domain: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    enabled: Option<bool>,
    tags: Option<Vec<String>>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

/// What a list is narrowed by: the client's query and, if there are, ids.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) is_domain: bool,
    pub(crate) params: Params,
    pub(crate) ids: Option<Vec<String>>,
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, new: Create) -> Result<Project> {
    let id = cx.hex_id();
    if new.is_domain == Some(true) {
        return create_domain(identity, cx, caller, new).await;
    }
    if new.explicit_domain_id.is_some() {
        return Err(Error::bad_request("A project that is no domain has no explicit_domain_id."));
    }
    let home = new.domain_id.clone().unwrap_or_else(|| home_domain(caller));
    let grant = caller.authorize(cx, CREATE_PROJECT, Target::new(&id).in_domain(&home))?;
    let (parent_id, domain_id) = (new.parent_id.clone(), new.domain_id.clone());
    let project = new.into_project(cx, id, false)?;
    let (new, grant, parent_id, domain_id, home) = (&project, &grant, &parent_id, &domain_id, &home);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let parent = match parent_id {
                    None => require_domain(tx, home).await,
                    Some(parent_id) => parent(tx, parent_id).await,
                }
                .map_err(not_there)?;
                let own = if parent.is_domain { &parent.id } else { &parent.domain_id };
                if domain_id.as_ref().is_some_and(|asked| asked != own) {
                    return Err(Error::bad_request("The parent of the project is in another domain."));
                }
                // The parent decides the domain, so it is there that the caller must be allowed to.
                caller.authorize(cx, CREATE_PROJECT, Target::new(grant.target()).in_domain(own))?;
                let mut project = new.clone();
                project.domain_id.clone_from(own);
                project.parent_id = parent.id;
                db::rows::insert(tx, grant, &project, &db::projects::conflict(&project)).await?;
                let revision = db::revision::bump(tx, touched(grant)).await?;
                Ok((project, revision))
            })
        })
        .await
}

pub(crate) async fn create_domain(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    new: Create,
) -> Result<Project> {
    caller.scope(CREATE_DOMAIN)?;
    let id = new.explicit_domain_id.clone().map_or_else(|| Ok(cx.hex_id()), checked_id)?;
    let grant = caller.authorize(cx, CREATE_DOMAIN, Target::new(id))?;
    if new.domain_id.is_some() || new.parent_id.is_some() {
        return Err(Error::bad_request("A domain has neither domain_id nor parent_id."));
    }
    let is_explicit = new.explicit_domain_id.is_some();
    let mut domain = new.into_project(cx, grant.target().to_owned(), true)?;
    if is_explicit {
        // A domain that had the id before has had fewer epochs: its tokens stay dead.
        domain.token_epoch = cx.now().seconds();
    }
    let (new, grant) = (&domain, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::rows::insert(tx, grant, new, &db::projects::conflict(new)).await?;
                Ok(((), db::revision::bump(tx, touched(grant)).await?))
            })
        })
        .await?;
    Ok(domain)
}

impl Create {
    fn into_project(self, cx: &Cx, id: String, is_domain: bool) -> Result<Project> {
        let mut project = Project {
            id,
            domain_id: String::new(),
            parent_id: String::new(),
            is_domain,
            name: checked_place_name(&self.name)?,
            description: self.description.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            tags: checked_tags(self.tags)?,
            options: Attributes::new(),
            extra: checked_extra(self.extra)?,
            token_epoch: 0,
            created_at: cx.now(),
        };
        check_text("description", &project.description, DESCRIPTION_MAX)?;
        set_options(&mut project.options, self.options)?;
        Ok(project)
    }
}

fn touched(grant: &hanse_policy::Grant) -> Vec<Touched> {
    vec![Touched::Place(grant.target().to_owned())]
}

/// An id as we make them.
fn checked_id(id: String) -> Result<String> {
    if id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(id);
    }
    Err(Error::bad_request("explicit_domain_id must have 32 digits, hexadecimal and in lower case."))
}

/// Names of projects and domains are shorter than others (Keystone's columns).
fn checked_place_name(name: &str) -> Result<String> {
    let name = checked_name(name)?;
    check_text("name", &name, 64)?;
    Ok(name)
}

/// A parent that is not there is the client's mistake and no missing resource, as in Keystone.
fn not_there(error: Error) -> Error {
    if error.kind() == Kind::NotFound { Error::bad_request(error.message()) } else { error }
}

/// A project to create another below.
async fn parent(tx: &mut Tx<'_>, id: &str) -> Result<Project> {
    let unknown = || missing("project", id);
    let parent = find(tx, id).await?.ok_or_else(unknown)?;
    if !parent.enabled {
        return Err(Error::forbidden(format!("The parent project {id} is disabled.")));
    }
    let (mut depth, mut above) = (1, parent.clone());
    while !above.is_domain {
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(Error::forbidden(format!("Projects cannot be nested more than {DEPTH_MAX} deep.")));
        }
        above = find(tx, &above.parent_id).await?.ok_or_else(unknown)?;
    }
    Ok(parent)
}

/// A project or a domain.
async fn find(conn: &mut Conn, id: &str) -> Result<Option<Project>> {
    match db::projects::show(conn, &Scope::All, false, id).await? {
        None => db::projects::show(conn, &Scope::All, true, id).await,
        project => Ok(project),
    }
}

/// The domain, within the transaction that puts something into it.
pub(crate) async fn require_domain(tx: &mut Tx<'_>, id: &str) -> Result<Project> {
    db::projects::show(tx, &Scope::All, true, id).await?.ok_or_else(|| missing("domain", id))
}

pub(crate) async fn show(identity: &Identity, caller: &Caller, id: &str) -> Result<Project> {
    let scope = caller.scope(SHOW_PROJECT_OF_DOMAIN).or_else(|_| caller.scope(SHOW_PROJECT))?;
    let mut conn = identity.0.db.read().await?;
    let found = match db::projects::show(&mut conn, &scope, false, id).await? {
        // Keystone shows a domain here too, as the project that it is.
        None => db::projects::show(&mut conn, &scope, true, id).await?,
        project => project,
    };
    found.ok_or_else(|| missing("project", id))
}

/// Everybody may look at the domain of their project, or that their token is for.
pub(crate) async fn show_domain(identity: &Identity, caller: &Caller, id: &str) -> Result<Project> {
    let own = match &caller.scope {
        TokenScope::Domain(domain) => Some(&domain.id),
        TokenScope::Project(project) => Some(&project.domain.id),
        TokenScope::Unscoped | TokenScope::System => None,
    };
    let scope = match (caller.scope(SHOW_DOMAIN)?, own) {
        (scope, _) if caller.is_admin() || caller.is_system_reader() => scope,
        (_, Some(own)) => Scope::Domain(own.clone()),
        (_, None) => return Err(missing("domain", id)),
    };
    let mut conn = identity.0.db.read().await?;
    db::projects::show(&mut conn, &scope, true, id).await?.ok_or_else(|| missing("domain", id))
}

pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Project>, bool)> {
    let scope = caller.scope(if filter.is_domain { LIST_DOMAINS } else { LIST_PROJECTS })?;
    let mut conn = identity.0.db.read().await?;
    db::projects::list(&mut conn, &scope, filter, page).await
}

/// The projects on which a user has any role.
pub(crate) async fn list_of_user(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    mut filter: Filter,
    page: &Page,
) -> Result<(Vec<Project>, bool)> {
    let scope = caller.scope(LIST_USER_PROJECTS)?;
    let snapshot = identity.0.snapshots.current(cx).await?;
    let mut conn = identity.0.db.read().await?;
    if db::users::show(&mut conn, &scope, user_id).await?.is_none() {
        return Err(missing("user", user_id));
    }
    let sites = snapshot.person(user_id).map(|person| snapshot.sites(person)).unwrap_or_default().into_iter();
    filter.ids = Some(
        sites
            .filter_map(|site| match site {
                Site::Project(id) => Some(id),
                _ => None,
            })
            .collect(),
    );
    // Who may see the user may not see every project that the user has to do with.
    let scope = if caller.user_id == user_id { Scope::All } else { scope };
    db::projects::list(&mut conn, &scope, &filter, page).await
}

/// What the caller could have a token for: enabled projects, or domains.
pub(crate) async fn list_own(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    is_domain: bool,
    page: &Page,
) -> Result<(Vec<Project>, bool)> {
    let scope = caller.scope(if is_domain { AUTH_DOMAINS } else { AUTH_PROJECTS })?;
    debug_assert!(scope == Scope::All, "the rule is that the caller has roles there");
    let snapshot = identity.0.snapshots.current(cx).await?;
    let sites = snapshot.person(&caller.user_id).map(|person| snapshot.sites(person)).unwrap_or_default();
    let live = sites.into_iter().filter(|site| snapshot.live_site(site).is_some());
    let ids = live.filter_map(|site| match (site, is_domain) {
        (Site::Project(id), false) | (Site::Domain(id), true) => Some(id),
        _ => None,
    });
    let filter = Filter { is_domain, params: Params::default(), ids: Some(ids.collect()) };
    let mut conn = identity.0.db.read().await?;
    db::projects::list(&mut conn, &scope, &filter, page).await
}

pub(crate) async fn update(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: Update,
) -> Result<Project> {
    caller.scope(UPDATE_PROJECT)?;
    let project = show(identity, caller, id).await?;
    let target = Target::new(id).in_domain(&project.domain_id).in_project(id);
    if project.is_domain {
        return update_domain(identity, cx, caller, id, change).await;
    }
    let grant = caller.authorize(cx, UPDATE_PROJECT, target)?;
    apply(identity, cx, &grant, &project, change).await
}

pub(crate) async fn update_domain(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: Update,
) -> Result<Project> {
    caller.scope(UPDATE_DOMAIN)?;
    let domain = show_domain(identity, caller, id).await?;
    let grant = caller.authorize(cx, UPDATE_DOMAIN, Target::new(id).in_domain(id))?;
    apply(identity, cx, &grant, &domain, change).await
}

async fn apply(
    identity: &Identity,
    cx: &Cx,
    grant: &hanse_policy::Grant,
    old: &Project,
    change: Update,
) -> Result<Project> {
    check_same_domain(change.domain_id.as_deref(), &old.domain_id)?;
    if change.parent_id.as_deref().is_some_and(|asked| asked != old.parent_id) {
        return Err(Error::forbidden("A project cannot be moved below another."));
    }
    if change.is_domain.is_some_and(|asked| asked != old.is_domain) {
        return Err(Error::bad_request("Update of `is_domain` is not allowed."));
    }
    if let Some(Some(description)) = &change.description {
        check_text("description", description, DESCRIPTION_MAX)?;
    }
    let name = change.name.as_deref().map(checked_place_name).transpose()?;
    let tags = change.tags.clone().map(checked_tags).transpose()?;
    let (what, id) = (if old.is_domain { "domain" } else { "project" }, old.id.as_str());
    let (name, tags, change, is_domain) = (&name, &tags, &change, old.is_domain);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut project = db::projects::show(tx, &Scope::All, is_domain, id)
                    .await?
                    .ok_or_else(|| missing(what, id))?;
                let was_immutable = is_immutable(&project.options);
                set_options(&mut project.options, change.options.clone())?;
                if was_immutable && is_immutable(&project.options) {
                    return Err(immutable(what, id));
                }
                if let Some(enabled) = change.enabled.filter(|enabled| *enabled != project.enabled) {
                    set_enabled(tx, grant, &mut project, enabled).await?;
                }
                if let Some(name) = name {
                    project.name.clone_from(name);
                }
                if let Some(description) = &change.description {
                    project.description = description.clone().unwrap_or_default();
                }
                if let Some(tags) = tags {
                    project.tags.clone_from(tags);
                }
                project.extra.extend(change.extra.clone());
                let extra = checked_extra(project.extra)?;
                project.extra = extra;
                db::rows::update(tx, grant, &project, &db::projects::conflict(&project)).await?;
                // The end of a domain's tokens touches all that is in it.
                let ends_tokens = is_domain && change.enabled == Some(false);
                let touched = if ends_tokens { vec![Touched::Everything] } else { touched(grant) };
                Ok((project, db::revision::bump_keeping_an_admin(tx, touched).await?))
            })
        })
        .await
}

/// Disabling ends all tokens for the project, or for all that is in the domain, for good.
async fn set_enabled(
    tx: &mut Tx<'_>,
    grant: &hanse_policy::Grant,
    project: &mut Project,
    enabled: bool,
) -> Result<()> {
    let id = &project.id;
    if !enabled {
        if project.is_domain {
            db::projects::end_tokens_of_domain(tx, grant).await?;
        } else if db::projects::has_children(tx, id, true).await? {
            return Err(Error::forbidden(format!(
                "Cannot disable project {id} since its subtree contains enabled projects."
            )));
        }
        project.token_epoch += 1;
    } else if !project.is_domain {
        let parent = find(tx, &project.parent_id).await?;
        // A disabled domain disables what is in it by itself.
        if parent.is_some_and(|parent| !parent.enabled && !parent.is_domain) {
            return Err(Error::forbidden(format!(
                "Cannot enable project {id} since it has disabled parents."
            )));
        }
    }
    project.enabled = enabled;
    Ok(())
}

/// Deletes a project that has none below it or, with `cascade`, all that are below it too, which must be disabled.
pub(crate) async fn delete(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    cascade: bool,
) -> Result<()> {
    // Who may delete nothing learns nothing of what there is.
    caller.scope(DELETE_PROJECT)?;
    let project = show(identity, caller, id).await?;
    let target = Target::new(id).in_domain(&project.domain_id).in_project(id);
    if project.is_domain {
        return delete_domain(identity, cx, caller, id).await;
    }
    let grant = caller.authorize(cx, DELETE_PROJECT, target)?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let project = find(tx, id).await?.ok_or_else(|| missing("project", id))?;
                let below = db::projects::below(tx, id).await?;
                if !below.is_empty() && !cascade {
                    return Err(Error::forbidden(format!(
                        "Cannot delete the project {id} since it is not a leaf in the hierarchy. Use the cascade \
                         option if you want to delete a whole subtree."
                    )));
                }
                if below.iter().any(|below| below.enabled) {
                    return Err(Error::forbidden(format!(
                        "Cannot delete project {id} since its subtree contains enabled projects."
                    )));
                }
                let mut touched = Vec::new();
                // Those farthest down first.
                for gone in below.iter().rev().chain([&project]) {
                    if is_immutable(&gone.options) {
                        return Err(immutable("project", &gone.id));
                    }
                    let holders = db::assignments::holders(tx, "scope_id", &gone.id).await?;
                    touched.extend(holders.iter().map(Holder::touched));
                    touched.push(Touched::Place(gone.id.clone()));
                    db::projects::delete(tx, &gone.id).await?;
                }
                debug_assert!(touched.contains(&Touched::Place(grant.target().to_owned())));
                Ok(((), db::revision::bump_keeping_an_admin(tx, touched).await?))
            })
        })
        .await
}

pub(crate) async fn delete_domain(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    caller.scope(DELETE_DOMAIN)?;
    show_domain(identity, caller, id).await?;
    let grant = caller.authorize(cx, DELETE_DOMAIN, Target::new(id).in_domain(id))?;
    if id == DEFAULT_DOMAIN {
        return Err(Error::forbidden("The default domain cannot be deleted."));
    }
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let domain = require_domain(tx, id).await?;
                if domain.enabled {
                    return Err(Error::forbidden(
                        "Cannot delete a domain that is enabled, please disable it first.",
                    ));
                }
                if is_immutable(&domain.options) {
                    return Err(immutable("domain", id));
                }
                db::projects::delete_domain(tx, grant).await?;
                Ok(((), db::revision::bump_keeping_an_admin(tx, [Touched::Everything]).await?))
            })
        })
        .await
}

pub(crate) fn checked_tags(tags: Vec<String>) -> Result<Vec<String>> {
    if tags.iter().collect::<BTreeSet<_>>().len() < tags.len() {
        return Err(Error::bad_request("a tag is there more than once"));
    }
    if tags.len() > TAGS_MAX {
        return Err(Error::bad_request(format!("a project has at most {TAGS_MAX} tags")));
    }
    for tag in &tags {
        hanse_core::check_name("tag", tag)?;
        if tag.contains(['/', ',']) {
            return Err(Error::bad_request(format!("the tag '{tag}' contains a slash or a comma")));
        }
    }
    Ok(tags)
}
