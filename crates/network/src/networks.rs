//! Networks.

use hanse_core::{Cx, Result, Uuid, check_text};
use hanse_policy::{Caller, Scope, Target};
use hanse_web::Params;
use hanse_work::wake;

use crate::db::{networks as db, subnets};
use crate::error::{Noun, conflict, invalid};
use crate::listing::{Found, Listing};
use crate::model::{NetworkRow, Standard, owner};
use crate::quotas::{Resource, claim};
use crate::reconcile::NETWORKS;
use crate::security_groups::rules::one_project;
use crate::{Network, ports, verbs};

/// The least MTU that IPv4 needs.
const LEAST_MTU: i64 = 576;

/// What a client says of a new network.
#[derive(Clone, Debug)]
pub struct NewNetwork {
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub shared: bool,
    pub external: bool,
    pub mtu: Option<i64>,
    pub port_security_enabled: bool,
}

/// What a client changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    pub admin_state_up: Option<bool>,
    pub shared: Option<bool>,
    pub external: Option<bool>,
    pub mtu: Option<i64>,
    pub port_security_enabled: Option<bool>,
}

/// The checks that name and description of everything undergo. Neutron's names may be empty.
pub fn check_texts(standard: &Standard) -> Result<()> {
    check_text("name", &standard.name, hanse_core::NAME_MAX)?;
    check_text("description", &standard.description, hanse_core::NAME_MAX)
}

fn check_mtu(network: &Network, mtu: Option<i64>) -> Result<u32> {
    let most = i64::from(network.config.mtu);
    let mtu = mtu.filter(|mtu| *mtu != 0).unwrap_or(most);
    match u32::try_from(mtu) {
        Ok(narrow) if (LEAST_MTU..=most).contains(&mtu) => Ok(narrow),
        _ => Err(invalid(format!(
            "Invalid input for mtu. Reason: {mtu} is not between {LEAST_MTU} and {most}."
        ))),
    }
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<NetworkRow>> {
    let scope = caller.scope(verbs::SHOW_NETWORK)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<NetworkRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_NETWORK)?, Noun::Network.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::Network.missing(id))
}

/// A new object's standard attributes.
pub fn standard(cx: &Cx, project: &str, name: &str, description: &str) -> Standard {
    Standard {
        id: cx.uuid(),
        project_id: project.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        revision: 1,
        created_at: cx.now(),
        updated_at: cx.now(),
    }
}

/// The target of a request that makes these objects, all of one project.
pub fn bulk_target<'s>(all: impl Iterator<Item = &'s Standard> + Clone) -> Result<Target> {
    let project = one_project(all.clone().map(|standard| standard.project_id.as_str()))?;
    let ids: Vec<String> = all.map(|standard| standard.id.to_string()).collect();
    Ok(Target::new(ids.join(",")).in_project(project))
}

pub async fn create(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    new: &[NewNetwork],
) -> Result<Vec<NetworkRow>> {
    let mut rows = Vec::new();
    for new in new {
        let row = NetworkRow {
            standard: standard(cx, &new.project_id, &new.name, &new.description),
            admin_state_up: new.admin_state_up,
            shared: new.shared,
            external: new.external,
            mtu: check_mtu(network, new.mtu)?,
            port_security_enabled: new.port_security_enabled,
            status: "ACTIVE".to_owned(),
            subnets: Vec::new(),
        };
        check_texts(&row.standard)?;
        rows.push(row);
    }
    let target = bulk_target(rows.iter().map(|row| &row.standard))?;
    if rows.iter().any(|row| row.shared) {
        caller.authorize(cx, verbs::CREATE_SHARED_NETWORK, target.clone())?;
    }
    if rows.iter().any(|row| row.external) {
        caller.authorize(cx, verbs::CREATE_EXTERNAL_NETWORK, target.clone())?;
    }
    let grant = &caller.authorize(cx, verbs::CREATE_NETWORK, target)?;
    let rows = &rows;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let project = one_project(rows.iter().map(|row| row.standard.project_id.as_str()))?;
                claim(tx, &project, Resource::Network, rows.len()).await?;
                for row in rows {
                    db::insert(tx, grant, row).await?;
                    wake(tx, cx, NETWORKS, &row.standard.id.to_string()).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(rows.clone())
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: &Change,
) -> Result<NetworkRow> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    if change.shared.is_some_and(|shared| shared != known.shared) {
        caller.authorize(cx, verbs::UPDATE_NETWORK_SHARED, target.clone())?;
    }
    if change.external.is_some_and(|external| external != known.external) {
        caller.authorize(cx, verbs::UPDATE_NETWORK_EXTERNAL, target.clone())?;
    }
    let grant = &caller.authorize(cx, verbs::UPDATE_NETWORK, target)?;
    let mtu = change.mtu.map(|mtu| check_mtu(network, Some(mtu))).transpose()?;
    let id = known.standard.id;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Network.missing(id))?;
                row.standard.name = change.name.clone().unwrap_or(row.standard.name);
                row.standard.description = change.description.clone().unwrap_or(row.standard.description);
                check_texts(&row.standard)?;
                row.admin_state_up = change.admin_state_up.unwrap_or(row.admin_state_up);
                row.mtu = mtu.unwrap_or(row.mtu);
                row.port_security_enabled = change.port_security_enabled.unwrap_or(row.port_security_enabled);
                if change.shared == Some(false) && row.shared && db::used_by_others(tx, &row).await? {
                    return Err(conflict(
                        "InvalidSharedSetting",
                        format!("Unable to reconfigure sharing settings for network {id}. Multiple tenants are using it."),
                    ));
                }
                row.shared = change.shared.unwrap_or(row.shared);
                if change.external == Some(false) && row.external && db::leads_out(tx, id).await? {
                    return Err(conflict(
                        "ExternalNetworkInUse",
                        format!("External network {id} cannot be updated to be made non-external, since it has existing gateway ports."),
                    ));
                }
                row.external = change.external.unwrap_or(row.external);
                db::update(tx, cx, grant, &row).await?;
                wake(tx, cx, NETWORKS, &id.to_string()).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Network.missing(id))
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.standard.id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_NETWORK, target)?;
    let id: Uuid = known.standard.id;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let attached = crate::db::ports::of_network(tx, id).await?;
                if attached.iter().any(|port| port.device_owner != owner::DHCP) {
                    return Err(conflict(
                        "NetworkInUse",
                        format!("Unable to complete operation on network {id}. There are one or more ports still in use on the network."),
                    ));
                }
                for port in &attached {
                    ports::remove(tx, cx, grant, port).await?;
                }
                for subnet in subnets::of_network(tx, id).await? {
                    subnets::delete(tx, grant, subnet.standard.id).await?;
                }
                db::delete(tx, grant).await?;
                wake(tx, cx, NETWORKS, &id.to_string()).await
            })
        })
        .await
}
