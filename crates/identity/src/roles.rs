//! Roles.

use hanse_core::{Cx, Error, Page, Result, check_text};
use hanse_policy::{Caller, Target};
use serde::Deserialize;

use crate::Identity;
use crate::db;
use crate::model::{
    Attributes, Role, checked_extra, checked_name, is_immutable, missing, nullable, set_options,
};
use crate::verbs::{CREATE_ROLE, DELETE_ROLE, LIST_ROLES, SHOW_ROLE, UPDATE_ROLE};

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    domain_id: Option<String>,
    description: Option<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    domain_id: Option<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) name: Option<String>,
    pub(crate) domain_id: Option<String>,
    pub(crate) ids: Option<Vec<String>>,
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, new: Create) -> Result<Role> {
    let grant = caller.authorize(cx, CREATE_ROLE, Target::new(cx.hex_id()))?;
    check_global(new.domain_id.as_deref())?;
    let mut role = Role {
        id: grant.target().to_owned(),
        domain_id: String::new(),
        name: checked_name(&new.name)?,
        description: new.description,
        options: Attributes::new(),
        extra: checked_extra(new.extra)?,
        created_at: cx.now(),
    };
    check_text("description", role.description.as_deref().unwrap_or_default(), 255)?;
    set_options(&mut role.options, new.options)?;
    let (new, grant) = (&role, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::roles::insert(tx, grant, new).await?;
                Ok(((), db::revision::bump(tx).await?))
            })
        })
        .await?;
    Ok(role)
}

pub(crate) async fn show(identity: &Identity, caller: &Caller, id: &str) -> Result<Role> {
    caller.scope(SHOW_ROLE)?;
    let mut conn = identity.0.db.read().await?;
    db::roles::show(&mut conn, id).await?.ok_or_else(|| missing("role", id))
}

pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Role>, bool)> {
    caller.scope(LIST_ROLES)?;
    let mut conn = identity.0.db.read().await?;
    db::roles::list(&mut conn, filter, page).await
}

pub(crate) async fn update(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: Update,
) -> Result<Role> {
    show(identity, caller, id).await?;
    let grant = caller.authorize(cx, UPDATE_ROLE, Target::new(id))?;
    check_global(change.domain_id.as_deref())?;
    let name = change.name.as_deref().map(checked_name).transpose()?;
    if let Some(Some(description)) = &change.description {
        check_text("description", description, 255)?;
    }
    let (grant, name, change) = (&grant, &name, &change);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut role = db::roles::show(tx, id).await?.ok_or_else(|| missing("role", id))?;
                let was_immutable = is_immutable(&role.options);
                set_options(&mut role.options, change.options.clone())?;
                if was_immutable && is_immutable(&role.options) {
                    return Err(immutable("role", id));
                }
                if let Some(name) = name {
                    role.name.clone_from(name);
                }
                if let Some(description) = &change.description {
                    role.description.clone_from(description);
                }
                role.extra.extend(change.extra.clone());
                let extra = checked_extra(role.extra)?;
                role.extra = extra;
                db::roles::update(tx, grant, &role).await?;
                Ok((role, db::revision::bump_keeping_an_admin(tx).await?))
            })
        })
        .await
}

pub(crate) async fn delete(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    show(identity, caller, id).await?;
    let grant = caller.authorize(cx, DELETE_ROLE, Target::new(id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let role = db::roles::show(tx, id).await?.ok_or_else(|| missing("role", id))?;
                if is_immutable(&role.options) {
                    return Err(immutable("role", id));
                }
                db::roles::delete(tx, grant).await?;
                Ok(((), db::revision::bump_keeping_an_admin(tx).await?))
            })
        })
        .await
}

fn check_global(domain_id: Option<&str>) -> Result<()> {
    match domain_id {
        None => Ok(()),
        Some(_) => Err(Error::not_implemented("Roles that belong to one domain are not supported.")),
    }
}

/// 403 for what its owner has protected.
pub(crate) fn immutable(what: &str, id: &str) -> Error {
    Error::forbidden(format!(
        "Unable to change or delete immutable {what} resource: {id}. Set resource option \"immutable\" to false first."
    ))
}
