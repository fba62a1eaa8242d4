//! Security groups and their rules.

pub mod rules;

use hanse_core::{Cx, Kind, Result, Uuid, check_text};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_web::Params;
use hanse_work::wake;

use crate::db::security_groups as db;
use crate::error::{Noun, conflict, named};
use crate::listing::{Found, Listing};
use crate::model::{Direction, EtherType, RuleRow, SecurityGroupRow, Standard};
use crate::quotas::{Resource, claim};
use crate::reconcile::SECURITY_GROUPS;
use crate::{Network, verbs};

/// What a client says of a new group.
#[derive(Clone, Debug)]
pub struct NewGroup {
    pub project_id: String,
    pub name: String,
    pub description: String,
}

pub async fn list(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    params: &Params,
) -> Result<Found<SecurityGroupRow>> {
    let scope = caller.scope(verbs::SHOW_SECURITY_GROUP)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    if let Some(project) = caller.project_id() {
        ensure_default_of_caller(network, cx, caller, project).await?;
    }
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

/// A project sees its default group from the first look on.
async fn ensure_default_of_caller(network: &Network, cx: &Cx, caller: &Caller, project: &str) -> Result<()> {
    if db::default_of(&mut network.db.read().await?, project).await?.is_some() {
        return Ok(());
    }
    let target = Target::new(project).in_project(project);
    let grant = &caller.authorize(cx, verbs::ENSURE_DEFAULT_GROUP, target)?;
    network.db.write(cx, grant, |tx| Box::pin(ensure_default(tx, cx, grant, project))).await.map(drop)
}

/// The default group of a project, made in this transaction if there is none yet: everything may leave, and what may
/// enter comes from members of the group.
pub async fn ensure_default(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, project: &str) -> Result<Uuid> {
    if let Some(id) = db::default_of(tx, project).await? {
        return Ok(id);
    }
    let mut group = new_row(cx, cx.uuid(), project, "default", "Default security group");
    group.is_default = true;
    for ethertype in [EtherType::Ipv4, EtherType::Ipv6] {
        let mut rule = any_rule(cx, &group, Direction::Ingress, ethertype);
        rule.remote_group_id = Some(group.standard.id);
        group.rules.push(rule);
    }
    db::insert(tx, grant, &group).await?;
    Ok(group.standard.id)
}

/// A group from which everything may leave.
fn new_row(cx: &Cx, id: Uuid, project: &str, name: &str, description: &str) -> SecurityGroupRow {
    let standard = Standard {
        id,
        project_id: project.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        revision: 1,
        created_at: cx.now(),
        updated_at: cx.now(),
    };
    let mut group = SecurityGroupRow { standard, is_default: false, rules: Vec::new() };
    for ethertype in [EtherType::Ipv4, EtherType::Ipv6] {
        group.rules.push(any_rule(cx, &group, Direction::Egress, ethertype));
    }
    group
}

fn any_rule(cx: &Cx, group: &SecurityGroupRow, direction: Direction, ethertype: EtherType) -> RuleRow {
    RuleRow {
        id: cx.uuid(),
        security_group_id: group.standard.id,
        project_id: group.standard.project_id.clone(),
        description: String::new(),
        direction,
        ethertype,
        protocol: None,
        port_range_min: None,
        port_range_max: None,
        remote_ip_prefix: None,
        remote_group_id: None,
        created_at: cx.now(),
    }
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<SecurityGroupRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_SECURITY_GROUP)?, Noun::SecurityGroup.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::SecurityGroup.missing(id))
}

fn check(name: &str, description: &str) -> Result<()> {
    check_text("name", name, hanse_core::NAME_MAX)?;
    check_text("description", description, hanse_core::NAME_MAX)
}

pub async fn create(network: &Network, cx: &Cx, caller: &Caller, new: &NewGroup) -> Result<SecurityGroupRow> {
    check(&new.name, &new.description)?;
    let target = Target::new(cx.uuid()).in_project(&new.project_id);
    let grant = &caller.authorize(cx, verbs::CREATE_SECURITY_GROUP, target)?;
    if new.name == "default" {
        return Err(conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists."));
    }
    let row = &new_row(cx, crate::db::target(grant)?, &new.project_id, &new.name, &new.description);
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                ensure_default(tx, cx, grant, &row.standard.project_id).await?;
                claim(tx, &row.standard.project_id, Resource::SecurityGroup, 1).await?;
                db::insert(tx, grant, row).await
            })
        })
        .await?;
    Ok(row.clone())
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    name: Option<String>,
    description: Option<String>,
) -> Result<SecurityGroupRow> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::UPDATE_SECURITY_GROUP, target)?;
    let (name, description) = (&name, &description);
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let id = crate::db::target(grant)?;
                let row =
                    db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::SecurityGroup.missing(id))?;
                let name = name.as_deref().unwrap_or(&row.standard.name);
                let description = description.as_deref().unwrap_or(&row.standard.description);
                check(name, description)?;
                if row.is_default && name != row.standard.name {
                    return Err(conflict(
                        "SecurityGroupCannotUpdateDefault",
                        "Updating default security group not allowed.",
                    ));
                }
                if !row.is_default && name == "default" {
                    return Err(conflict(
                        "SecurityGroupDefaultAlreadyExists",
                        "Default security group already exists.",
                    ));
                }
                db::update(tx, cx, grant, name, description).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::SecurityGroup.missing(id))
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_SECURITY_GROUP, target)?;
    if known.is_default && !caller.is_admin() {
        return Err(conflict(
            "SecurityGroupCannotRemoveDefault",
            "Insufficient rights for removing default security group.",
        ));
    }
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let id = crate::db::target(grant)?;
                if db::is_used(tx, id).await? {
                    return Err(conflict("SecurityGroupInUse", format!("Security Group {id} in use.")));
                }
                for other in db::naming(tx, id).await? {
                    wake(tx, cx, SECURITY_GROUPS, &other.to_string()).await?;
                }
                db::delete(tx, grant).await?;
                wake(tx, cx, SECURITY_GROUPS, grant.target()).await
            })
        })
        .await
}

/// The groups that a client wants a port of `project` to be in. Whoever sees a group may use it.
///
/// # Errors
/// 404 for one that the project does not have.
pub async fn chosen(tx: &mut Tx<'_>, project: &str, wanted: &[Uuid]) -> Result<Vec<Uuid>> {
    let mut all = wanted.to_vec();
    all.sort();
    all.dedup();
    if all.len() > 100 {
        return Err(named(Kind::BadRequest, "InvalidInput", "A port has at most 100 security groups."));
    }
    let known = db::known(tx, &Scope::Project(project.to_owned()), &all).await?;
    match all.iter().find(|id| !known.contains(id)) {
        Some(missing) => Err(Noun::SecurityGroup.missing(missing)),
        None => Ok(all),
    }
}
