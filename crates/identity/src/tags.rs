//! The tags of a project.

use hanse_core::{Cx, Result};
use hanse_policy::{Caller, Scope, Target, Verb};

use crate::Identity;
use crate::db;
use crate::model::{immutable, is_immutable, missing};
use crate::projects::{checked_tags, show};
use crate::verbs::{CREATE_PROJECT_TAG, DELETE_PROJECT_TAG, DELETE_PROJECT_TAGS, UPDATE_PROJECT_TAGS};

/// Whoever sees the project sees its tags.
pub(crate) async fn list(identity: &Identity, caller: &Caller, id: &str) -> Result<Vec<String>> {
    Ok(show(identity, caller, id).await?.tags)
}

/// # Errors
/// 404 if the project has no such tag.
pub(crate) async fn check(identity: &Identity, caller: &Caller, id: &str, tag: &str) -> Result<()> {
    if list(identity, caller, id).await?.iter().any(|known| known == tag) {
        return Ok(());
    }
    Err(missing("project tag", tag))
}

/// Changes the tags in one transaction.
async fn change<F>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: &str,
    change: F,
) -> Result<Vec<String>>
where
    F: Fn(Vec<String>) -> Result<Vec<String>> + Send + Sync,
{
    caller.scope(verb)?;
    let project = show(identity, caller, id).await?;
    let target = Target::new(id).in_project(id).in_domain(project.domain_id);
    let grant = caller.authorize(cx, verb, target)?;
    let (grant, change) = (&grant, &change);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut project = db::projects::show(tx, &Scope::All, false, id)
                    .await?
                    .ok_or_else(|| missing("project", id))?;
                if is_immutable(&project.options) {
                    return Err(immutable("project", id));
                }
                project.tags = checked_tags(change(std::mem::take(&mut project.tags))?)?;
                db::rows::update(tx, grant, &project, &db::projects::conflict(&project)).await?;
                // No snapshot knows of tags.
                Ok((project.tags, db::revision::bump(tx, []).await?))
            })
        })
        .await
}

pub(crate) async fn replace(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    tags: Vec<String>,
) -> Result<Vec<String>> {
    change(identity, cx, caller, UPDATE_PROJECT_TAGS, id, |_| Ok(tags.clone())).await
}

pub(crate) async fn clear(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    change(identity, cx, caller, DELETE_PROJECT_TAGS, id, |_| Ok(Vec::new())).await.map(|_| ())
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, id: &str, tag: &str) -> Result<()> {
    let add = |mut tags: Vec<String>| {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
        Ok(tags)
    };
    change(identity, cx, caller, CREATE_PROJECT_TAG, id, add).await.map(|_| ())
}

pub(crate) async fn delete(identity: &Identity, cx: &Cx, caller: &Caller, id: &str, tag: &str) -> Result<()> {
    let remove = |mut tags: Vec<String>| {
        let at = tags.iter().position(|known| known == tag).ok_or_else(|| missing("project tag", tag))?;
        tags.remove(at);
        Ok(tags)
    };
    change(identity, cx, caller, DELETE_PROJECT_TAG, id, remove).await.map(|_| ())
}
