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
pub(crate) trait Resource: Stored + 'static {
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

    /// What must hold in the transaction that writes it. `old` is what it was, if it was.
    async fn check(&self, _tx: &mut Tx<'_>, _old: Option<&Self>) -> Result<()> {
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
    let (row, grant) = (&new, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                row.check(tx, None).await?;
                db::rows::insert(tx, grant, row, &row.conflict()).await?;
                Ok(((), db::revision::bump(tx, row.touched()).await?))
            })
        })
        .await?;
    Ok(new)
}

pub(crate) async fn show<R: Resource>(identity: &Identity, caller: &Caller, id: &str) -> Result<R> {
    let scope = caller.scope(R::VERBS.show)?;
    let mut conn = identity.0.db.read().await?;
    db::rows::show(&mut conn, &scope, id).await?.ok_or_else(|| missing(R::NOUN, id))
}

pub(crate) async fn list<R: Resource>(
    identity: &Identity,
    caller: &Caller,
    params: &Params,
    page: &Page,
) -> Result<(Vec<R>, bool)> {
    let scope = caller.scope(R::VERBS.list)?;
    let mut conn = identity.0.db.read().await?;
    db::rows::list(&mut conn, &scope, |select| R::filter(params, select), page).await
}

pub(crate) async fn update<R: Resource>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: R::Update,
) -> Result<R> {
    let seen: R = show(identity, caller, id).await?;
    let grant = caller.authorize(cx, R::VERBS.update, seen.target())?;
    let (change, grant) = (&change, &grant);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let missing = || missing(R::NOUN, id);
                let old: R = db::rows::find(tx, id).await?.ok_or_else(missing)?;
                let mut row: R = db::rows::find(tx, id).await?.ok_or_else(missing)?;
                row.change(change)?;
                if old.options().is_some_and(is_immutable) && row.options().is_some_and(is_immutable) {
                    return Err(immutable(R::NOUN, id));
                }
                row.check(tx, Some(&old)).await?;
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
    let seen: R = show(identity, caller, id).await?;
    let grant = caller.authorize(cx, R::VERBS.delete, seen.target())?;
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
