use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Result};
use hanse_web::{Call, Params, Reply};
use serde_json::{Map, Value, json};

use crate::Deps;
use crate::ports::Quota;
use crate::servers;
use crate::verbs;

/// The field says that there is no limit, or that the network service has it.
const ELSEWHERE: i32 = -1;

pub async fn show(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    call.caller.scope(verbs::LIMITS)?;
    let own = call.caller.project_id();
    let project = params.get("tenant_id").filter(|_| call.caller.is_admin()).or(own);
    let project = project
        .ok_or_else(|| Error::bad_request("Limits are those of a project: name one, or work in one."))?;
    let (limit, used) = servers::quota(&deps, &call.cx, project).await?;
    Ok(Json(json!({"limits": {"rate": [], "absolute": {
        "maxTotalInstances": limit.instances,
        "maxTotalCores": limit.cores,
        "maxTotalRAMSize": limit.ram,
        "totalInstancesUsed": used.instances,
        "totalCoresUsed": used.cores,
        "totalRAMUsed": used.ram,
        "maxTotalKeypairs": deps.config.key_pairs,
        "maxServerMeta": deps.config.metadata_items,
        "maxImageMeta": 128,
        "maxPersonality": 0,
        "maxPersonalitySize": 0,
        "maxSecurityGroups": ELSEWHERE,
        "maxSecurityGroupRules": ELSEWHERE,
        "maxTotalFloatingIps": ELSEWHERE,
        "totalSecurityGroupsUsed": 0,
        "totalFloatingIpsUsed": 0,
        "maxServerGroups": 0,
        "maxServerGroupMembers": 0,
        "totalServerGroupsUsed": 0,
    }}})))
}

/// Name, limit and use of everything that a quota set lists.
fn lines(deps: &Deps, limit: &Quota, used: &Quota) -> [(&'static str, i64, i64); 14] {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let elsewhere = i64::from(ELSEWHERE);
    [
        ("instances", limit.instances.into(), used.instances.into()),
        ("cores", limit.cores.into(), used.cores.into()),
        ("ram", whole(limit.ram), whole(used.ram)),
        ("key_pairs", deps.config.key_pairs.into(), 0),
        ("metadata_items", deps.config.metadata_items.into(), 0),
        ("floating_ips", elsewhere, 0),
        ("fixed_ips", elsewhere, 0),
        ("security_groups", elsewhere, 0),
        ("security_group_rules", elsewhere, 0),
        ("server_groups", 0, 0),
        ("server_group_members", 0, 0),
        ("injected_files", 0, 0),
        ("injected_file_content_bytes", 0, 0),
        ("injected_file_path_bytes", 0, 0),
    ]
}

/// One's own project, or any for an admin.
fn check(call: &Call, project: &str) -> Result<()> {
    let scope = call.caller.scope(verbs::QUOTAS_SHOW)?;
    match scope {
        hanse_policy::Scope::Project(own) if own != project => {
            Err(Error::forbidden("You are not authorized to see the quota of this project."))
        }
        _ => Ok(()),
    }
}

fn set(project: &str, lines: impl IntoIterator<Item = (&'static str, Value)>) -> Json<Value> {
    let mut set: Map<String, Value> =
        lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    set.insert("id".to_owned(), project.into());
    Json(json!({ "quota_set": set }))
}

pub async fn quota(State(deps): State<Deps>, call: Call, Path(project): Path<String>) -> Reply<Json<Value>> {
    check(&call, &project)?;
    let (limit, used) = servers::quota(&deps, &call.cx, &project).await?;
    Ok(set(&project, lines(&deps, &limit, &used).map(|(name, limit, _)| (name, limit.into()))))
}

pub async fn default_quota(
    State(deps): State<Deps>,
    call: Call,
    Path(project): Path<String>,
) -> Reply<Json<Value>> {
    check(&call, &project)?;
    let limit = deps.config.quota;
    Ok(set(&project, lines(&deps, &limit, &limit).map(|(name, limit, _)| (name, limit.into()))))
}

pub async fn quota_detail(
    State(deps): State<Deps>,
    call: Call,
    Path(project): Path<String>,
) -> Reply<Json<Value>> {
    check(&call, &project)?;
    let (limit, used) = servers::quota(&deps, &call.cx, &project).await?;
    let detail = |(name, limit, used)| (name, json!({"limit": limit, "in_use": used, "reserved": 0}));
    Ok(set(&project, lines(&deps, &limit, &used).map(detail)))
}
