//! What is above and below a project.

use std::collections::BTreeMap;

use hanse_core::{Cx, Page, Result};
use hanse_policy::{Caller, Scope};
use hanse_web::Params;
use serde_json::{Map, Value};

use crate::Identity;
use crate::db;
use crate::model::{Project, Site};
use crate::projects::Filter;
use crate::snapshot::Snapshot;

/// The surroundings of a project.
pub(crate) struct Tree {
    /// `{parent: {grandparent: null}}`, the domain last.
    pub(crate) parent_ids: Value,
    /// `{child: {grandchild: null}}`
    pub(crate) subtree_ids: Value,
    /// Those on which the caller has a role, nearest first.
    pub(crate) own_parents: Vec<Project>,
    pub(crate) own_subtree: Vec<Project>,
}

pub(crate) async fn around(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<Tree> {
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let above: Vec<String> = match snapshot.project(id) {
        Some(project) => snapshot.above(project).map(|place| place.id.to_string()).collect(),
        None => Vec::new(),
    };
    let parent_ids = above.iter().rev().fold(Value::Null, |inner, id| one(id, inner));
    let mut children: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut below = Vec::new();
    for place in snapshot.below(id) {
        children.entry(place.parent_id.to_string()).or_default().push(place.id.to_string());
        below.push(place.id.to_string());
    }
    let own = |ids: Vec<String>| own(&snapshot, &caller.user_id, ids);
    Ok(Tree {
        parent_ids,
        subtree_ids: nested(&children, id, 64),
        own_parents: read(identity, own(above)).await?,
        own_subtree: read(identity, own(below)).await?,
    })
}

fn one(id: &str, inner: Value) -> Value {
    Value::Object(Map::from_iter([(id.to_owned(), inner)]))
}

fn nested(children: &BTreeMap<String, Vec<String>>, id: &str, depth: usize) -> Value {
    match children.get(id) {
        Some(below) if depth > 0 => {
            let entries = below.iter().map(|id| (id.clone(), nested(children, id, depth - 1)));
            Value::Object(entries.collect())
        }
        _ => Value::Null,
    }
}

fn own(snapshot: &Snapshot, user_id: &str, ids: Vec<String>) -> Vec<String> {
    let Some(person) = snapshot.person(user_id) else { return Vec::new() };
    ids.into_iter().filter(|id| !snapshot.role_ids(person, &Site::Project(id.clone())).is_empty()).collect()
}

/// The rows of these ids, in their order.
async fn read(identity: &Identity, ids: Vec<String>) -> Result<Vec<Project>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut conn = identity.0.db.read().await?;
    let filter = Filter { is_domain: false, params: Params::default(), ids: Some(ids.clone()) };
    let (mut rows, _) = db::projects::list(&mut conn, &Scope::All, &filter, &Page::default()).await?;
    rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
    Ok(rows)
}
