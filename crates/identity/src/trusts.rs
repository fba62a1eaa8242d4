//! Trusts: one user lets another act on a project with some of its roles, for a time or a number of times.

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_policy::{Caller, Delegation, Scope, Target};
use serde::Deserialize;

use crate::Identity;
use crate::application_credentials::{RoleNamed, checked_expiry};
use crate::db;
use crate::db::revision::Touched;
use crate::delegation::check_trusts;
use crate::model::{Role, Site, User, missing};
use crate::row::row;
use crate::snapshot::Snapshot;
use crate::verbs::{CREATE_TRUST, DELETE_TRUST, LIST_TRUSTS, SHOW_TRUST};

row! {
    Trust in "trusts" {
        trustor_user_id: String,
        trustee_user_id: String,
        project_id: Option<String>,
        impersonation: bool,
        roles: Vec<String> as Json,
        expires_at: Option<Timestamp>,
        remaining_uses: Option<i64>,
        redelegation_count: i64,
        redelegated_id: Option<String>,
    }
}

/// How long a chain of trusts may be (Keystone's `max_redelegation_count`).
const DEPTH_MAX: i64 = 3;

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    trustor_user_id: String,
    trustee_user_id: String,
    impersonation: bool,
    project_id: Option<String>,
    #[serde(default)]
    roles: Vec<RoleNamed>,
    expires_at: Option<String>,
    remaining_uses: Option<i64>,
    allow_redelegation: Option<bool>,
    redelegation_count: Option<i64>,
}

/// The trust that the caller's token comes from, if it comes from one.
async fn handed_on(identity: &Identity, caller: &Caller) -> Result<Option<Trust>> {
    let Some(Delegation::Trust { id, .. }) = &caller.delegation else { return Ok(None) };
    let mut conn = identity.0.db.read().await?;
    let trust: Option<Trust> = db::rows::find(&mut conn, id).await?;
    trust.ok_or_else(|| Error::forbidden("The trust that this token comes from is gone.")).map(Some)
}

/// Ids of roles, which the trustor must hold on the project. With a token of a trust it is that trust's roles that
/// count, and those of the first trustor.
fn chosen(
    snapshot: &Snapshot,
    caller: &Caller,
    project_id: Option<&str>,
    parent: Option<&Trust>,
    asked: &[RoleNamed],
) -> Result<Vec<String>> {
    let Some(project_id) = project_id else {
        return Ok(Vec::new());
    };
    if asked.is_empty() {
        return Err(Error::forbidden("At least one role should be specified."));
    }
    let person = snapshot.person(&caller.user_id);
    let site = Site::Project(project_id.to_owned());
    let held: Vec<String> = match parent {
        Some(parent) => parent.roles.clone(),
        None => person
            .map(|person| snapshot.role_ids(person, &site).into_iter().map(|id| id.to_string()).collect())
            .unwrap_or_default(),
    };
    let mut chosen = Vec::new();
    for role in asked {
        let id = held.iter().find(|held| match (&role.id, &role.name) {
            (Some(id), _) => *held == id,
            (None, Some(name)) => snapshot.role(held).is_some_and(|known| known.name == *name),
            (None, None) => false,
        });
        let asked = role.id.clone().or_else(|| role.name.clone()).unwrap_or_default();
        chosen.push(id.ok_or_else(|| missing("role", asked))?.clone());
    }
    Ok(chosen)
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, new: Create) -> Result<Trust> {
    check_trusts(caller)?;
    if caller.user_id != new.trustor_user_id {
        return Err(Error::forbidden("The authenticated user should match the trustor."));
    }
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    snapshot.person(&new.trustee_user_id).ok_or_else(|| missing("user", &new.trustee_user_id))?;
    let project = new.project_id.as_deref();
    if let Some(id) = project {
        snapshot.project(id).ok_or_else(|| missing("project", id))?;
    }
    let parent = handed_on(identity, caller).await?;
    let redelegatable = new.allow_redelegation.unwrap_or(false) && new.redelegation_count != Some(0);
    if new.remaining_uses.is_some_and(|uses| uses <= 0) {
        return Err(Error::bad_request("remaining_uses must be a positive integer or null."));
    }
    if new.remaining_uses.is_some() && redelegatable {
        return Err(Error::bad_request("remaining_uses must not be set if redelegation is allowed."));
    }
    let mut trust = Trust {
        id: cx.hex_id(),
        trustor_user_id: new.trustor_user_id,
        trustee_user_id: new.trustee_user_id,
        project_id: new.project_id.clone(),
        impersonation: new.impersonation,
        roles: chosen(&snapshot, caller, project, parent.as_ref(), &new.roles)?,
        expires_at: checked_expiry(new.expires_at.as_deref(), cx.now())?,
        remaining_uses: new.remaining_uses,
        redelegation_count: if redelegatable { new.redelegation_count.unwrap_or(DEPTH_MAX) } else { 0 },
        redelegated_id: None,
        created_at: cx.now(),
    };
    if !(0..=DEPTH_MAX).contains(&trust.redelegation_count) {
        return Err(Error::forbidden(format!(
            "Requested redelegation depth of {} is greater than allowed {DEPTH_MAX}.",
            trust.redelegation_count
        )));
    }
    if let Some(parent) = &parent {
        hand_on(parent, &mut trust, redelegatable, new.redelegation_count)?;
    }
    let target = Target::new(&trust.id).of_user(&trust.trustor_user_id);
    let grant = caller.authorize(cx, CREATE_TRUST, target)?;
    let (grant, trust) = (&grant, &trust);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::rows::find::<User>(tx, &trust.trustee_user_id)
                    .await?
                    .ok_or_else(|| missing("user", &trust.trustee_user_id))?;
                if let Some(parent) = &trust.redelegated_id {
                    db::rows::find::<Trust>(tx, parent).await?.ok_or_else(|| missing("trust", parent))?;
                }
                db::rows::insert(tx, grant, trust, "The trust exists already.").await?;
                let touched = [Touched::Trust(grant.target().to_owned())];
                Ok((trust.clone(), db::revision::bump(tx, touched).await?))
            })
        })
        .await
}

/// What a trust that hands on another must keep of it.
fn hand_on(parent: &Trust, trust: &mut Trust, redelegatable: bool, asked: Option<i64>) -> Result<()> {
    let refuse = |why: &str| Err(Error::forbidden(why));
    if parent.redelegation_count <= 0 {
        return refuse("Remaining redelegation depth of 0 out of allowed range.");
    }
    if trust.remaining_uses.is_some() {
        return refuse("remaining_uses must not be set in order to redelegate a trust.");
    }
    if parent.project_id != trust.project_id {
        return refuse("A trust is handed on for its own project only.");
    }
    if !parent.impersonation && trust.impersonation {
        return refuse(
            "Impersonation is not allowed because redelegated trust does not specify impersonation.",
        );
    }
    match (trust.expires_at, parent.expires_at) {
        (Some(own), Some(limit)) if own > limit => {
            return refuse("Requested expiration time is more than redelegated trust can provide.");
        }
        (None, limit) => trust.expires_at = limit,
        _ => {}
    }
    let left = parent.redelegation_count - 1;
    if redelegatable && asked.is_some_and(|asked| asked != left) {
        return refuse(
            "Modifying \"redelegation_count\" upon redelegation is forbidden. Omitting this parameter is advised.",
        );
    }
    trust.redelegation_count = if redelegatable { left } else { 0 };
    trust.redelegated_id = Some(parent.id.clone());
    Ok(())
}

/// A trust that the caller has to do with, or any for an admin or a reader of the system.
pub(crate) async fn show(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<Trust> {
    check_trusts(caller)?;
    let mut conn = identity.0.db.read().await?;
    let trust: Option<Trust> = db::rows::find(&mut conn, id).await?;
    let trust = trust.filter(|trust| {
        trust.trustor_user_id == caller.user_id
            || trust.trustee_user_id == caller.user_id
            || caller.scope(SHOW_TRUST).is_ok_and(|scope| scope == Scope::All)
    });
    let is_alive = |trust: &Trust| {
        trust.expires_at.is_none_or(|at| at > cx.now()) && trust.remaining_uses.is_none_or(|uses| uses > 0)
    };
    trust.filter(is_alive).ok_or_else(|| missing("trust", id))
}

pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    trustor: Option<&str>,
    trustee: Option<&str>,
) -> Result<Vec<Trust>> {
    check_trusts(caller)?;
    let scope = caller.scope(LIST_TRUSTS)?;
    let own = [trustor, trustee].contains(&Some(caller.user_id.as_str()));
    if scope != Scope::All && !own {
        return Err(Error::forbidden(
            "You are not authorized to perform the requested action: identity:list_trusts.",
        ));
    }
    let mut conn = identity.0.db.read().await?;
    db::rows::select::<Trust>()
        .eq_some("trustor_user_id", trustor)
        .eq_some("trustee_user_id", trustee)
        .all(&mut conn)
        .await
}

/// The roles that a trust hands on.
pub(crate) async fn roles(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<Vec<Role>> {
    let trust = show(identity, cx, caller, id).await?;
    let mut conn = identity.0.db.read().await?;
    db::rows::select::<Role>().any("id", &trust.roles).all(&mut conn).await
}

/// Ends a trust and all that were handed on from it.
pub(crate) async fn delete(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let trust = show(identity, cx, caller, id).await?;
    let grant = caller.authorize(cx, DELETE_TRUST, Target::new(id).of_user(trust.trustor_user_id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let gone = db::trusts::delete(tx, grant).await?;
                if gone.is_empty() {
                    return Err(missing("trust", grant.target()));
                }
                let touched: Vec<Touched> = gone.into_iter().map(Touched::Trust).collect();
                Ok(((), db::revision::bump(tx, touched).await?))
            })
        })
        .await
}
