use axum::Json;
use axum::extract::{Path, State};
use hanse_core::Error;
use hanse_web::{Body, Params, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::here::{Here, One};
use crate::Volume;
use crate::quotas::{self, Limits, NAMES, Quota};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    quota_set: Map<String, Value>,
}

fn set(id: Option<&str>, line: impl Fn(&str) -> Value) -> Json<Value> {
    let mut set: Map<String, Value> = NAMES.iter().map(|name| (name.to_string(), line(name))).collect();
    if let Some(id) = id {
        set.insert("id".to_owned(), id.into());
    }
    Json(json!({ "quota_set": set }))
}

pub(crate) async fn show(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    params: Params,
) -> Reply<Json<Value>> {
    let quota = quotas::show(&volume, &call.caller, &one.id).await?;
    let usage = params.flag("usage")?.unwrap_or(false);
    let line = |name: &str| match usage {
        true => json!({ "limit": quota.limit(name), "in_use": quota.used(name), "reserved": 0 }),
        false => quota.limit(name).into(),
    };
    Ok(set(Some(&one.id), line))
}

pub(crate) async fn defaults(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
) -> Reply<Json<Value>> {
    let limits = quotas::show_defaults(&volume, &call.caller, &one.id)?;
    Ok(set(Some(&one.id), |name| limits.get(name).copied().into()))
}

pub(crate) async fn update(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    Body(body): Body<Request>,
) -> Reply<Json<Value>> {
    let mut changes = Limits::new();
    for (name, value) in body.quota_set {
        // Clients repeat the project that the path names.
        if matches!(name.as_str(), "tenant_id" | "project_id" | "id" | "force") {
            continue;
        }
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let number = number.ok_or_else(|| Error::bad_request(format!("{name} must be a whole number.")))?;
        changes.insert(name, number);
    }
    let quota = quotas::update(&volume, &call.cx, &call.caller, &one.id, &changes).await?;
    Ok(set(None, |name| quota.limit(name).into()))
}

pub(crate) async fn delete(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
) -> Reply<()> {
    Ok(quotas::delete(&volume, &call.cx, &call.caller, &one.id).await?)
}

pub(crate) async fn limits(State(volume): State<Volume>, Here(call): Here) -> Reply<Json<Value>> {
    let quota: Quota = quotas::show_own(&volume, &call.caller).await?;
    Ok(Json(json!({ "limits": { "rate": [], "absolute": {
        "maxTotalVolumes": quota.limit("volumes"), "totalVolumesUsed": quota.used("volumes"),
        "maxTotalVolumeGigabytes": quota.limit("gigabytes"), "totalGigabytesUsed": quota.used("gigabytes"),
        "maxTotalSnapshots": quota.limit("snapshots"), "totalSnapshotsUsed": 0,
        "maxTotalBackups": quota.limit("backups"), "totalBackupsUsed": 0,
        "maxTotalBackupGigabytes": quota.limit("backup_gigabytes"), "totalBackupGigabytesUsed": 0,
    }}})))
}
