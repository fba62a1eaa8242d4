//! How much of everything a project may have. Usage is counted in the transaction that claims it.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result};
use hanse_policy::{Caller, Target};
use hanse_store::Tx;

use crate::db::quotas as db;
use crate::error::{invalid, named};
use crate::{Network, verbs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Network,
    Subnet,
    Port,
    Router,
    FloatingIp,
    SecurityGroup,
    Rule,
}

impl Resource {
    pub const ALL: [Resource; 7] = [
        Resource::Network,
        Resource::Subnet,
        Resource::Port,
        Resource::Router,
        Resource::FloatingIp,
        Resource::SecurityGroup,
        Resource::Rule,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Resource::Network => "network",
            Resource::Subnet => "subnet",
            Resource::Port => "port",
            Resource::Router => "router",
            Resource::FloatingIp => "floatingip",
            Resource::SecurityGroup => "security_group",
            Resource::Rule => "security_group_rule",
        }
    }

    pub fn table(self) -> &'static str {
        match self {
            Resource::Network => "networks",
            Resource::Subnet => "subnets",
            Resource::Port => "ports",
            Resource::Router => "routers",
            Resource::FloatingIp => "floating_ips",
            Resource::SecurityGroup => "security_groups",
            Resource::Rule => "security_group_rules",
        }
    }

    /// Neutron's own defaults.
    pub fn default_limit(self) -> i64 {
        match self {
            Resource::Network | Resource::Subnet | Resource::Rule => 100,
            Resource::Port => 500,
            Resource::FloatingIp => 50,
            Resource::Router | Resource::SecurityGroup => 10,
        }
    }
}

/// A limit for each resource; -1 is none.
pub type Limits = BTreeMap<&'static str, i64>;

/// Limit and use of one resource.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Usage {
    pub limit: i64,
    pub used: i64,
    /// Nothing is ever reserved: what is counted is there.
    pub reserved: i64,
}

fn limits(set: &BTreeMap<String, i64>) -> Limits {
    Resource::ALL
        .into_iter()
        .map(|resource| {
            (resource.name(), set.get(resource.name()).copied().unwrap_or(resource.default_limit()))
        })
        .collect()
}

/// Refuses, in the transaction that is about to add `count` of them, what the project has no quota for.
///
/// # Errors
/// `OverQuota`.
pub async fn claim(tx: &mut Tx<'_>, project: &str, resource: Resource, count: usize) -> Result<()> {
    let set = db::show(tx, project).await?;
    let limit = set.get(resource.name()).copied().unwrap_or(resource.default_limit());
    if limit < 0 {
        return Ok(());
    }
    let used = db::used(tx, project, resource).await?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    match used.saturating_add(count) <= limit {
        true => Ok(()),
        false => Err(Error::over_quota(format!("Quota exceeded for resources: ['{}'].", resource.name()))),
    }
}

fn check_project(project: &str) -> Result<()> {
    match project.is_empty() || project.len() > 255 {
        true => Err(named(
            hanse_core::Kind::BadRequest,
            "HTTPBadRequest",
            "The project id is missing or too long.",
        )),
        false => Ok(()),
    }
}

pub async fn show(network: &Network, cx: &Cx, caller: &Caller, project: &str) -> Result<Limits> {
    check_project(project)?;
    // Others' quotas are no secret of this project's, but neither are they its business: 403, as upstream.
    caller.authorize(cx, verbs::SHOW_QUOTA, Target::new(project).in_project(project))?;
    Ok(limits(&db::show(&mut network.db.read().await?, project).await?))
}

pub async fn show_default(_: &Network, cx: &Cx, caller: &Caller, project: &str) -> Result<Limits> {
    check_project(project)?;
    caller.authorize(cx, verbs::SHOW_QUOTA, Target::new(project).in_project(project))?;
    Ok(limits(&BTreeMap::new()))
}

pub async fn show_usage(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    project: &str,
) -> Result<BTreeMap<&'static str, Usage>> {
    let limits = show(network, cx, caller, project).await?;
    let mut conn = network.db.read().await?;
    let mut usage = BTreeMap::new();
    for resource in Resource::ALL {
        let used = db::used(&mut conn, project, resource).await?;
        let limit = limits.get(resource.name()).copied().unwrap_or(-1);
        usage.insert(resource.name(), Usage { limit, used, reserved: 0 });
    }
    Ok(usage)
}

pub async fn list(network: &Network, caller: &Caller) -> Result<Vec<(String, Limits)>> {
    caller.scope(verbs::LIST_QUOTAS)?;
    let all = db::list(&mut network.db.read().await?).await?;
    Ok(all.into_iter().map(|(project, set)| (project, limits(&set))).collect())
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    project: &str,
    wanted: &[(Resource, i64)],
) -> Result<Limits> {
    check_project(project)?;
    if let Some((resource, value)) = wanted.iter().find(|(_, value)| !(-1..=1_000_000_000).contains(value)) {
        return Err(invalid(format!("{value} is no quota for {}: give -1 for no limit.", resource.name())));
    }
    let grant = caller.authorize(cx, verbs::UPDATE_QUOTA, Target::new(project).in_project(project))?;
    let grant = &grant;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                for (resource, value) in wanted {
                    db::update(tx, grant, *resource, *value).await?;
                }
                Ok(limits(&db::show(tx, grant.target()).await?))
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, project: &str) -> Result<()> {
    check_project(project)?;
    let grant = caller.authorize(cx, verbs::DELETE_QUOTA, Target::new(project).in_project(project))?;
    let grant = &grant;
    network.db.write(cx, grant, |tx| Box::pin(db::delete(tx, grant))).await
}
