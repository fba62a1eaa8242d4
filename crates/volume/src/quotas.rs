//! How much a project may use.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result};
use hanse_policy::{Caller, Scope, Target, Verb};
use hanse_store::Tx;

use crate::model::over_quota;
use crate::verbs::{DELETE_QUOTA, SHOW_LIMITS, SHOW_QUOTA, UPDATE_QUOTA};
use crate::{Config, Volume, db};

/// Limits by the names of the API; -1 is without limit.
pub(crate) type Limits = BTreeMap<String, i64>;

/// What can be limited. Of what is not served, nothing is allowed unless an admin says otherwise, which changes
/// nothing.
pub(crate) const NAMES: [&str; 7] =
    ["volumes", "gigabytes", "per_volume_gigabytes", "snapshots", "backups", "backup_gigabytes", "groups"];

/// The limits of a project, and what it uses of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub(crate) limits: Limits,
    pub(crate) volumes: i64,
    pub(crate) gigabytes: i64,
}

impl Quota {
    pub(crate) fn limit(&self, name: &str) -> i64 {
        self.limits.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn used(&self, name: &str) -> i64 {
        match name {
            "volumes" => self.volumes,
            "gigabytes" => self.gigabytes,
            _ => 0,
        }
    }

    fn exceeded(&self, name: &str, more: i64) -> bool {
        let limit = self.limit(name);
        limit >= 0 && more > 0 && self.used(name) + more > limit
    }
}

pub(crate) fn defaults(config: &Config) -> Limits {
    let default = |name: &str| match name {
        "volumes" => config.volumes,
        "gigabytes" => config.gigabytes,
        "per_volume_gigabytes" => -1,
        _ => 0,
    };
    NAMES.iter().map(|name| (name.to_string(), default(name))).collect()
}

async fn read(volume: &Volume, conn: &mut hanse_store::Conn, project_id: &str) -> Result<Quota> {
    let mut limits = defaults(&volume.config);
    limits.extend(db::quotas::show(conn, project_id).await?);
    let (volumes, gigabytes) = db::quotas::used(conn, project_id).await?;
    Ok(Quota { limits, volumes, gigabytes })
}

/// Checks, in the transaction that uses it, that the project may have so many volumes and GiB more; `size` is that of
/// the one volume.
pub(crate) async fn claim(
    volume: &Volume,
    tx: &mut Tx<'_>,
    project_id: &str,
    (volumes, gigabytes): (i64, i64),
    size: u32,
) -> Result<()> {
    let quota = read(volume, tx, project_id).await?;
    let each = quota.limit("per_volume_gigabytes");
    if each >= 0 && i64::from(size) > each {
        return Err(over_quota(format!(
            "VolumeSizeExceedsLimit: Requested volume size {size}G is larger than maximum allowed limit {each}G."
        )));
    }
    if quota.exceeded("gigabytes", gigabytes) {
        return Err(over_quota(format!(
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested \
             {gigabytes}G, quota is {}G and {}G has been consumed.",
            quota.limit("gigabytes"),
            quota.gigabytes
        )));
    }
    if quota.exceeded("volumes", volumes) {
        return Err(over_quota(format!(
            "VolumeLimitExceeded: Maximum number of volumes allowed ({}) exceeded for quota 'volumes'.",
            quota.limit("volumes")
        )));
    }
    Ok(())
}

/// One's own project, or any for an admin.
fn check(caller: &Caller, verb: Verb, project_id: &str) -> Result<()> {
    match caller.scope(verb)? {
        Scope::Project(own) if own != project_id => {
            Err(Error::forbidden("You are not authorized to see the quota of this project."))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn show(volume: &Volume, caller: &Caller, project_id: &str) -> Result<Quota> {
    check(caller, SHOW_QUOTA, project_id)?;
    read(volume, &mut volume.db.read().await?, project_id).await
}

pub(crate) fn show_defaults(volume: &Volume, caller: &Caller, project_id: &str) -> Result<Limits> {
    check(caller, SHOW_QUOTA, project_id)?;
    Ok(defaults(&volume.config))
}

/// For `GET /limits`: those of the project of the token.
pub(crate) async fn show_own(volume: &Volume, caller: &Caller) -> Result<Quota> {
    let Scope::Project(own) = caller.own_scope(SHOW_LIMITS)? else {
        return Err(Error::bad_request("Limits are those of a project: use a token for one."));
    };
    read(volume, &mut volume.db.read().await?, &own).await
}

pub(crate) async fn update(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    project_id: &str,
    changes: &Limits,
) -> Result<Quota> {
    let grant = caller.authorize(cx, UPDATE_QUOTA, Target::new(project_id).in_project(project_id))?;
    for (name, limit) in changes {
        if !NAMES.contains(&name.as_str()) {
            return Err(Error::bad_request(format!("There is no quota '{name}'.")));
        }
        if !(-1..=i64::from(i32::MAX)).contains(limit) {
            return Err(Error::bad_request(format!(
                "{name} must be -1 or a whole number up to {}.",
                i32::MAX
            )));
        }
    }
    let grant = &grant;
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut limits = db::quotas::show(tx, project_id).await?;
                limits.extend(changes.clone());
                db::quotas::update(tx, grant, &limits).await?;
                read(volume, tx, project_id).await
            })
        })
        .await
}

pub(crate) async fn delete(volume: &Volume, cx: &Cx, caller: &Caller, project_id: &str) -> Result<()> {
    let grant = caller.authorize(cx, DELETE_QUOTA, Target::new(project_id).in_project(project_id))?;
    let grant = &grant;
    volume.db.write(cx, grant, |tx| Box::pin(db::quotas::delete(tx, grant))).await
}
