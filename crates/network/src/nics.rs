//! What compute asks of networks: ports for its servers, and what it tells its guests of them.
//!
//! [`Network::ensure_port`], [`Network::bind`] and [`Network::release`] are idempotent and only for reconcilers: they
//! take the [`Turn`] of the one that calls.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use hanse_core::{Cx, Error, Kind, Result, Uuid};
use hanse_node::documents::MacAddress;
use hanse_policy::{Caller, Grant, Scope};
use hanse_store::{Conn, Tx};
use hanse_work::Turn;
use ipnet::{IpNet, Ipv4Net};

use crate::db::{floating_ips, networks, ports as db, security_groups as groups, subnets};
use crate::error::{Noun, conflict, invalid, named};
use crate::model::{NetworkRow, PortRow, SubnetRow};
use crate::ports::{self, Groups, WantedIp, Wish, check_attach};
use crate::quotas::{Resource, claim};
use crate::{Network, verbs};

/// A network card that a user asks for: on a network or with a port of the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicRequest {
    pub network_id: Option<String>,
    pub port_id: Option<String>,
    pub fixed_ip: Option<IpAddr>,
}

/// A network card that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    pub network_id: Uuid,
    /// The user's own port, if one was named.
    pub port_id: Option<Uuid>,
    pub fixed_ip: Option<Ipv4Addr>,
}

/// A port that a device needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    pub network_id: Uuid,
    pub project_id: String,
    /// The id of the server.
    pub device_id: String,
    /// `compute:` and the availability zone.
    pub device_owner: String,
    /// What the guest is told by DHCP.
    pub hostname: String,
    pub fixed_ip: Option<Ipv4Addr>,
    /// None: the project's default group.
    pub security_groups: Vec<Uuid>,
    /// The port is the user's: it is taken as it is, and given back by `release`.
    pub given: bool,
}

/// A port as its device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePort {
    pub id: Uuid,
    pub network_id: Uuid,
    pub network_name: String,
    pub mac: MacAddress,
    pub mtu: u32,
    /// `ACTIVE` once the node has plugged it in.
    pub status: String,
    pub device_id: String,
    /// The node that it is bound to; empty without.
    pub host: String,
    pub addresses: Vec<FixedAddress>,
    /// Ids and names.
    pub security_groups: Vec<(Uuid, String)>,
    /// Made by `ensure_port`: goes with the server.
    pub made_for_device: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAddress {
    pub address: Ipv4Addr,
    pub subnet: DeviceSubnet,
    pub floating_ips: Vec<DeviceFloatingIp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSubnet {
    pub id: Uuid,
    pub cidr: Ipv4Net,
    pub gateway: Option<Ipv4Addr>,
    pub dhcp: bool,
    pub dns_servers: Vec<Ipv4Addr>,
    /// Destination and next hop.
    pub routes: Vec<(IpNet, Ipv4Addr)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFloatingIp {
    pub id: Uuid,
    pub address: Ipv4Addr,
}

impl Network {
    /// Checks what a user asks for, before anything is made. Without any request, the one network that the project can
    /// plug into is meant, if there is one.
    ///
    /// # Errors
    /// 404 for what the caller does not see, 403 for a network that only leads out, 409 for a port that is in use, an
    /// address that is taken, or several networks to choose from.
    pub async fn validate_nics(&self, cx: &Cx, caller: &Caller, requests: &[NicRequest]) -> Result<Vec<Nic>> {
        if requests.is_empty() {
            return self.only_network(caller).await;
        }
        let mut nics: Vec<Nic> = Vec::new();
        for request in requests {
            let nic = match (&request.port_id, &request.network_id) {
                (Some(port), _) => self.check_port(caller, port).await?,
                (None, Some(network)) => self.check_network(cx, caller, network, request.fixed_ip).await?,
                (None, None) => return Err(invalid("A network interface needs a network or a port.")),
            };
            if nic.port_id.is_some() && nics.iter().any(|other| other.port_id == nic.port_id) {
                return Err(invalid("The same port is requested twice."));
            }
            nics.push(nic);
        }
        Ok(nics)
    }

    async fn only_network(&self, caller: &Caller) -> Result<Vec<Nic>> {
        let project = caller.project_id().unwrap_or_default();
        let found = networks::pluggable(&mut self.db.read().await?, project).await?;
        match found.as_slice() {
            [] => Ok(Vec::new()),
            [only] => Ok(vec![Nic { network_id: only.standard.id, port_id: None, fixed_ip: None }]),
            _ => Err(conflict(
                "NetworkAmbiguous",
                "Multiple possible networks found, use a Network ID to be more specific.",
            )),
        }
    }

    async fn check_port(&self, caller: &Caller, port: &str) -> Result<Nic> {
        let row = ports::show(self, caller, port).await?;
        if !row.device_id.is_empty() {
            return Err(in_use(&row));
        }
        Ok(Nic { network_id: row.network_id, port_id: Some(row.standard.id), fixed_ip: None })
    }

    async fn check_network(
        &self,
        cx: &Cx,
        caller: &Caller,
        id: &str,
        fixed_ip: Option<IpAddr>,
    ) -> Result<Nic> {
        let row: NetworkRow = crate::networks::show(self, caller, id).await?;
        check_attach(cx, caller, &row)?;
        let network_id = row.standard.id;
        let fixed_ip = match fixed_ip {
            None => None,
            Some(IpAddr::V6(_)) => return Err(crate::addresses::no_ipv6()),
            Some(IpAddr::V4(address)) => {
                let mut conn = self.db.read().await?;
                let all = subnets::of_network(&mut conn, network_id).await?;
                let subnet = all
                    .iter()
                    .find(|subnet| crate::addresses::is_usable(subnet.cidr, address))
                    .ok_or_else(|| {
                        invalid(format!(
                            "Fixed IP address {address} is not in any subnet of network {network_id}."
                        ))
                    })?;
                if subnets::holder(&mut conn, subnet.standard.id, address).await?.is_some() {
                    return Err(conflict(
                        "IpAddressAlreadyAllocated",
                        format!("Fixed IP address {address} is already in use."),
                    ));
                }
                Some(address)
            }
        };
        Ok(Nic { network_id, port_id: None, fixed_ip })
    }

    /// The project's security groups that a user means by these names or ids.
    ///
    /// # Errors
    /// 400 for one that is unknown, or a name that several have.
    pub async fn find_security_groups(&self, caller: &Caller, wanted: &[String]) -> Result<Vec<Uuid>> {
        caller.own_scope(verbs::SHOW_SECURITY_GROUP)?;
        let project = caller.project_id().unwrap_or_default();
        let all = groups::names_of_project(&mut self.db.read().await?, project).await?;
        let mut found = Vec::new();
        for wish in wanted {
            let known: Vec<Uuid> = all
                .iter()
                .filter(|(id, name)| name == wish || id.to_string() == *wish)
                .map(|(id, _)| *id)
                .collect();
            let wish: String = wish.chars().take(hanse_core::NAME_MAX).collect();
            match known.as_slice() {
                [only] => found.push(*only),
                // It comes into being with the first port that needs it.
                [] if wish == "default" => {}
                [] => {
                    return Err(Error::bad_request(format!(
                        "Security group {wish} not found for project {project}."
                    )));
                }
                _ => {
                    return Err(Error::bad_request(format!(
                        "Multiple security groups found matching '{wish}'. Use an ID to be more specific."
                    )));
                }
            }
        }
        Ok(found)
    }

    /// Makes the port `id` for a device, or takes the user's port of that id for it.
    ///
    /// # Errors
    /// What no retry helps against is 400, 404, 409 or over quota.
    pub async fn ensure_port(&self, turn: &Turn, id: Uuid, spec: &PortSpec) -> Result<DevicePort> {
        let (cx, grant) = (&turn.cx, turn.grant());
        let row = turn
            .write(|tx| {
                Box::pin(async move {
                    match db::show(tx, &Scope::All, id).await? {
                        Some(row) if row.device_id == spec.device_id => Ok(row),
                        Some(row) if spec.given && row.device_id.is_empty() => {
                            take(tx, cx, grant, row, spec).await
                        }
                        Some(row) => Err(in_use(&row)),
                        None if spec.given => Err(Noun::Port.missing(id)),
                        None => make(tx, cx, grant, id, spec).await,
                    }
                })
            })
            .await?;
        let mut seen = views(&mut self.db.read().await?, vec![row]).await?;
        seen.pop().ok_or_else(|| Noun::Port.missing(id))
    }

    /// The guest behind the port runs on this node from now on.
    ///
    /// # Errors
    /// 404 if the port is gone.
    pub async fn bind(&self, turn: &Turn, port: Uuid, node: &str, guest: Uuid) -> Result<()> {
        let (cx, grant) = (&turn.cx, turn.grant());
        turn.write(|tx| {
            Box::pin(async move {
                let before =
                    db::show(tx, &Scope::All, port).await?.ok_or_else(|| Noun::Port.missing(port))?;
                if before.host == node && before.guest_id == Some(guest) {
                    return Ok(());
                }
                let mut row = before.clone();
                node.clone_into(&mut row.host);
                row.guest_id = Some(guest);
                row.status = "BUILD".to_owned();
                ports::write(tx, cx, grant, &before, &row).await
            })
        })
        .await
    }

    /// The device needs the port no more: what was made for it goes, what was the user's is given back.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release(&self, turn: &Turn, port: Uuid, device: &str) -> Result<()> {
        let (cx, grant) = (&turn.cx, turn.grant());
        turn.write(|tx| {
            Box::pin(async move {
                let Some(before) = db::show(tx, &Scope::All, port).await? else { return Ok(()) };
                if before.device_id != device {
                    // Somebody has it already.
                    return Ok(());
                }
                if before.made_for_device {
                    return ports::remove(tx, cx, grant, &before).await;
                }
                let mut row = before.clone();
                (row.device_id, row.device_owner) = (String::new(), String::new());
                (row.host, row.hostname, row.guest_id) = (String::new(), String::new(), None);
                row.status = "DOWN".to_owned();
                ports::write(tx, cx, grant, &before, &row).await
            })
        })
        .await
    }

    /// Devices of a project (or of all) that have an address which contains this text, at most a thousand.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn devices_at(&self, project: Option<&str>, text: &str) -> Result<Vec<String>> {
        db::devices_at(&mut self.db.read().await?, project, text).await
    }

    /// Puts all ports of a device into a security group, or takes them out.
    ///
    /// # Errors
    /// 404 if there is no such group; 403 if the ports are not the caller's.
    pub async fn set_security_group(
        &self,
        cx: &Cx,
        caller: &Caller,
        device: &str,
        group: &str,
        member: bool,
    ) -> Result<()> {
        let found = self.find_security_groups(caller, &[group.to_owned()]).await;
        let [group] = found.unwrap_or_default()[..] else {
            return Err(Noun::SecurityGroup.missing(group));
        };
        let ports = db::of_devices(&mut self.db.read().await?, &[device.to_owned()]).await?;
        for port in ports {
            let mut groups = port.security_groups.clone();
            groups.retain(|known| *known != group);
            if member {
                groups.push(group);
            }
            let change = ports::Change {
                security_groups: Some(groups.iter().map(Uuid::to_string).collect()),
                ..ports::Change::default()
            };
            ports::update(self, cx, caller, &port.standard.id.to_string(), &change).await?;
        }
        Ok(())
    }

    /// The ports of each of these devices, in the order in which they were made; a constant number of queries.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ports_of(&self, devices: &[String]) -> Result<BTreeMap<String, Vec<DevicePort>>> {
        let mut conn = self.db.read().await?;
        let rows = db::of_devices(&mut conn, devices).await?;
        let mut all: BTreeMap<String, Vec<DevicePort>> = BTreeMap::new();
        for port in views(&mut conn, rows).await? {
            all.entry(port.device_id.clone()).or_default().push(port);
        }
        Ok(all)
    }
}

fn in_use(row: &PortRow) -> Error {
    conflict("PortInUse", format!("Port {} is still in use.", row.standard.id))
}

async fn take(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, before: PortRow, spec: &PortSpec) -> Result<PortRow> {
    let mut row = before.clone();
    row.device_id.clone_from(&spec.device_id);
    row.device_owner.clone_from(&spec.device_owner);
    row.hostname.clone_from(&spec.hostname);
    ports::write(tx, cx, grant, &before, &row).await?;
    Ok(row)
}

async fn make(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, id: Uuid, spec: &PortSpec) -> Result<PortRow> {
    let parent = networks::show(tx, &Scope::All, spec.network_id).await?;
    let parent = parent.ok_or_else(|| Noun::Network.missing(spec.network_id))?;
    claim(tx, &spec.project_id, Resource::Port, 1).await?;
    let mut row =
        ports::draft(cx, id, &spec.project_id, spec.network_id, &spec.device_owner, &spec.device_id);
    row.hostname.clone_from(&spec.hostname);
    row.made_for_device = true;
    row.port_security_enabled = parent.port_security_enabled;
    if !parent.port_security_enabled && !spec.security_groups.is_empty() {
        return Err(named(
            Kind::BadRequest,
            "SecurityGroupCannotBeApplied",
            format!("Network {} has no port security: security groups cannot be applied.", spec.network_id),
        ));
    }
    let wanted = spec
        .fixed_ip
        .map(|address| vec![WantedIp { subnet_id: None, ip_address: Some(address.to_string()) }]);
    let groups = match (parent.port_security_enabled, spec.security_groups.as_slice()) {
        (false, _) => Groups::None,
        (true, []) => Groups::Default,
        (true, chosen) => Groups::Chosen(chosen.to_vec()),
    };
    ports::place(tx, cx, grant, row, &parent, &Wish { mac: None, fixed_ips: wanted, groups }).await
}

fn device_subnet(row: &SubnetRow) -> DeviceSubnet {
    DeviceSubnet {
        id: row.standard.id,
        cidr: row.cidr,
        gateway: row.gateway_ip,
        dhcp: row.enable_dhcp,
        dns_servers: row.dns_nameservers.clone(),
        routes: row.host_routes.iter().map(|route| (route.destination, route.nexthop)).collect(),
    }
}

/// Reads beside the ports what their devices want to know.
async fn views(conn: &mut Conn, rows: Vec<PortRow>) -> Result<Vec<DevicePort>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.standard.id).collect();
    let mut networks_used: Vec<Uuid> = rows.iter().map(|row| row.network_id).collect();
    let mut subnets_used: Vec<Uuid> =
        rows.iter().flat_map(|row| &row.fixed_ips).map(|fixed| fixed.subnet_id).collect();
    let mut groups_used: Vec<Uuid> = rows.iter().flat_map(|row| row.security_groups.clone()).collect();
    for used in [&mut networks_used, &mut subnets_used, &mut groups_used] {
        used.sort();
        used.dedup();
    }
    let networks: BTreeMap<Uuid, NetworkRow> =
        networks::by_ids(conn, &networks_used).await?.into_iter().map(|row| (row.standard.id, row)).collect();
    let subnets: BTreeMap<Uuid, SubnetRow> =
        subnets::by_ids(conn, &subnets_used).await?.into_iter().map(|row| (row.standard.id, row)).collect();
    let names = groups::names(conn, &groups_used).await?;
    let floating = floating_ips::of_ports(conn, &ids).await?;
    let view = |row: PortRow| {
        let network = networks.get(&row.network_id);
        let addresses = row.fixed_ips.iter().filter_map(|fixed| {
            let subnet = device_subnet(subnets.get(&fixed.subnet_id)?);
            let floating_ips = floating
                .iter()
                .filter(|it| {
                    it.port_id == Some(row.standard.id) && it.fixed_ip_address == Some(fixed.ip_address)
                })
                .map(|it| DeviceFloatingIp { id: it.standard.id, address: it.floating_ip_address })
                .collect();
            Some(FixedAddress { address: fixed.ip_address, subnet, floating_ips })
        });
        DevicePort {
            addresses: addresses.collect(),
            id: row.standard.id,
            network_id: row.network_id,
            network_name: network.map(|network| network.standard.name.clone()).unwrap_or_default(),
            mac: row.mac_address,
            mtu: network.map_or(0, |network| network.mtu),
            status: row.status,
            device_id: row.device_id,
            host: row.host,
            security_groups: row
                .security_groups
                .iter()
                .map(|id| (*id, names.get(id).cloned().unwrap_or_default()))
                .collect(),
            made_for_device: row.made_for_device,
        }
    };
    Ok(rows.into_iter().map(view).collect())
}
