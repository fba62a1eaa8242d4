//! What most resources have in common: five verbs over one table. A resource says what it is made of, what it checks
//! and who may do what; the rest is here, in [`crate::db::rows`] and in [`crate::api::resource`].

use async_trait::async_trait;
use hanse_core::{Cx, Page, Result};
use hanse_policy::{Caller, Grant, Scope, Target, Verb};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::model::{Attributes, immutable, is_immutable, missing};
use crate::row::Stored;

pub(crate) struct Verbs {
    pub(crate) create: Verb,
    pub(crate) show: Verb,
    pub(crate) list: Verb,
    pub(crate) update: Verb,
    pub(crate) delete: Verb,
}

#[async_trait]
pub(crate) trait Resource: Stored + Clone + 'static {
    /// As it stands in bodies and messages (`region`), and in the path and in lists (`regions`).
    const NOUN: &'static str;
    const PLURAL: &'static str;
    const VERBS: Verbs;
    type Create: DeserializeOwned + Send + 'static;
    type Update: DeserializeOwned + Send + Sync + 'static;

    /// A new one under `id`, or under the id that the client chose if the resource lets it.
    fn new(cx: &Cx, caller: &Caller, id: String, body: Self::Create) -> Result<Self>;

    fn change(&mut self, change: &Self::Update) -> Result<()>;

    /// Without links and without what the client attached under names of its own.
    fn view(&self) -> Value;

    fn filter(params: &Params, select: Select) -> Result<Select>;

    /// What of the snapshot changes with it.
    fn touched(&self) -> Vec<Touched> {
        Vec::new()
    }

    fn visible(select: Select, scope: &Scope) -> Select {
        match scope {
            Scope::All => select,
            _ => select.and("1 = 0"),
        }
    }

    /// What of the resource a caller may see.
    fn scope(caller: &Caller, verb: Verb) -> Result<Scope> {
        caller.scope(verb)
    }

    fn target(&self) -> Target {
        Target::new(self.id())
    }

    /// 409 if a unique index refuses it.
    fn conflict(&self) -> String {
        format!("Conflict occurred attempting to store {} - Duplicate entry found.", Self::NOUN)
    }

    fn extra(&self) -> Option<&Attributes> {
        None
    }

    fn options(&self) -> Option<&Attributes> {
        None
    }

    /// Those that come with the build: they are shown with the others and stand in no table.
    fn built_in(_identity: &Identity) -> Vec<Self> {
        Vec::new()
    }

    /// What must hold in the transaction that writes it; may complete the row. `old` is what it was, if it was.
    async fn check(&mut self, _identity: &Identity, _tx: &mut Tx<'_>, _old: Option<&Self>) -> Result<()> {
        Ok(())
    }

    /// Refuses its deletion, or takes away what goes with it and says what of the snapshot that changes.
    async fn clear(&self, _tx: &mut Tx<'_>, _grant: &Grant) -> Result<Vec<Touched>> {
        Ok(Vec::new())
    }

    /// Whether changing or deleting it may leave the cloud without an administrator.
    fn may_empty_the_bridge() -> bool {
        false
    }
}

async fn bump<R: Resource>(tx: &mut Tx<'_>, row: &R, also: Vec<Touched>) -> Result<db::revision::Revision> {
    let mut touched = row.touched();
    touched.extend(also);
    if R::may_empty_the_bridge() {
        db::revision::bump_keeping_an_admin(tx, touched).await
    } else {
        db::revision::bump(tx, touched).await
    }
}

pub(crate) async fn create<R: Resource>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    body: R::Create,
) -> Result<R> {
    let new = R::new(cx, caller, cx.hex_id(), body)?;
    let grant = caller.authorize(cx, R::VERBS.create, new.target())?;
    let (new, grant) = (&new, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = new.clone();
                row.check(identity, tx, None).await?;
                db::rows::insert(tx, grant, &row, &row.conflict()).await?;
                let revision = db::revision::bump(tx, row.touched()).await?;
                Ok((row, revision))
            })
        })
        .await
}

pub(crate) async fn show<R: Resource>(identity: &Identity, caller: &Caller, id: &str) -> Result<R> {
    let scope = R::scope(caller, R::VERBS.show)?;
    if let Some(row) = R::built_in(identity).into_iter().find(|row| row.id() == id) {
        return Ok(row);
    }
    let mut conn = identity.0.db.read().await?;
    db::rows::show(&mut conn, &scope, id).await?.ok_or_else(|| missing(R::NOUN, id))
}

pub(crate) async fn list<R: Resource>(
    identity: &Identity,
    caller: &Caller,
    params: &Params,
    page: &Page,
) -> Result<(Vec<R>, bool)> {
    let scope = R::scope(caller, R::VERBS.list)?;
    let mut conn = identity.0.db.read().await?;
    let (mut rows, more) =
        db::rows::list(&mut conn, &scope, |select| R::filter(params, select), page).await?;
    if page.marker.is_none() {
        // Few, and before all others.
        let own = R::built_in(identity).into_iter().filter(|row| matches(&row.view(), params));
        rows.splice(0..0, own);
    }
    Ok((rows, more))
}

/// Whether all that the query names and the object has is equal.
fn matches(shown: &Value, params: &Params) -> bool {
    params.iter().all(|(key, wanted)| match shown.get(key) {
        Some(Value::String(own)) => own == wanted,
        Some(Value::Null) => wanted.is_empty(),
        _ => true,
    })
}

/// # Errors
/// 403 if the object comes with the build.
fn refuse_built_in<R: Resource>(identity: &Identity, id: &str) -> Result<()> {
    if R::built_in(identity).iter().any(|row| row.id() == id) {
        return Err(crate::catalog::built_in(R::NOUN, id));
    }
    Ok(())
}

pub(crate) async fn update<R: Resource>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: R::Update,
) -> Result<R> {
    // Who may do this to nothing learns nothing of what there is.
    caller.scope(R::VERBS.update)?;
    let seen: R = show(identity, caller, id).await?;
    let grant = caller.authorize(cx, R::VERBS.update, seen.target())?;
    refuse_built_in::<R>(identity, id)?;
    let (change, grant) = (&change, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let old: R = db::rows::find(tx, id).await?.ok_or_else(|| missing(R::NOUN, id))?;
                let mut row = old.clone();
                row.change(change)?;
                if old.options().is_some_and(is_immutable) && row.options().is_some_and(is_immutable) {
                    return Err(immutable(R::NOUN, id));
                }
                row.check(identity, tx, Some(&old)).await?;
                db::rows::update(tx, grant, &row, &row.conflict()).await?;
                let revision = bump(tx, &row, Vec::new()).await?;
                Ok((row, revision))
            })
        })
        .await
}

pub(crate) async fn delete<R: Resource>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
) -> Result<()> {
    caller.scope(R::VERBS.delete)?;
    let seen: R = show(identity, caller, id).await?;
    let grant = caller.authorize(cx, R::VERBS.delete, seen.target())?;
    refuse_built_in::<R>(identity, id)?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row: R = db::rows::find(tx, id).await?.ok_or_else(|| missing(R::NOUN, id))?;
                if row.options().is_some_and(is_immutable) {
                    return Err(immutable(R::NOUN, id));
                }
                let also = row.clear(tx, grant).await?;
                db::rows::delete::<R>(tx, grant).await?;
                Ok(((), bump(tx, &row, also).await?))
            })
        })
        .await
}
