//! Ports: where something is plugged into a network. (What this service needs of its neighbours would be named
//! `ports` too; it needs nothing of them.)

pub mod claim;
mod update;

use hanse_core::{Cx, Result, Uuid};
use hanse_node::documents::MacAddress;
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::Tx;
use hanse_web::Params;
use hanse_work::wake;
use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::addresses::{no_ipv6, parse_network};
use crate::db::{floating_ips, networks, ports as db};
use crate::error::{Noun, conflict, invalid};
use crate::listing::{Found, Listing};
use crate::model::{AllowedPair, NetworkRow, PortRow, Standard, owner};
use crate::networks::{bulk_target, check_texts, standard};
use crate::quotas::Resource;
use crate::reconcile::{PORTS, ROUTERS, SECURITY_GROUPS};
use crate::{Network, quotas, security_groups, verbs};

pub use claim::WantedIp;
pub use update::{Change, update, write};

/// The most allowed address pairs of one port (Neutron's default).
const MOST_PAIRS: usize = 10;

/// An entry of `allowed_address_pairs` in a request.
#[derive(Clone, Debug)]
pub struct WantedPair {
    pub ip_address: String,
    pub mac_address: Option<MacAddress>,
}

/// What only admins say: where a port is bound.
#[derive(Clone, Debug, Default)]
pub struct WantedBinding {
    pub host_id: Option<String>,
    pub vnic_type: Option<String>,
    pub profile: Option<Map<String, Value>>,
}

impl WantedBinding {
    pub fn is_empty(&self) -> bool {
        self.host_id.is_none()
            && self.profile.is_none()
            && self.vnic_type.as_deref().is_none_or(|kind| kind == "normal")
    }
}

/// What a client says of a new port.
#[derive(Clone, Debug)]
pub struct NewPort {
    pub project_id: String,
    pub network_id: String,
    pub name: String,
    pub description: String,
    pub admin_state_up: bool,
    pub mac_address: Option<MacAddress>,
    pub fixed_ips: Option<Vec<WantedIp>>,
    pub device_id: String,
    pub device_owner: String,
    pub security_groups: Option<Vec<String>>,
    pub allowed_address_pairs: Vec<WantedPair>,
    pub port_security_enabled: Option<bool>,
    pub binding: WantedBinding,
}

/// Which security groups a port is to be in.
#[derive(Clone, Debug, Default)]
pub enum Groups {
    /// The service's own ports.
    #[default]
    None,
    /// The project's default group.
    Default,
    Chosen(Vec<Uuid>),
}

/// What is to be chosen for a port while it is added.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub mac: Option<MacAddress>,
    /// One address of whatever subnet, without.
    pub fixed_ips: Option<Vec<WantedIp>>,
    pub groups: Groups,
}

/// Whether the service made the port for itself: such ports come and go with what they serve.
pub fn is_own(device_owner: &str) -> bool {
    [owner::DHCP, owner::INTERFACE, owner::GATEWAY, owner::FLOATING_IP].contains(&device_owner)
}

/// A port of `owner` and `device` that has no address yet, without port security.
pub fn draft(cx: &Cx, id: Uuid, project: &str, network: Uuid, device_owner: &str, device: &str) -> PortRow {
    PortRow {
        standard: Standard { id, ..standard(cx, project, "", "") },
        network_id: network,
        admin_state_up: true,
        mac_address: MacAddress([0; 6]),
        device_id: device.to_owned(),
        device_owner: device_owner.to_owned(),
        port_security_enabled: false,
        allowed_address_pairs: Vec::new(),
        host: String::new(),
        guest_id: None,
        hostname: String::new(),
        vnic_type: "normal".to_owned(),
        binding_profile: Map::new(),
        made_for_device: false,
        status: "DOWN".to_owned(),
        fixed_ips: Vec::new(),
        security_groups: Vec::new(),
    }
}

/// Adds a port: chooses its MAC address, claims its addresses, finds its security groups.
pub async fn place(
    tx: &mut Tx<'_>,
    cx: &Cx,
    grant: &Grant,
    mut row: PortRow,
    network: &NetworkRow,
    wish: &Wish,
) -> Result<PortRow> {
    row.mac_address = match wish.mac {
        Some(mac) => mac,
        None => db::free_mac(tx, cx, network.standard.id).await?,
    };
    for pair in &mut row.allowed_address_pairs {
        if pair.mac_address == MacAddress([0; 6]) {
            pair.mac_address = row.mac_address;
        }
    }
    row.fixed_ips = match &wish.fixed_ips {
        Some(wanted) => claim::requested(tx, network.standard.id, wanted, &[]).await?,
        None => claim::automatic(tx, network.standard.id).await?,
    };
    let project = &row.standard.project_id;
    row.security_groups = match &wish.groups {
        Groups::None => Vec::new(),
        Groups::Default => vec![security_groups::ensure_default(tx, cx, grant, project).await?],
        Groups::Chosen(wanted) => security_groups::chosen(tx, project, wanted).await?,
    };
    db::insert(tx, grant, &row).await?;
    Ok(row)
}

/// Removes a port and whatever hangs on it.
pub async fn remove(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, row: &PortRow) -> Result<()> {
    let id = row.standard.id;
    for router in floating_ips::disassociate(tx, cx, grant, id, &[]).await? {
        wake(tx, cx, ROUTERS, &router.to_string()).await?;
    }
    wake_guarded(tx, cx, row).await?;
    db::delete(tx, grant, id).await
}

/// Wakes those who tell the nodes of a port that a guest is behind.
pub async fn wake_guarded(tx: &mut Tx<'_>, cx: &Cx, row: &PortRow) -> Result<()> {
    if row.guest_id.is_none() {
        return Ok(());
    }
    wake(tx, cx, PORTS, &row.standard.id.to_string()).await?;
    for group in &row.security_groups {
        wake(tx, cx, SECURITY_GROUPS, &group.to_string()).await?;
    }
    Ok(())
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<PortRow>> {
    let scope = caller.scope(verbs::SHOW_PORT)?;
    let listing = Listing::parse(&db::TABLE, params)?;
    db::list(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<PortRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_PORT)?, Noun::Port.id(id)?);
    let found = db::show(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::Port.missing(id))
}

fn is_unicast(mac: MacAddress) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

fn check_mac(mac: MacAddress) -> Result<()> {
    match is_unicast(mac) {
        true => Ok(()),
        false => Err(invalid(format!(
            "Invalid input for mac_address. Reason: '{mac}' is not a valid MAC address."
        ))),
    }
}

/// Pairs without a MAC address get all zeros here, and the port's own once that is known.
fn check_pairs(wanted: &[WantedPair], own: MacAddress) -> Result<Vec<AllowedPair>> {
    if wanted.len() > MOST_PAIRS {
        return Err(invalid(format!("The number of allowed address pair exceeds the maximum {MOST_PAIRS}.")));
    }
    let mut pairs: Vec<AllowedPair> = Vec::new();
    for pair in wanted {
        if let Some(mac) = pair.mac_address {
            check_mac(mac)?;
        }
        let text: String = pair.ip_address.chars().take(64).collect();
        match parse_network(&pair.ip_address) {
            Some(IpNet::V4(_)) => {}
            Some(IpNet::V6(_)) => return Err(no_ipv6()),
            None => {
                return Err(invalid(format!(
                    "Invalid input for allowed_address_pairs. Reason: '{text}' is not a valid IP address or subnet."
                )));
            }
        }
        let pair = AllowedPair { mac_address: pair.mac_address.unwrap_or(own), ip_address: text };
        if pairs.contains(&pair) {
            return Err(
                invalid("Request contains duplicate address pair.").named("DuplicateAddressPairInRequest")
            );
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn check_binding(binding: &WantedBinding) -> Result<()> {
    if binding.vnic_type.as_deref().is_some_and(|kind| kind != "normal") {
        return Err(invalid("Invalid input for binding:vnic_type. Reason: only 'normal' ports are offered."));
    }
    if let Some(profile) = &binding.profile
        && serde_json::to_string(profile).map_or(0, |text| text.len()) > 4095
    {
        return Err(invalid("Invalid input for binding:profile. Reason: it is longer than 4095 characters."));
    }
    hanse_core::check_text("binding:host_id", binding.host_id.as_deref().unwrap_or_default(), 255)
}

fn check_device(device_id: &str, device_owner: &str) -> Result<()> {
    hanse_core::check_text("device_id", device_id, 255)?;
    hanse_core::check_text("device_owner", device_owner, 255)
}

/// Port security and what it carries must fit together.
fn check_security(row: &PortRow) -> Result<()> {
    if row.port_security_enabled {
        return Ok(());
    }
    if !row.security_groups.is_empty() {
        return Err(conflict(
            "PortSecurityPortHasSecurityGroup",
            "Port has security group associated. Cannot disable port security or IP address until security group is removed.",
        ));
    }
    if !row.allowed_address_pairs.is_empty() {
        return Err(conflict(
            "AddressPairAndPortSecurityRequired",
            "Port Security must be enabled in order to have allowed address pairs on a port.",
        ));
    }
    Ok(())
}

fn groups(new: &NewPort, secured: bool) -> Result<Groups> {
    match &new.security_groups {
        Some(wanted) => {
            let ids: Result<Vec<Uuid>> = wanted.iter().map(|id| Noun::SecurityGroup.id(id)).collect();
            Ok(Groups::Chosen(ids?))
        }
        None if secured && !new.device_owner.starts_with("network:") => Ok(Groups::Default),
        None => Ok(Groups::None),
    }
}

/// A port of a request, checked as far as it can be without the transaction.
fn plan(cx: &Cx, new: &NewPort, network: &NetworkRow) -> Result<(PortRow, Wish)> {
    check_device(&new.device_id, &new.device_owner)?;
    check_binding(&new.binding)?;
    if let Some(mac) = new.mac_address {
        check_mac(mac)?;
    }
    let id = cx.uuid();
    let mut row = draft(cx, id, &new.project_id, network.standard.id, &new.device_owner, &new.device_id);
    row.standard.name.clone_from(&new.name);
    row.standard.description.clone_from(&new.description);
    check_texts(&row.standard)?;
    row.admin_state_up = new.admin_state_up;
    row.port_security_enabled = new.port_security_enabled.unwrap_or(network.port_security_enabled);
    let own = new.mac_address.unwrap_or(MacAddress([0; 6]));
    row.allowed_address_pairs = check_pairs(&new.allowed_address_pairs, own)?;
    row.host = new.binding.host_id.clone().unwrap_or_default();
    row.binding_profile = new.binding.profile.clone().unwrap_or_default();
    let groups = groups(new, row.port_security_enabled)?;
    if let Groups::Chosen(ids) = &groups {
        row.security_groups.clone_from(ids);
    }
    check_security(&row)?;
    Ok((row, Wish { mac: new.mac_address, fixed_ips: new.fixed_ips.clone(), groups }))
}

/// What only the owner of the network (or an admin) may choose of a port.
fn asks_as_owner(new: &NewPort) -> bool {
    new.mac_address.is_some()
        || new.port_security_enabled.is_some()
        || !new.allowed_address_pairs.is_empty()
        || new.device_owner.starts_with("network:")
        || new.fixed_ips.iter().flatten().any(|wish| wish.ip_address.is_some())
}

/// Whether a project may plug into a network; it sees more than that.
///
/// # Errors
/// 403 for a network that only leads out.
pub fn check_attach(cx: &Cx, caller: &Caller, network: &NetworkRow) -> Result<()> {
    if network.shared {
        return Ok(());
    }
    let target = Target::new(network.standard.id).in_project(&network.standard.project_id);
    caller.authorize(cx, verbs::CREATE_PORT_AS_OWNER, target).map(drop)
}

pub async fn create(network: &Network, cx: &Cx, caller: &Caller, new: &[NewPort]) -> Result<Vec<PortRow>> {
    let mut planned = Vec::new();
    for new in new {
        let parent = crate::networks::show(network, caller, &new.network_id).await?;
        let (row, wish) = plan(cx, new, &parent)?;
        check_attach(cx, caller, &parent)?;
        let of_network = Target::new(row.standard.id).in_project(&parent.standard.project_id);
        if asks_as_owner(new) {
            caller.authorize(cx, verbs::CREATE_PORT_AS_OWNER, of_network.clone())?;
        }
        if !new.binding.is_empty() {
            caller.authorize(cx, verbs::BIND_PORT, of_network)?;
        }
        planned.push((row, wish));
    }
    let target = bulk_target(planned.iter().map(|(row, _)| &row.standard))?;
    let grant = &caller.authorize(cx, verbs::CREATE_PORT, target)?;
    let planned = &planned;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut made = Vec::new();
                for (row, wish) in planned {
                    let id = row.network_id;
                    let parent = networks::show(tx, &Scope::All, id)
                        .await?
                        .ok_or_else(|| Noun::Network.missing(id))?;
                    quotas::claim(tx, &row.standard.project_id, Resource::Port, 1).await?;
                    made.push(place(tx, cx, grant, row.clone(), &parent, wish).await?);
                }
                Ok(made)
            })
        })
        .await
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let id = known.standard.id;
    // The owner of the network may clear it of others' ports.
    let parent = networks::show(&mut network.db.read().await?, &Scope::All, known.network_id).await?;
    let owner_project = parent
        .map(|parent| parent.standard.project_id)
        .filter(|project| Some(project.as_str()) == caller.project_id())
        .unwrap_or(known.standard.project_id);
    let target = Target::new(id).in_project(owner_project);
    let grant = &caller.authorize(cx, verbs::DELETE_PORT, target)?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let row = db::show(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Port.missing(id))?;
                if is_own(&row.device_owner) {
                    return Err(conflict(
                        "ServicePortInUse",
                        format!(
                            "Port {id} cannot be deleted directly via the port API: has device owner {}.",
                            row.device_owner
                        ),
                    ));
                }
                remove(tx, cx, grant, &row).await
            })
        })
        .await
}
