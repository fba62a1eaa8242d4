//! Users.

use std::net::IpAddr;

use hanse_core::{Cx, Error, Page, Result, Secret};
use hanse_crypto::PASSWORD_MAX;
use hanse_policy::{Caller, Grant, Scope, Target, TokenScope};
use hanse_store::Tx;
use hanse_web::Params;
use serde::Deserialize;
use serde_json::Value;

use crate::Identity;
use crate::assignments::check_within_reach;
use crate::auth::{Named, Password, unscoped};
use crate::compliance::{Failures, day};
use crate::db;
use crate::db::revision::Touched;
use crate::db::users::Login;
use crate::delegation::require_primary;
use crate::model::{
    Attributes, Holder, User, check_same_domain, checked_extra, checked_name, missing, nullable, unauthorized,
};
use crate::projects::require_domain;
use crate::token::Methods;
use crate::verbs::{
    CHANGE_PASSWORD, CREATE_USER, DELETE_USER, LIST_USERS, REVOKE_TOKENS_FOR_USER, SHOW_USER, UPDATE_USER,
};

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    domain_id: Option<String>,
    password: Option<Secret<String>>,
    enabled: Option<bool>,
    default_project_id: Option<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    domain_id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    password: Option<Option<Secret<String>>>,
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    default_project_id: Option<Option<String>>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, new: Create) -> Result<User> {
    let id = cx.hex_id();
    let domain_id = new.domain_id.unwrap_or_else(|| home_domain(caller));
    let grant = caller.authorize(cx, CREATE_USER, Target::new(&id).in_domain(&domain_id))?;
    let mut user = User {
        id,
        domain_id,
        name: checked_name(&new.name)?,
        enabled: new.enabled.unwrap_or(true),
        default_project_id: checked_default_project(new.default_project_id)?,
        token_epoch: 0,
        password_expires_at: None,
        last_active_at: None,
        options: Attributes::new(),
        extra: checked_extra(new.extra)?,
        created_at: cx.now(),
    };
    check_user_options(&mut user, new.options)?;
    let hash = hash(identity, cx, new.password).await?;
    let password = identity.0.settings.compliance.given_password(cx.now(), &user.options, hash.as_deref());
    user.password_expires_at = password.expires_at;
    let (new, grant, password) = (&user, &grant, &password);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                require_domain(tx, &new.domain_id).await?;
                check_is_no_domain(tx, new.default_project_id.as_deref()).await?;
                db::users::insert(tx, grant, new, password).await?;
                Ok(((), db::revision::bump(tx, touched(grant)).await?))
            })
        })
        .await?;
    Ok(user)
}

pub(crate) async fn show(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<User> {
    let scope = caller.scope(SHOW_USER)?;
    let mut conn = identity.0.db.read().await?;
    let user = db::users::show(&mut conn, &scope, id).await?.ok_or_else(|| missing("user", id))?;
    Ok(as_seen(identity, cx, user))
}

/// The user as the API shows it: whoever has not been here for too long is not enabled.
pub(crate) fn as_seen(identity: &Identity, cx: &Cx, user: User) -> User {
    let enabled = user.enabled && !identity.0.settings.compliance.is_inactive(cx.now(), &user);
    User { enabled, ..user }
}

pub(crate) async fn list(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    params: &Params,
    page: &Page,
) -> Result<(Vec<User>, bool)> {
    let scope = caller.scope(LIST_USERS)?;
    let mut conn = identity.0.db.read().await?;
    let (users, more) = db::users::list(&mut conn, &scope, params, page).await?;
    Ok((users.into_iter().map(|user| as_seen(identity, cx, user)).collect(), more))
}

pub(crate) async fn update(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: Update,
) -> Result<User> {
    caller.scope(UPDATE_USER)?;
    let user = show(identity, cx, caller, id).await?;
    let target = Target::new(id).in_domain(&user.domain_id);
    let grant = caller.authorize(cx, UPDATE_USER, target)?;
    check_within_reach(identity, cx, caller, &Holder::User(id.to_owned())).await?;
    check_same_domain(change.domain_id.as_deref(), &user.domain_id)?;
    let name = change.name.as_deref().map(checked_name).transpose()?;
    let extra = checked_extra(change.extra)?;
    let default_project_id = change.default_project_id.map(checked_default_project).transpose()?;
    check_user_options(&mut user.clone(), change.options.clone())?;
    let options = change.options;
    // The outer says whether there is a change at all.
    let password = match change.password {
        None => None,
        Some(password) => Some(hash(identity, cx, password).await?),
    };
    let (grant, name, extra, default_project_id, password, enabled, now, options) =
        (&grant, &name, &extra, &default_project_id, &password, change.enabled, cx.now(), &options);
    let rules = &identity.0.settings.compliance;
    let user = identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut user =
                    db::users::show(tx, &Scope::All, id).await?.ok_or_else(|| missing("user", id))?;
                if let Some(name) = name {
                    user.name.clone_from(name);
                }
                if let Some(project) = default_project_id {
                    check_is_no_domain(tx, project.as_deref()).await?;
                    user.default_project_id.clone_from(project);
                }
                check_user_options(&mut user, options.clone())?;
                if let Some(enabled) = enabled {
                    // What was issued before stays dead when the user is enabled again.
                    user.token_epoch += i64::from(user.enabled && !enabled);
                    user.enabled = enabled;
                    if enabled {
                        user.last_active_at = Some(day(now));
                        db::users::set_failures(tx, grant.target(), Failures::NONE).await?;
                    }
                }
                let password =
                    password.as_ref().map(|hash| rules.given_password(now, &user.options, hash.as_deref()));
                if let Some(password) = &password {
                    user.password_expires_at = password.expires_at;
                }
                user.extra.extend(extra.clone());
                let extra = checked_extra(user.extra)?;
                user.extra = extra;
                db::users::update(tx, grant, &user).await?;
                if let Some(password) = &password {
                    db::users::set_password(tx, grant, password, now).await?;
                }
                Ok((user, db::revision::bump_keeping_an_admin(tx, touched(grant)).await?))
            })
        })
        .await?;
    Ok(as_seen(identity, cx, user))
}

pub(crate) async fn delete(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    caller.scope(DELETE_USER)?;
    let user = show(identity, cx, caller, id).await?;
    let grant = caller.authorize(cx, DELETE_USER, Target::new(id).in_domain(&user.domain_id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::users::clear(tx, grant).await?;
                db::rows::delete::<User>(tx, grant).await?;
                Ok(((), db::revision::bump_keeping_an_admin(tx, touched(grant)).await?))
            })
        })
        .await
}

fn touched(grant: &Grant) -> Vec<Touched> {
    vec![Touched::User(grant.target().to_owned())]
}

/// Changes the user's own password. The old one is all that it takes: a token may have died with it.
pub(crate) async fn change_password(
    identity: &Identity,
    cx: &Cx,
    source: Option<IpAddr>,
    id: &str,
    original: Secret<String>,
    new: Secret<String>,
) -> Result<()> {
    check_password(&new)?;
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let user = Named::Id(id.to_owned());
    let Password { login, .. } = identity.check_password(cx, &snapshot, source, &user, original).await?;
    let person = snapshot.live_person(id).ok_or_else(unauthorized)?;
    let caller = unscoped(&snapshot, person, cx.now())?;
    let grant = caller.authorize(cx, CHANGE_PASSWORD, Target::new(id).of_user(id))?;
    let rules = &identity.0.settings.compliance;
    rules.demands.check(&new)?;
    rules.check_own_change(cx.now(), &login)?;
    check_unique(identity, &login, &new).await?;
    let hash = identity.0.hasher.hash(cx, new).await?;
    let (grant, hash, now, checked) = (&grant, hash.as_str(), cx.now(), &login.password_hash);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let login = db::users::standing(tx, id).await?.ok_or_else(unauthorized)?;
                if rules.is_locked(now, &login.user.options, login.failures) {
                    return Err(unauthorized());
                }
                if login.password_hash != *checked {
                    return Err(Error::conflict(
                        "The password was changed meanwhile; try again with the new one.",
                    ));
                }
                db::users::set_password(tx, grant, &rules.own_password(now, &login.user, hash), now).await?;
                Ok(((), db::revision::bump(tx, touched(grant)).await?))
            })
        })
        .await
}

/// Ends all tokens of a user. What they handed on, application credentials and trusts, stays; its tokens end.
pub(crate) async fn revoke_tokens(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    // What was handed on must not throw its owner out.
    require_primary(caller, "ending all tokens of a user")?;
    let grant = caller.authorize(cx, REVOKE_TOKENS_FOR_USER, Target::new(id).of_user(id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::users::end_tokens(tx, grant).await? == 0 {
                    return Err(missing("user", id));
                }
                Ok(((), db::revision::bump(tx, touched(grant)).await?))
            })
        })
        .await
}

/// # Errors
/// 400 if the new password is one of the last ones.
async fn check_unique(identity: &Identity, login: &Login, new: &Secret<String>) -> Result<()> {
    let rules = &identity.0.settings.compliance;
    let Some(former) = rules.unique_last_password_count.checked_sub(1) else { return Ok(()) };
    let mut conn = identity.0.db.read().await?;
    let former = db::users::former_passwords(&mut conn, &login.user.id, former).await?;
    drop(conn);
    for hash in login.password_hash.clone().into_iter().chain(former) {
        if identity.0.hasher.verify(new.clone(), Some(hash)).await?.is_match() {
            return Err(rules.not_unique());
        }
    }
    Ok(())
}

/// Where a new object belongs if the client does not say: the domain that the token is for, or whose project.
pub(crate) fn home_domain(caller: &Caller) -> String {
    match &caller.scope {
        TokenScope::Domain(domain) => domain.id.clone(),
        TokenScope::Project(project) => project.domain.id.clone(),
        TokenScope::Unscoped | TokenScope::System => caller.user_domain.id.clone(),
    }
}

pub(crate) fn check_password(password: &Secret<String>) -> Result<()> {
    match password.expose().len() {
        0 => Err(Error::bad_request("The password must not be empty.")),
        length if length > PASSWORD_MAX => {
            Err(Error::bad_request(format!("The password is longer than {PASSWORD_MAX} bytes.")))
        }
        _ => Ok(()),
    }
}

async fn hash(identity: &Identity, cx: &Cx, password: Option<Secret<String>>) -> Result<Option<String>> {
    let Some(password) = password else { return Ok(None) };
    check_password(&password)?;
    identity.0.settings.compliance.demands.check(&password)?;
    identity.0.hasher.hash(cx, password).await.map(Some)
}

fn checked_default_project(id: Option<String>) -> Result<Option<String>> {
    if let Some(id) = &id {
        hanse_core::check_text("default_project_id", id, 64)?;
    }
    Ok(id)
}

/// A default project may be one that is not there (any more), but no domain.
async fn check_is_no_domain(tx: &mut Tx<'_>, default_project_id: Option<&str>) -> Result<()> {
    let Some(id) = default_project_id else { return Ok(()) };
    match db::projects::show(tx, &Scope::All, true, id).await? {
        None => Ok(()),
        Some(_) => Err(Error::bad_request("A domain cannot be the default project of a user.")),
    }
}

/// Options that are true or false.
const FLAGS: [&str; 6] = [
    "ignore_change_password_upon_first_use",
    "ignore_password_expiry",
    "ignore_lockout_failure_attempts",
    "ignore_user_inactivity",
    "lock_password",
    "multi_factor_auth_enabled",
];
const MFA_RULES: &str = "multi_factor_auth_rules";
const MFA_RULES_MAX: usize = 32;

/// Changes the options as a client asks: `null` takes one away.
fn check_user_options(user: &mut User, options: Attributes) -> Result<()> {
    for (key, value) in options {
        let known = FLAGS.contains(&key.as_str());
        match value {
            Value::Null if known || key == MFA_RULES => {
                user.options.remove(&key);
            }
            Value::Bool(_) if known => {
                user.options.insert(key, value);
            }
            Value::Array(rules) if key == MFA_RULES => {
                user.options.insert(key, checked_rules(rules)?);
            }
            _ => return Err(Error::bad_request(format!("Invalid input for field 'options': {key}."))),
        }
    }
    Ok(())
}

fn checked_rules(rules: Vec<Value>) -> Result<Value> {
    let bad = || Error::bad_request("The rules are lists of names of methods, none of them empty.");
    if rules.len() > MFA_RULES_MAX {
        return Err(bad());
    }
    for rule in &rules {
        let methods = rule.as_array().filter(|methods| (1..=8).contains(&methods.len())).ok_or_else(bad)?;
        if !methods
            .iter()
            .all(|method| method.as_str().is_some_and(|name| !name.is_empty() && name.len() < 64))
        {
            return Err(bad());
        }
    }
    Ok(Value::Array(rules))
}

/// The sets of methods of which a user must prove one. Methods that we do not have are passed over, as in Keystone; a
/// set that has none else asks for nothing.
pub(crate) fn mfa_rules(options: &Attributes) -> Vec<Vec<String>> {
    if options.get("multi_factor_auth_enabled") == Some(&Value::Bool(false)) {
        return Vec::new();
    }
    let rules = options.get(MFA_RULES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let known = |rule: &Value| -> Vec<String> {
        let methods = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
        methods.filter(|name| Methods::is_known(name)).map(str::to_owned).collect()
    };
    rules.iter().map(known).filter(|rule| !rule.is_empty()).collect()
}
