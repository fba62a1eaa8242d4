//! Application credentials: a part of a user's power on one project, with a secret of its own.

use std::collections::BTreeSet;

use hanse_core::{Cx, Error, Kind, Page, Result, Secret, Timestamp, check_text};
use hanse_crypto::secret_hash;
use hanse_policy::{Caller, Delegation, Scope, Target};
use serde::Deserialize;

use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::delegation::check_application_credentials;
use crate::model::{Role, User, checked_name, missing, unauthorized};
use crate::row::row;
use crate::snapshot::Snapshot;
use crate::users::check_password;
use crate::verbs::{
    CREATE_APPLICATION_CREDENTIAL, DELETE_ACCESS_RULE, DELETE_APPLICATION_CREDENTIAL, LIST_ACCESS_RULES,
    LIST_APPLICATION_CREDENTIALS, SHOW_ACCESS_RULE, SHOW_APPLICATION_CREDENTIAL,
};

row! {
    ApplicationCredential in "application_credentials" {
        user_id: String,
        project_id: String,
        name: String,
        description: Option<String>,
        secret_hash: String,
        /// Ids, implied roles included.
        roles: Vec<String> as Json,
        expires_at: Option<Timestamp>,
        unrestricted: bool,
        /// Ids of access rules; `None` if it may make every request.
        access_rules: Option<Vec<String>> as Json,
    }
}

row! {
    AccessRule in "access_rules" {
        user_id: String,
        service: String,
        path: String,
        method: String,
    }
}

/// How many a user may have, and how many rules one of them.
const EACH_MAX: usize = 1000;
const RULES_MAX: usize = 100;
const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    description: Option<String>,
    secret: Option<Secret<String>>,
    #[serde(default)]
    roles: Vec<RoleNamed>,
    expires_at: Option<String>,
    unrestricted: Option<bool>,
    access_rules: Option<Vec<NewRule>>,
    /// Keystone's clients send it; it must be the token's.
    project_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RoleNamed {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRule {
    id: Option<String>,
    service: Option<String>,
    path: Option<String>,
    method: Option<String>,
}

/// What a new one is; the secret is told once.
pub(crate) struct Made {
    pub(crate) credential: ApplicationCredential,
    pub(crate) rules: Vec<AccessRule>,
    pub(crate) secret: Secret<String>,
}

fn purpose(id: &str) -> String {
    format!("application_credentials.secret_hash:{id}")
}

/// Whether this is the secret of the credential.
pub(crate) async fn verify_secret(
    identity: &Identity,
    credential: &ApplicationCredential,
    secret: Secret<String>,
) -> Result<bool> {
    if secret_hash::is_hash(&credential.secret_hash) {
        return secret_hash::verify(
            &identity.0.master,
            &purpose(&credential.id),
            &secret,
            &credential.secret_hash,
        );
    }
    match identity.0.hasher.verify(secret, Some(credential.secret_hash.clone())).await {
        // Too long to be hashed is too long to be right; saying so would tell that there is such a credential.
        Err(error) if error.kind() == Kind::BadRequest => Ok(false),
        other => Ok(other?.is_match()),
    }
}

impl NewRule {
    fn checked(&self, id: String, user_id: &str, now: Timestamp) -> Result<AccessRule> {
        let lacks = || {
            Error::bad_request("An access rule has service, path and method, or the id of one that is there.")
        };
        let rule = AccessRule {
            id,
            user_id: user_id.to_owned(),
            service: self.service.clone().ok_or_else(lacks)?,
            path: self.path.clone().ok_or_else(lacks)?,
            method: self.method.clone().ok_or_else(lacks)?,
            created_at: now,
        };
        hanse_core::check_name("service", &rule.service)?;
        check_text("path", &rule.path, 225)?;
        if !rule.path.starts_with('/') || !METHODS.contains(&rule.method.as_str()) {
            return Err(Error::bad_request(
                "An access rule has a path from the root and one of the methods of HTTP.",
            ));
        }
        // So that no pattern takes long to compare.
        if rule.path.matches("**").count() > 3 {
            return Err(Error::bad_request("The path of an access rule has ** at most three times."));
        }
        Ok(rule)
    }
}

/// The ids of the roles that were asked for, with what they imply; all of the caller's if none were. Each must be one
/// that the caller's token has.
pub(crate) fn chosen_roles(snapshot: &Snapshot, caller: &Caller, asked: &[RoleNamed]) -> Result<Vec<String>> {
    if asked.is_empty() {
        return Ok(caller.roles.iter().map(|role| role.id.clone()).collect());
    }
    let mut chosen = Vec::new();
    for role in asked {
        let held = caller.roles.iter().find(|held| match (&role.id, &role.name) {
            (Some(id), _) => held.id == *id,
            (None, Some(name)) => held.name == *name,
            (None, None) => false,
        });
        let held = held.ok_or_else(|| Error::bad_request("A role was asked for that is not assigned."))?;
        for id in snapshot.implied_by(&held.id) {
            if !chosen.iter().any(|known: &String| **known == **id) {
                chosen.push(id.to_string());
            }
        }
    }
    Ok(chosen)
}

/// A time in the future.
pub(crate) fn checked_expiry(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>> {
    let at = text.map(Timestamp::parse).transpose()?;
    if at.is_some_and(|at| at <= now) {
        return Err(Error::bad_request("The expiration time must be in the future."));
    }
    Ok(at)
}

/// What an application credential makes ends with it at the latest, and one that is confined to some requests makes
/// none that is not.
fn within_parent(
    snapshot: &Snapshot,
    caller: &Caller,
    asked: Option<Timestamp>,
) -> Result<Option<Timestamp>> {
    let Some(Delegation::ApplicationCredential { id, access_rules, .. }) = &caller.delegation else {
        return Ok(asked);
    };
    if access_rules.is_some() {
        return Err(Error::forbidden("An application credential with access rules cannot make another one."));
    }
    let parent = snapshot.application_credential(id).ok_or_else(unauthorized)?;
    Ok(asked.into_iter().chain(parent.expires_at).min())
}

pub(crate) async fn create(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    new: Create,
) -> Result<Made> {
    check_application_credentials(caller, true)?;
    if caller.user_id != user_id {
        return Err(Error::forbidden("Cannot create an application credential for another user."));
    }
    let Some(project_id) = caller.project_id() else {
        return Err(Error::bad_request("An application credential is made with a token for a project."));
    };
    if new.project_id.as_deref().is_some_and(|asked| asked != project_id) {
        return Err(Error::forbidden("An application credential is for the project of the token."));
    }
    check_text("description", new.description.as_deref().unwrap_or_default(), 4096)?;
    let id = cx.hex_id();
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let (secret, hash) = match new.secret {
        // Chosen by somebody it may be weak, so it costs what a password costs.
        Some(secret) => {
            check_password(&secret)?;
            let hash = identity.0.hasher.hash(cx, secret.clone()).await?;
            (secret, hash)
        }
        None => {
            let secret = secret_hash::generate(cx);
            let hash = secret_hash::hash(&identity.0.master, &purpose(&id), &secret)?;
            (secret, hash)
        }
    };
    if new.access_rules.as_ref().is_some_and(|rules| rules.len() > RULES_MAX) {
        return Err(Error::bad_request(format!("There are at most {RULES_MAX} access rules.")));
    }
    let credential = ApplicationCredential {
        id: id.clone(),
        user_id: user_id.to_owned(),
        project_id: project_id.to_owned(),
        name: checked_name(&new.name)?,
        description: new.description,
        secret_hash: hash,
        roles: chosen_roles(&snapshot, caller, &new.roles)?,
        expires_at: within_parent(&snapshot, caller, checked_expiry(new.expires_at.as_deref(), cx.now())?)?,
        unrestricted: new.unrestricted.unwrap_or(false),
        access_rules: None,
        created_at: cx.now(),
    };
    let rules: Option<Vec<(Option<String>, Option<AccessRule>)>> = new
        .access_rules
        .map(|rules| {
            let each = |rule: &NewRule| match &rule.id {
                Some(id) if rule.service.is_none() => Ok((Some(id.clone()), None)),
                _ => Ok((None, Some(rule.checked(cx.hex_id(), user_id, cx.now())?))),
            };
            rules.iter().map(each).collect::<Result<_>>()
        })
        .transpose()?;
    let grant = caller.authorize(cx, CREATE_APPLICATION_CREDENTIAL, Target::new(&id).of_user(user_id))?;
    let (grant, credential, rules) = (&grant, &credential, &rules);
    let (credential, rules) = identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut credential = credential.clone();
                if db::application_credentials::count(tx, user_id).await? >= EACH_MAX {
                    return Err(Error::forbidden(format!(
                        "A user has at most {EACH_MAX} application credentials."
                    )));
                }
                let mut own = Vec::new();
                for (id, new) in rules.iter().flatten() {
                    own.push(db::application_credentials::rule(tx, user_id, id.as_deref(), new.as_ref()).await?);
                }
                credential.access_rules =
                    rules.as_ref().map(|_| own.iter().map(|rule: &AccessRule| rule.id.clone()).collect());
                let conflict = format!(
                    "Conflict occurred attempting to store application_credential - Duplicate entry found with name {}.",
                    credential.name
                );
                db::rows::insert(tx, grant, &credential, &conflict).await?;
                let touched = [Touched::ApplicationCredential(grant.target().to_owned())];
                Ok(((credential, own), db::revision::bump(tx, touched).await?))
            })
        })
        .await?;
    Ok(Made { credential, rules, secret })
}

/// What a caller may see of a user's; the user must be visible, too.
async fn of_user(
    identity: &Identity,
    caller: &Caller,
    verb: hanse_policy::Verb,
    user_id: &str,
) -> Result<()> {
    check_application_credentials(caller, false)?;
    let scope = caller.scope(verb)?;
    if scope != Scope::All && caller.user_id != user_id {
        return Err(Error::forbidden("You are not authorized to see what belongs to another user."));
    }
    let mut conn = identity.0.db.read().await?;
    db::rows::find::<User>(&mut conn, user_id).await?.ok_or_else(|| missing("user", user_id)).map(|_| ())
}

/// A credential with the rules that it has.
pub(crate) type Ruled = (ApplicationCredential, Vec<AccessRule>);

pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    name: Option<&str>,
    page: &Page,
) -> Result<(Vec<Ruled>, bool)> {
    of_user(identity, caller, LIST_APPLICATION_CREDENTIALS, user_id).await?;
    let mut conn = identity.0.db.read().await?;
    let select = db::rows::select::<ApplicationCredential>().eq("user_id", user_id).eq_some("name", name);
    let (found, more) = select.page(&mut conn, page).await?;
    let rules = db::application_credentials::rules(&mut conn, user_id).await?;
    Ok((found.into_iter().map(|credential: ApplicationCredential| ruled(credential, &rules)).collect(), more))
}

/// The roles that stand in these.
pub(crate) async fn roles(identity: &Identity, found: &[Ruled]) -> Result<Vec<Role>> {
    let ids: BTreeSet<&String> = found.iter().flat_map(|(credential, _)| &credential.roles).collect();
    let mut conn = identity.0.db.read().await?;
    db::rows::select::<Role>().any("id", ids).all(&mut conn).await
}

fn ruled(credential: ApplicationCredential, all: &[AccessRule]) -> Ruled {
    let ids = credential.access_rules.clone().unwrap_or_default();
    let own = all.iter().filter(|rule| ids.contains(&rule.id)).cloned().collect();
    (credential, own)
}

pub(crate) async fn show(identity: &Identity, caller: &Caller, user_id: &str, id: &str) -> Result<Ruled> {
    of_user(identity, caller, SHOW_APPLICATION_CREDENTIAL, user_id).await?;
    let mut conn = identity.0.db.read().await?;
    // The user in the path decides what may be seen, so it must be the credential's own.
    let found: Option<ApplicationCredential> = db::rows::select::<ApplicationCredential>()
        .eq("id", id)
        .eq("user_id", user_id)
        .optional(&mut conn)
        .await?;
    let found = found.ok_or_else(|| missing("application credential", id))?;
    let rules = db::application_credentials::rules(&mut conn, user_id).await?;
    Ok(ruled(found, &rules))
}

pub(crate) async fn delete(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    id: &str,
) -> Result<()> {
    check_application_credentials(caller, true)?;
    let (seen, _) = show(identity, caller, user_id, id).await?;
    let grant =
        caller.authorize(cx, DELETE_APPLICATION_CREDENTIAL, Target::new(&seen.id).of_user(user_id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::rows::delete::<ApplicationCredential>(tx, grant).await? == 0 {
                    return Err(missing("application credential", id));
                }
                let touched = [Touched::ApplicationCredential(grant.target().to_owned())];
                Ok(((), db::revision::bump(tx, touched).await?))
            })
        })
        .await
}

pub(crate) async fn list_rules(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
) -> Result<Vec<AccessRule>> {
    of_user(identity, caller, LIST_ACCESS_RULES, user_id).await?;
    let mut conn = identity.0.db.read().await?;
    db::application_credentials::rules(&mut conn, user_id).await
}

pub(crate) async fn show_rule(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    id: &str,
) -> Result<AccessRule> {
    of_user(identity, caller, SHOW_ACCESS_RULE, user_id).await?;
    let mut conn = identity.0.db.read().await?;
    let rules = db::application_credentials::rules(&mut conn, user_id).await?;
    rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| missing("access rule", id))
}

pub(crate) async fn delete_rule(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    id: &str,
) -> Result<()> {
    check_application_credentials(caller, true)?;
    show_rule(identity, caller, user_id, id).await?;
    let grant = caller.authorize(cx, DELETE_ACCESS_RULE, Target::new(id).of_user(user_id))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let used = db::rows::select::<ApplicationCredential>().eq("user_id", user_id).all(tx).await?;
                let in_use = |credential: &ApplicationCredential| {
                    credential.access_rules.as_ref().is_some_and(|rules| rules.iter().any(|rule| rule == id))
                };
                if used.iter().any(in_use) {
                    return Err(Error::forbidden(
                        "The access rule is in use by an application credential and cannot be deleted.",
                    ));
                }
                db::rows::delete::<AccessRule>(tx, grant).await?;
                Ok(((), db::revision::bump(tx, []).await?))
            })
        })
        .await
}
