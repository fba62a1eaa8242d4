//! Credentials that users keep here: EC2 keys, TOTP seeds and whatever else. Their content is sealed at rest.

use hanse_core::{Cx, Error, Page, Result, Secret, hex};
use hanse_crypto::TotpKey;
use hanse_policy::{Caller, Grant, Target};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::delegation::require_primary;
use crate::filters::by_text;
use crate::model::{Project, User, missing};
use crate::row::row;
use crate::snapshot::Ec2Credential;
use crate::verbs::{
    CREATE_CREDENTIAL, DELETE_CREDENTIAL, EC2_CREATE_CREDENTIAL, LIST_CREDENTIALS, SHOW_CREDENTIAL,
    UPDATE_CREDENTIAL,
};

row! {
    Credential in "credentials" {
        user_id: String,
        project_id: Option<String>,
        /// `type` in the API.
        kind: String,
        /// Sealed.
        blob: Vec<u8>,
        /// Of an EC2 credential: see [`access_hash`].
        access_hash: Option<String>,
    }
}

pub(crate) const EC2: &str = "ec2";
pub(crate) const TOTP: &str = "totp";
const BLOB_MAX: usize = 64 * 1024;
/// How many a user may have.
const EACH_MAX: usize = 1000;
const CONFLICT: &str = "Conflict occurred attempting to store credential - Duplicate entry found.";

/// A credential that is open.
pub(crate) struct Opened {
    pub(crate) credential: Credential,
    pub(crate) blob: Secret<String>,
}

/// What an EC2 credential holds.
#[derive(Deserialize)]
pub(crate) struct Ec2Key {
    pub(crate) access: String,
    pub(crate) secret: Secret<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    user_id: String,
    project_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    blob: Value,
}

/// Whose it is, for what and of which kind stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Update {
    blob: Value,
}

fn purpose(id: &str) -> String {
    format!("credentials.blob:{id}")
}

/// By what an EC2 credential is found, and its tokens hang on: they end when the access key changes. It is also the id
/// that the credential got when it was made.
pub(crate) fn access_hash(access: &str) -> String {
    hex(Sha256::digest(access.as_bytes()))
}

pub(crate) fn open(identity: &Identity, credential: Credential) -> Result<Opened> {
    Ok(Opened { blob: unseal(identity, &credential.id, &credential.blob)?, credential })
}

fn unseal(identity: &Identity, id: &str, blob: &[u8]) -> Result<Secret<String>> {
    let bytes = identity.0.master.open(&purpose(id), blob)?;
    let text = std::str::from_utf8(bytes.expose())
        .map_err(|_| Error::internal(format!("credential {id} holds no text")))?;
    Ok(Secret::new(text.to_owned()))
}

pub(crate) fn seal(identity: &Identity, cx: &Cx, id: &str, blob: &Secret<String>) -> Result<Vec<u8>> {
    identity.0.master.seal(cx, &purpose(id), blob.expose().as_bytes())
}

/// The secret of an EC2 credential.
pub(crate) fn secret(identity: &Identity, credential: &Ec2Credential) -> Result<Secret<String>> {
    let blob = unseal(identity, &credential.id, &credential.blob)?;
    let key: Ec2Key = serde_json::from_str(blob.expose())
        .map_err(|_| Error::internal(format!("credential {} is no EC2 credential", credential.id)))?;
    Ok(key.secret)
}

/// What an opened EC2 credential says.
pub(crate) fn ec2_key(opened: &Opened) -> Result<Ec2Key> {
    serde_json::from_str(opened.blob.expose()).map_err(|_| Error::bad_request("Invalid blob in credential"))
}

/// The text to keep; an object is kept as its text.
fn text(blob: &Value) -> Result<Secret<String>> {
    let text = match blob {
        Value::String(text) => text.clone(),
        Value::Object(_) => blob.to_string(),
        _ => {
            return Err(Error::bad_request("Invalid input for field 'blob': it is neither text nor object."));
        }
    };
    if text.is_empty() || text.len() > BLOB_MAX {
        return Err(Error::bad_request(format!("The blob must have 1 to {BLOB_MAX} bytes.")));
    }
    Ok(Secret::new(text))
}

/// Checks what the kind demands, and says by what an EC2 credential is found.
fn checked(kind: &str, blob: &Secret<String>) -> Result<Option<String>> {
    hanse_core::check_name("type", kind)?;
    match kind {
        EC2 => {
            let key: Ec2Key = serde_json::from_str(blob.expose()).map_err(|_| {
                Error::bad_request("Invalid blob in credential: it must have access and secret.")
            })?;
            if key.access.is_empty() || key.access.len() > 255 || key.secret.expose().is_empty() {
                return Err(Error::bad_request("Invalid blob in credential: access or secret is empty."));
            }
            Ok(Some(access_hash(&key.access)))
        }
        TOTP => TotpKey::parse(blob).map(|_| None),
        _ => Ok(None),
    }
}

fn target(id: &str, user_id: &str) -> Target {
    Target::new(id).of_user(user_id)
}

/// Writes a new one, within the limits.
pub(crate) async fn store(identity: &Identity, cx: &Cx, grant: &Grant, new: &Credential) -> Result<()> {
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                db::rows::find::<User>(tx, &new.user_id)
                    .await?
                    .ok_or_else(|| missing("user", &new.user_id))?;
                if let Some(id) = &new.project_id {
                    db::rows::find::<Project>(tx, id).await?.ok_or_else(|| missing("project", id))?;
                }
                if db::credentials::count(tx, &new.user_id).await? >= EACH_MAX {
                    return Err(Error::forbidden(format!("A user has at most {EACH_MAX} credentials.")));
                }
                db::rows::insert(tx, grant, new, CONFLICT).await?;
                Ok(((), db::revision::bump(tx, touched(new)).await?))
            })
        })
        .await
}

fn touched(credential: &Credential) -> Vec<Touched> {
    credential.access_hash.iter().cloned().map(Touched::Ec2Credential).collect()
}

pub(crate) async fn create(identity: &Identity, cx: &Cx, caller: &Caller, new: Create) -> Result<Opened> {
    require_primary(caller, "credentials")?;
    let blob = text(&new.blob)?;
    let access_hash = checked(&new.kind, &blob)?;
    let id = access_hash.clone().unwrap_or_else(|| cx.hex_id());
    if new.kind == EC2 && new.project_id.is_none() {
        return Err(Error::bad_request("An EC2 credential is for a project."));
    }
    let grant = caller.authorize(cx, CREATE_CREDENTIAL, target(&id, &new.user_id))?;
    let sealed = seal(identity, cx, &id, &blob)?;
    let credential = Credential {
        id,
        user_id: new.user_id,
        project_id: new.project_id,
        kind: new.kind,
        blob: sealed,
        access_hash,
        created_at: cx.now(),
    };
    store(identity, cx, &grant, &credential).await?;
    Ok(Opened { credential, blob })
}

/// What a caller may see: their own, or all for admins. Not all for those who may only read: with what they would see
/// here they could log in as anybody.
fn visible(identity: &Identity, caller: &Caller, found: Option<Credential>, id: &str) -> Result<Opened> {
    let found = found.filter(|found| caller.is_admin() || found.user_id == caller.user_id);
    open(identity, found.ok_or_else(|| missing("credential", id))?)
}

pub(crate) async fn show(identity: &Identity, caller: &Caller, id: &str) -> Result<Opened> {
    require_primary(caller, "credentials")?;
    caller.scope(SHOW_CREDENTIAL)?;
    let mut conn = identity.0.db.read().await?;
    visible(identity, caller, db::rows::find(&mut conn, id).await?, id)
}

pub(crate) async fn list(
    identity: &Identity,
    caller: &Caller,
    params: &Params,
    page: &Page,
) -> Result<(Vec<Opened>, bool)> {
    require_primary(caller, "credentials")?;
    caller.scope(LIST_CREDENTIALS)?;
    let select = by_text(db::rows::select::<Credential>(), params, &["user_id"]);
    let select = select.eq_some("kind", params.get("type"));
    let select = if caller.is_admin() { select } else { select.eq("user_id", &caller.user_id) };
    let mut conn = identity.0.db.read().await?;
    let (found, more) = select.page::<Credential>(&mut conn, page).await?;
    Ok((found.into_iter().map(|found| open(identity, found)).collect::<Result<_>>()?, more))
}

pub(crate) async fn update(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: Update,
) -> Result<Opened> {
    let seen = show(identity, caller, id).await?;
    let grant = caller.authorize(cx, UPDATE_CREDENTIAL, target(id, &seen.credential.user_id))?;
    let blob = text(&change.blob)?;
    let access_hash = checked(&seen.credential.kind, &blob)?;
    let sealed = seal(identity, cx, id, &blob)?;
    let credential = Credential { blob: sealed, access_hash, ..seen.credential };
    let (grant, row) = (&grant, &credential);
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let old: Credential =
                    db::rows::find(tx, id).await?.ok_or_else(|| missing("credential", id))?;
                db::rows::update(tx, grant, row, CONFLICT).await?;
                // What hangs on the key of before ends.
                let mut touched = touched(&old);
                touched.extend(row.access_hash.clone().map(Touched::Ec2Credential));
                Ok(((), db::revision::bump(tx, touched).await?))
            })
        })
        .await?;
    Ok(Opened { credential, blob })
}

pub(crate) async fn delete(identity: &Identity, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let seen = show(identity, caller, id).await?;
    remove(identity, cx, &caller.authorize(cx, DELETE_CREDENTIAL, target(id, &seen.credential.user_id))?)
        .await
}

/// Removes the credential that the grant names.
pub(crate) async fn remove(identity: &Identity, cx: &Cx, grant: &Grant) -> Result<()> {
    let id = grant.target();
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row: Credential =
                    db::rows::find(tx, id).await?.ok_or_else(|| missing("credential", id))?;
                db::rows::delete::<Credential>(tx, grant).await?;
                Ok(((), db::revision::bump(tx, touched(&row)).await?))
            })
        })
        .await
}

/// Makes an EC2 credential for a user on a project, with a key and a secret of ours.
pub(crate) async fn create_ec2(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    project_id: &str,
) -> Result<Opened> {
    require_primary(caller, "EC2 credentials")?;
    let (access, secret) = (cx.hex_id(), Secret::new(cx.hex_id()));
    let id = access_hash(&access);
    let grant = caller.authorize(cx, EC2_CREATE_CREDENTIAL, target(&id, user_id))?;
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let person = snapshot.person(user_id).ok_or_else(|| missing("user", user_id))?;
    snapshot.project(project_id).ok_or_else(|| missing("project", project_id))?;
    let site = crate::model::Site::Project(project_id.to_owned());
    if !caller.is_admin() && snapshot.role_ids(person, &site).is_empty() {
        return Err(Error::forbidden("The user has no role on the project."));
    }
    let blob = Secret::new(json!({ "access": access, "secret": secret.expose() }).to_string());
    let credential = Credential {
        blob: seal(identity, cx, &id, &blob)?,
        access_hash: Some(id.clone()),
        id,
        user_id: user_id.to_owned(),
        project_id: Some(project_id.to_owned()),
        kind: EC2.to_owned(),
        created_at: cx.now(),
    };
    store(identity, cx, &grant, &credential).await?;
    Ok(Opened { credential, blob })
}

/// The EC2 credentials of a user.
pub(crate) async fn list_ec2(identity: &Identity, caller: &Caller, user_id: &str) -> Result<Vec<Opened>> {
    require_primary(caller, "EC2 credentials")?;
    caller.scope(LIST_CREDENTIALS)?;
    if !caller.is_admin() && caller.user_id != user_id {
        return Err(Error::forbidden("You are not authorized to see what belongs to another user."));
    }
    let mut conn = identity.0.db.read().await?;
    db::rows::find::<User>(&mut conn, user_id).await?.ok_or_else(|| missing("user", user_id))?;
    let found = db::credentials::of_user(&mut conn, user_id, EC2).await?;
    found.into_iter().map(|found| open(identity, found)).collect()
}

/// The EC2 credential of a user that has this access key. A gateway of this cloud may see it as well.
pub(crate) async fn show_ec2(
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    access: &str,
) -> Result<Opened> {
    require_primary(caller, "EC2 credentials")?;
    let is_gateway = crate::gateway::asks(identity, caller);
    if !is_gateway {
        caller.scope(SHOW_CREDENTIAL)?;
    }
    let mut conn = identity.0.db.read().await?;
    let found = db::credentials::of_access(&mut conn, &access_hash(access)).await?;
    let found = found.filter(|found| found.user_id == user_id);
    if is_gateway {
        return open(identity, found.ok_or_else(|| missing("credential", access))?);
    }
    visible(identity, caller, found, access)
}

pub(crate) async fn delete_ec2(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    user_id: &str,
    access: &str,
) -> Result<()> {
    let opened = show_ec2(identity, caller, user_id, access).await?;
    delete(identity, cx, caller, &opened.credential.id).await
}
