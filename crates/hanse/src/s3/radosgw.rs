//! Ceph's radosgw as the engine: what it must be configured with, and what projects use of it.

use std::path::Path;

use hanse_core::{Context, Cx, Error, Result, Secret};
use hanse_crypto::secret_file;
use hanse_identity::{ProjectUser, ensure_project_user, reset_password};
use serde_json::json;

use crate::admin::inside;
use crate::config::{Config, Engine};
use crate::state::State;
use crate::user::Acting;
use crate::{runtime, wiring};

/// The user as which radosgw asks identity, and its project.
const USER: &str = "radosgw";
const PROJECT: &str = "service";
/// What it may: look into tokens and signatures, and read the secret of an access key that it names.
const ROLE: &str = "service";

const SETTINGS: &str = "radosgw.conf";
const PASSWORD: &str = "keystone-password";
const CA: &str = "hanse-ca.crt";

/// # Errors
/// 409 if the objects are in the hands of our own engine.
fn require(config: &Config) -> Result<()> {
    match config.objectstore.engine {
        Engine::Radosgw => Ok(()),
        Engine::Embedded => {
            Err(Error::conflict("this takes `objectstore.engine = \"radosgw\"` in the configuration"))
        }
    }
}

/// Makes the user as which radosgw asks, with a new password, and writes what radosgw needs into `directory`; `installed` is where
/// these files will lie on the machine of radosgw.
///
/// # Errors
/// 409 if the engine is another; if something cannot be written.
pub fn configure(cx: &Cx, config: &Config, state: &State, directory: &Path, installed: &Path) -> Result<()> {
    require(config)?;
    let password = Secret::new(cx.hex_id());
    let new = password.clone();
    inside(cx, config, state, async |db, keys| {
        let user = ProjectUser {
            project: PROJECT.to_owned(),
            user: USER.to_owned(),
            password: new.clone(),
            role: ROLE.to_owned(),
        };
        ensure_project_user(db, cx, &keys.hasher, user).await?;
        // It may have been there, with another.
        reset_password(db, cx, &keys.hasher, USER, "Default", new).await
    })?;
    std::fs::create_dir_all(directory).context(format!("cannot make {}", directory.display()))?;
    secret_file::write(&directory.join(PASSWORD), 0o600, password.expose().as_bytes())?;
    if let Some(ca) = secret_file::read_public(&state.authority().join("ca.crt"), 1 << 16)?
        && config.tls.certificate.is_none()
    {
        secret_file::write(&directory.join(CA), 0o644, &ca)?;
    }
    secret_file::write(&directory.join(SETTINGS), 0o644, settings(config, installed).as_bytes())?;
    tell!("{} belongs into the section of radosgw in ceph.conf.", directory.join(SETTINGS).display());
    tell!("{} belongs to {}, readable by the user of radosgw alone.", PASSWORD, installed.display());
    if config.tls.certificate.is_none() {
        tell!("{CA} belongs to the authorities that the machine of radosgw trusts.");
    }
    tell!("The user {USER} has a new password: a radosgw with an older one is let in no more.");
    Ok(())
}

/// The settings of radosgw. Source: Ceph Object Gateway, "Integrating with OpenStack Keystone"; tried on 18.2.7.
fn settings(config: &Config, installed: &Path) -> String {
    format!(
        "rgw_keystone_url = {}/identity\n\
         rgw_keystone_api_version = 3\n\
         rgw_keystone_admin_user = {USER}\n\
         rgw_keystone_admin_password_path = {}\n\
         rgw_keystone_admin_domain = Default\n\
         rgw_keystone_admin_project = {PROJECT}\n\
         rgw_keystone_verify_ssl = true\n\
         # It knows no role that only reads: whoever has one of these may do everything in the project.\n\
         rgw_keystone_accepted_roles = member\n\
         # Whoever has one of these might do everything in all projects.\n\
         rgw_keystone_accepted_admin_roles =\n\
         # Each project has a namespace of buckets of its own.\n\
         rgw_keystone_implicit_tenants = true\n\
         rgw_s3_auth_use_keystone = true\n\
         # Its own keys first: for those of its admin it need not ask.\n\
         rgw_s3_auth_order = local, external\n\
         rgw_swift_account_in_url = true\n\
         # Neither logins of its own for Swift nor STS and IAM: who there is, Hanse says.\n\
         rgw_enable_apis = s3, swift, admin\n\
         # Limits hold for all gateways together after this time, in seconds.\n\
         rgw_bucket_quota_ttl = 60\n",
        config.api.public_url,
        installed.join(PASSWORD).display(),
    )
}

/// What radosgw says that projects may have and use.
///
/// # Errors
/// 503 if it does not answer.
pub fn usage(cx: &Cx, config: &Config, state: &State, project: Option<&str>, as_json: bool) -> Result<()> {
    require(config)?;
    let projects = inside(cx, config, state, async |db, keys| {
        wiring::services(cx, config, db, keys)?.identity.projects(cx).await
    })?;
    let _acting = Acting::start(&config.user.0)?;
    let lines = runtime(1)?.block_on(async {
        let admin = wiring::radosgw(cx, config)?.ok_or_else(|| Error::internal("no radosgw"))?;
        let mut lines = Vec::new();
        for (known, _) in projects {
            if project.is_some_and(|wanted| wanted != known.id && wanted != known.name) {
                continue;
            }
            if let Some(account) = admin.usage(&known.id).await? {
                lines.push((known, account));
            }
        }
        Ok::<_, Error>(lines)
    })?;
    if as_json {
        let line = |(known, account): &(hanse_policy::ProjectRef, hanse_objectstore::radosgw::Account)| {
            json!({
                "project_id": known.id, "project": known.name, "suspended": account.is_suspended(),
                "bytes": account.used().size, "objects": account.used().num_objects,
                "max_bytes": account.max_bytes(), "max_objects": account.max_objects(),
            })
        };
        tell!("{:#}", json!(lines.iter().map(line).collect::<Vec<_>>()));
        return Ok(());
    }
    let limit = |limit: Option<u64>| limit.map_or_else(|| "any number".to_owned(), |limit| limit.to_string());
    for (known, account) in &lines {
        let note = if account.is_suspended() { ", suspended" } else { "" };
        tell!(
            "{} {}: {} of {} bytes, {} of {} objects{note}",
            known.id,
            known.name,
            account.used().size,
            limit(account.max_bytes()),
            account.used().num_objects,
            limit(account.max_objects()),
        );
    }
    if lines.is_empty() {
        tell!("radosgw knows no such project: it does from its first request on, or once it has limits.");
    }
    Ok(())
}
