//! EC2 credentials as the operator of the machine handles them, without an account: `hanse s3 keys`.

use hanse_core::{Cx, Error, Result, Secret, Timestamp};
use hanse_policy::Grant;
use serde_json::json;

use crate::Identity;
use crate::credentials::{self, EC2, access_hash};
use crate::db;
use crate::model::{Site, missing};
use crate::verbs::{DELETE_CREDENTIAL, EC2_CREATE_CREDENTIAL};

/// An access key that the operator brings along, from another cloud perhaps. Source: what `aws_access_key_id` and
/// `aws_secret_access_key` may look like (AWS IAM API Reference, `AccessKey`).
pub struct GivenKey {
    pub access: String,
    pub secret: Secret<String>,
}

/// An access key with its secret.
pub struct MadeKey {
    pub access: String,
    pub secret: Secret<String>,
    pub user_id: String,
    pub project_id: String,
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownKey {
    pub access: String,
    /// Names, or ids of what is gone.
    pub user: String,
    pub project: String,
    /// Whether it is good for anything: its user has a role in the project, and neither is disabled.
    pub is_live: bool,
    pub created_at: Timestamp,
}

fn check(given: &GivenKey) -> Result<()> {
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !(3..=128).contains(&given.access.len()) || !is_plain(&given.access) {
        return Err(Error::bad_request(
            "an access key has 3 to 128 letters, digits, underscores, hyphens and full stops",
        ));
    }
    let secret = given.secret.expose();
    if !(16..=256).contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::bad_request("a secret key has 16 to 256 printable ASCII characters"));
    }
    Ok(())
}

/// Makes an access key for a user on a project, each named by id or by a name that nobody else has. A process that
/// serves already knows it within a second.
///
/// # Errors
/// 400 if the given key cannot be used; 404 if user or project are not there; 409 if the user has no role there, or the
/// access key is taken.
pub async fn create_access_key(
    identity: &Identity,
    cx: &Cx,
    user: &str,
    project: &str,
    given: Option<GivenKey>,
) -> Result<MadeKey> {
    let key = given.unwrap_or_else(|| GivenKey { access: cx.hex_id(), secret: Secret::new(cx.hex_id()) });
    check(&key)?;
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let (person, place) = (snapshot.the_person(user)?, snapshot.the_project(project)?);
    if snapshot.role_ids(person, &Site::Project(place.id.to_string())).is_empty() {
        return Err(Error::conflict(format!(
            "the user {} has no role on the project {}: give one first, with `openstack role add --user … --project … member`",
            person.name, place.name
        )));
    }
    let id = access_hash(&key.access);
    let grant = Grant::operator(cx, EC2_CREATE_CREDENTIAL, id.clone());
    let blob = json!({ "access": key.access, "secret": key.secret.expose() }).to_string();
    let (user_id, project_id) = (person.id.to_string(), place.id.to_string());
    let credential = credentials::Credential {
        blob: credentials::seal(identity, cx, &id, &Secret::new(blob))?,
        access_hash: Some(id.clone()),
        id,
        user_id: user_id.clone(),
        project_id: Some(project_id.clone()),
        kind: EC2.to_owned(),
        created_at: cx.now(),
    };
    credentials::store(identity, cx, &grant, &credential).await?;
    Ok(MadeKey { access: key.access, secret: key.secret, user_id, project_id })
}

/// All access keys, or those of one user or project, which are named by their ids or names.
///
/// # Errors
/// 404 if there is no such user or project.
pub async fn list_access_keys(
    identity: &Identity,
    cx: &Cx,
    user: Option<&str>,
    project: Option<&str>,
) -> Result<Vec<ShownKey>> {
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let user = user.map(|named| snapshot.the_person(named)).transpose()?.map(|person| person.id.clone());
    let project = project.map(|named| snapshot.the_project(named)).transpose()?.map(|place| place.id.clone());
    let mut conn = identity.0.db.read().await?;
    let all = db::credentials::ec2(&mut conn, None).await?;
    drop(conn);
    let mut shown = Vec::new();
    for credential in all {
        let project_id = credential.project_id.clone().unwrap_or_default();
        let is_meant = user.as_deref().is_none_or(|id| *id == *credential.user_id)
            && project.as_deref().is_none_or(|id| *id == *project_id);
        if !is_meant {
            continue;
        }
        let (person, place) = (snapshot.live_person(&credential.user_id), snapshot.project(&project_id));
        let site = Site::Project(project_id.clone());
        let is_live = snapshot.live_site(&site).is_some()
            && person.is_some_and(|person| !snapshot.role_ids(person, &site).is_empty());
        let named = snapshot.person(&credential.user_id).map(|person| person.name.clone());
        shown.push(ShownKey {
            user: named.unwrap_or_else(|| credential.user_id.clone()),
            project: place.map_or(project_id, |place| place.name.clone()),
            is_live,
            created_at: credential.created_at,
            access: credentials::ec2_key(&credentials::open(identity, credential)?)?.access,
        });
    }
    shown.sort_by(|a, b| (&a.project, &a.user, &a.access).cmp(&(&b.project, &b.user, &b.access)));
    Ok(shown)
}

/// Ends an access key. A process that serves refuses it within a second.
///
/// # Errors
/// 404 if there is none.
pub async fn delete_access_key(identity: &Identity, cx: &Cx, access: &str) -> Result<()> {
    let mut conn = identity.0.db.read().await?;
    let found = db::credentials::of_access(&mut conn, &access_hash(access)).await?;
    drop(conn);
    let found = found.ok_or_else(|| missing("access key", access))?;
    let grant = Grant::operator(cx, DELETE_CREDENTIAL, found.id.clone());
    credentials::remove(identity, cx, &grant).await
}
