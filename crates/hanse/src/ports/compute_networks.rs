//! What compute asks of the network service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use hanse_compute::ports::{
    Networks, NicRequest, PlannedNic, Plugged, PortOwner, ResolvedNic, ServerAddress, ServerPort,
};
use hanse_core::{Cx, Error, Result, Uuid};
use hanse_network::{DevicePort, Network, PortSpec};
use hanse_node::documents::Nic;
use hanse_policy::Caller;
use hanse_work::Turn;
use serde_json::{Value, json};

pub struct NetworkService(pub Network);

#[async_trait]
impl Networks for NetworkService {
    async fn validate(
        &self,
        cx: &Cx,
        caller: &Caller,
        requests: &[NicRequest],
        security_groups: &[String],
    ) -> Result<Vec<ResolvedNic>> {
        let requests: Vec<hanse_network::NicRequest> = requests
            .iter()
            .map(|request| hanse_network::NicRequest {
                network_id: request.network_id.map(|id| id.to_string()),
                port_id: request.port_id.map(|id| id.to_string()),
                fixed_ip: request.fixed_ip,
            })
            .collect();
        let nics = self.0.validate_nics(cx, caller, &requests).await.map_err(as_nova)?;
        let groups = self.0.find_security_groups(caller, security_groups).await?;
        Ok(nics
            .into_iter()
            .map(|nic| ResolvedNic {
                network_id: nic.network_id,
                port_id: nic.port_id,
                fixed_ip: nic.fixed_ip.map(IpAddr::V4),
                security_groups: groups.clone(),
            })
            .collect())
    }

    async fn ensure_ports(&self, turn: &Turn, owner: &PortOwner, nics: &[PlannedNic]) -> Result<Plugged> {
        let mut ports = Vec::new();
        for nic in nics {
            let port = self.0.ensure_port(turn, nic.port_id, &port_spec(owner, nic)?).await?;
            turn.crash_point("compute.port_made")?;
            self.0.bind(turn, nic.port_id, &owner.node, owner.server_id).await?;
            turn.crash_point("compute.port_bound")?;
            ports.push(port);
        }
        let nics = ports.iter().map(plug).collect();
        Ok(Plugged { nics, network_data: network_data(&ports).to_string() })
    }

    async fn release_ports(&self, turn: &Turn, server_id: Uuid, nics: &[PlannedNic]) -> Result<()> {
        for nic in nics {
            self.0.release(turn, nic.port_id, &server_id.to_string()).await?;
        }
        Ok(())
    }

    async fn ports_of(&self, _: &Cx, servers: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<ServerPort>>> {
        let devices: Vec<String> = servers.iter().map(Uuid::to_string).collect();
        let all = self.0.ports_of(&devices).await?;
        Ok(all
            .into_iter()
            .filter_map(|(device, ports)| {
                Some((device.parse().ok()?, ports.into_iter().map(server_port).collect()))
            })
            .collect())
    }

    async fn servers_at(&self, _: &Cx, project_id: Option<&str>, address: &str) -> Result<Vec<Uuid>> {
        let devices = self.0.devices_at(project_id, address).await?;
        Ok(devices.iter().filter_map(|device| device.parse().ok()).collect())
    }

    async fn set_security_group(
        &self,
        cx: &Cx,
        caller: &Caller,
        server_id: Uuid,
        group: &str,
        member: bool,
    ) -> Result<()> {
        self.0.set_security_group(cx, caller, &server_id.to_string(), group, member).await
    }
}

/// Nova answers 400 where Neutron knows no such network or port.
fn as_nova(error: Error) -> Error {
    match error.kind() {
        hanse_core::Kind::NotFound => Error::bad_request(error.message().to_owned()).because(error),
        _ => error,
    }
}

fn port_spec(owner: &PortOwner, nic: &PlannedNic) -> Result<PortSpec> {
    let fixed_ip = match nic.fixed_ip {
        None => None,
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) => return Err(Error::bad_request("IPv6 addresses are not supported yet.")),
    };
    Ok(PortSpec {
        network_id: nic.network_id,
        project_id: owner.project_id.clone(),
        device_id: owner.server_id.to_string(),
        device_owner: format!("compute:{}", owner.availability_zone),
        hostname: owner.hostname.clone(),
        fixed_ip,
        security_groups: nic.security_groups.clone(),
        given: !nic.owned,
    })
}

fn plug(port: &DevicePort) -> Nic {
    Nic { port_id: port.id, mac: port.mac, mtu: u16::try_from(port.mtu).unwrap_or(1500) }
}

fn server_port(port: DevicePort) -> ServerPort {
    let mut addresses = Vec::new();
    for fixed in &port.addresses {
        let subnet_id = Some(fixed.subnet.id);
        addresses.push(ServerAddress { address: fixed.address.into(), subnet_id, floating: false });
        for floating in &fixed.floating_ips {
            addresses.push(ServerAddress {
                address: floating.address.into(),
                subnet_id: None,
                floating: true,
            });
        }
    }
    ServerPort {
        port_id: port.id,
        network_id: port.network_id,
        network_name: port.network_name,
        mac: port.mac,
        active: port.status == "ACTIVE",
        addresses,
        security_groups: port.security_groups.into_iter().map(|(_, name)| name).collect(),
    }
}

/// `network_data.json`, as Nova writes it (user guide "Metadata", network_data.json schema).
fn network_data(ports: &[DevicePort]) -> Value {
    let (mut links, mut networks, mut services) = (Vec::new(), Vec::new(), Vec::new());
    for port in ports {
        let link = format!("tap{}", &port.id.to_string()[..11]);
        links.push(json!({
            "id": link, "vif_id": port.id, "type": "bridge", "mtu": port.mtu,
            "ethernet_mac_address": port.mac.to_string(),
        }));
        for fixed in &port.addresses {
            let subnet = &fixed.subnet;
            let mut network = json!({
                "id": format!("network{}", networks.len()), "link": link, "network_id": port.network_id,
                "type": if subnet.dhcp { "ipv4_dhcp" } else { "ipv4" },
            });
            if !subnet.dhcp {
                let mut routes: Vec<Value> =
                    subnet.routes.iter().map(|(to, via)| route(&to.network(), &to.netmask(), via)).collect();
                if let Some(gateway) = subnet.gateway {
                    routes.push(route(&"0.0.0.0", &"0.0.0.0", &gateway));
                }
                let details = json!({
                    "ip_address": fixed.address, "netmask": subnet.cidr.netmask(), "routes": routes,
                });
                merge(&mut network, details);
            }
            networks.push(network);
            services.extend(subnet.dns_servers.iter().map(|dns| json!({"type": "dns", "address": dns})));
        }
    }
    json!({ "links": links, "networks": networks, "services": services })
}

fn route(network: &impl ToString, netmask: &impl ToString, gateway: &impl ToString) -> Value {
    json!({ "network": network.to_string(), "netmask": netmask.to_string(), "gateway": gateway.to_string() })
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
