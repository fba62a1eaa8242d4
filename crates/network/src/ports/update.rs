//! Changes of a port.

use hanse_core::{Cx, Result, Uuid};
use hanse_node::documents::MacAddress;
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_work::wake;

use super::{
    WantedBinding, WantedIp, WantedPair, check_binding, check_device, check_mac, check_pairs, check_security,
    claim, is_own, show, wake_guarded,
};
use crate::db::{floating_ips, networks, ports as db};
use crate::error::{Noun, conflict};
use crate::model::PortRow;
use crate::networks::check_texts;
use crate::reconcile::ROUTERS;
use crate::{Network, security_groups, verbs};

/// What a client changes.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    pub admin_state_up: Option<bool>,
    pub mac_address: Option<MacAddress>,
    pub fixed_ips: Option<Vec<WantedIp>>,
    pub device_id: Option<String>,
    pub device_owner: Option<String>,
    pub security_groups: Option<Vec<String>>,
    pub allowed_address_pairs: Option<Vec<WantedPair>>,
    pub port_security_enabled: Option<bool>,
    pub binding: WantedBinding,
}

impl Change {
    /// What only the owner of the network (or an admin) may choose.
    fn asks_as_owner(&self) -> bool {
        self.mac_address.is_some()
            || self.port_security_enabled.is_some()
            || self.allowed_address_pairs.is_some()
            || self.device_owner.as_deref().is_some_and(|owner| owner.starts_with("network:"))
            || self.fixed_ips.iter().flatten().any(|wish| wish.ip_address.is_some())
    }

    /// What our own ports keep as it is.
    fn touches_service(&self) -> bool {
        self.mac_address.is_some()
            || self.fixed_ips.is_some()
            || self.device_id.is_some()
            || self.device_owner.is_some()
            || self.security_groups.is_some()
            || self.allowed_address_pairs.is_some()
            || self.port_security_enabled == Some(true)
            || !self.binding.is_empty()
    }
}

pub async fn update(
    network: &Network,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    change: &Change,
) -> Result<PortRow> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    let parent = networks::show(&mut network.db.read().await?, &Scope::All, known.network_id).await?;
    let parent = parent.ok_or_else(|| Noun::Network.missing(known.network_id))?;
    let of_network = Target::new(id).in_project(&parent.standard.project_id);
    if change.asks_as_owner() {
        caller.authorize(cx, verbs::CREATE_PORT_AS_OWNER, of_network.clone())?;
    }
    if !change.binding.is_empty() {
        caller.authorize(cx, verbs::BIND_PORT, of_network)?;
    }
    let target = Target::new(id).in_project(&known.standard.project_id);
    let grant = &caller.authorize(cx, verbs::UPDATE_PORT, target)?;
    check_binding(&change.binding)?;
    if let Some(mac) = change.mac_address {
        check_mac(mac)?;
    }
    let groups: Option<Vec<Uuid>> = change
        .security_groups
        .as_ref()
        .map(|wanted| wanted.iter().map(|id| Noun::SecurityGroup.id(id)).collect())
        .transpose()?;
    let groups = groups.as_deref();
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let before = db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Port.missing(id))?;
                if is_own(&before.device_owner) && change.touches_service() {
                    return Err(conflict(
                        "ServicePortInUse",
                        format!(
                            "Port {id} serves {} and keeps its device and addresses.",
                            before.device_owner
                        ),
                    ));
                }
                let row = apply(tx, before.clone(), change, groups).await?;
                write(tx, cx, grant, &before, &row).await?;
                db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Port.missing(id))
            })
        })
        .await
}

async fn apply(
    tx: &mut Tx<'_>,
    before: PortRow,
    change: &Change,
    groups: Option<&[Uuid]>,
) -> Result<PortRow> {
    let mut row = before.clone();
    row.standard.name = change.name.clone().unwrap_or(row.standard.name);
    row.standard.description = change.description.clone().unwrap_or(row.standard.description);
    check_texts(&row.standard)?;
    row.admin_state_up = change.admin_state_up.unwrap_or(row.admin_state_up);
    row.device_id = change.device_id.clone().unwrap_or(row.device_id);
    row.device_owner = change.device_owner.clone().unwrap_or(row.device_owner);
    check_device(&row.device_id, &row.device_owner)?;
    if let Some(mac) = change.mac_address.filter(|mac| *mac != before.mac_address) {
        if row.guest_id.is_some() {
            return Err(conflict(
                "PortBound",
                format!("Unable to complete operation on port {}, port is already bound.", row.standard.id),
            ));
        }
        row.mac_address = mac;
        for pair in row.allowed_address_pairs.iter_mut().filter(|pair| pair.mac_address == before.mac_address)
        {
            pair.mac_address = mac;
        }
    }
    if let Some(wanted) = &change.fixed_ips {
        row.fixed_ips = claim::requested(tx, row.network_id, wanted, &before.fixed_ips).await?;
    }
    if let Some(pairs) = &change.allowed_address_pairs {
        row.allowed_address_pairs = check_pairs(pairs, row.mac_address)?;
    }
    row.port_security_enabled = change.port_security_enabled.unwrap_or(row.port_security_enabled);
    if let Some(groups) = groups {
        row.security_groups = security_groups::chosen(tx, &row.standard.project_id, groups).await?;
    }
    check_security(&row)?;
    row.host = change.binding.host_id.clone().unwrap_or(row.host);
    row.binding_profile = change.binding.profile.clone().unwrap_or(row.binding_profile);
    Ok(row)
}

/// Writes what has changed of a port and wakes those whom it concerns.
pub async fn write(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, before: &PortRow, row: &PortRow) -> Result<()> {
    let id = row.standard.id;
    db::update(tx, cx, grant, row).await?;
    if row.fixed_ips != before.fixed_ips {
        let kept: Vec<_> = row.fixed_ips.iter().map(|fixed| fixed.ip_address).collect();
        for router in floating_ips::disassociate(tx, cx, grant, id, &kept).await? {
            wake(tx, cx, ROUTERS, &router.to_string()).await?;
        }
        db::set_addresses(tx, grant, row).await?;
    }
    if row.security_groups != before.security_groups {
        db::set_groups(tx, grant, row).await?;
    }
    wake_guarded(tx, cx, before).await?;
    wake_guarded(tx, cx, row).await
}
