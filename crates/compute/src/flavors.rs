//! The verbs on flavors. All are public; admins make and remove them.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Kind, Page, Result};
use hanse_policy::{Caller, Target, Verb};
use hanse_store::{Select, SortKey};

use crate::Deps;
use crate::db;
use crate::model::Flavor;
use crate::verbs;

pub fn not_found(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("Flavor {id} could not be found."))
}

pub async fn list(
    deps: &Deps,
    caller: &Caller,
    filter: impl FnOnce(Select) -> Result<Select>,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Flavor>, bool)> {
    caller.scope(verbs::FLAVORS_READ)?;
    let select = filter(db::flavors::all())?;
    db::flavors::list(&mut deps.db.read().await?, select, keys, page).await
}

pub async fn show(deps: &Deps, caller: &Caller, verb: Verb, id: &str) -> Result<Flavor> {
    caller.scope(verb)?;
    db::flavors::show(&mut deps.db.read().await?, id).await?.ok_or_else(|| not_found(id))
}

pub async fn create(deps: &Deps, cx: &Cx, caller: &Caller, flavor: &Flavor) -> Result<()> {
    let grant = &caller.authorize(cx, verbs::FLAVORS_CREATE, Target::new(&flavor.id))?;
    deps.db.write(cx, grant, |tx| Box::pin(db::flavors::insert(tx, cx, grant, flavor))).await
}

pub async fn delete(deps: &Deps, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let grant = &caller.authorize(cx, verbs::FLAVORS_DELETE, Target::new(id))?;
    let deleted = deps.db.write(cx, grant, |tx| Box::pin(db::flavors::delete(tx, grant))).await?;
    if deleted { Ok(()) } else { Err(not_found(id)) }
}

/// Changes the extra specs as the transaction finds them.
pub async fn update_specs<C>(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: &str,
    change: C,
) -> Result<BTreeMap<String, String>>
where
    C: Fn(&mut BTreeMap<String, String>) -> Result<()> + Send + Sync,
{
    let grant = &caller.authorize(cx, verb, Target::new(id))?;
    let change = &change;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut flavor = db::flavors::show(tx, id).await?.ok_or_else(|| not_found(id))?;
                change(&mut flavor.extra_specs)?;
                db::flavors::update_specs(tx, grant, &flavor).await?;
                Ok(flavor.extra_specs)
            })
        })
        .await
}
