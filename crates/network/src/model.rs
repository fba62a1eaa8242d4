//! The rows of the tables, with what is read beside them.

use std::net::Ipv4Addr;

use hanse_core::{Result, Timestamp, Uuid};
use hanse_node::documents::MacAddress;
use hanse_store::{FromRow, Json, Row};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `device_owner` of ports that are the service's own; they go and come with what they serve.
pub mod owner {
    pub const DHCP: &str = "network:dhcp";
    pub const INTERFACE: &str = "network:router_interface";
    pub const GATEWAY: &str = "network:router_gateway";
    pub const FLOATING_IP: &str = "network:floatingip";
}

/// What Neutron keeps of every object.
#[derive(Clone, Debug)]
pub struct Standard {
    pub id: Uuid,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Standard {
    fn from_row(row: &Row, name: Result<String>) -> Result<Standard> {
        Ok(Standard {
            id: row.get("id")?,
            project_id: row.get("project_id")?,
            name: name?,
            description: row.get("description")?,
            revision: row.get("revision")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    }
}

#[derive(Clone, Debug)]
pub struct NetworkRow {
    pub standard: Standard,
    pub admin_state_up: bool,
    pub shared: bool,
    pub external: bool,
    pub mtu: u32,
    pub port_security_enabled: bool,
    pub status: String,
    /// Read beside the row.
    pub subnets: Vec<Uuid>,
}

impl FromRow for NetworkRow {
    fn from_row(row: &Row) -> Result<NetworkRow> {
        Ok(NetworkRow {
            standard: Standard::from_row(row, row.get("name"))?,
            admin_state_up: row.get("admin_state_up")?,
            shared: row.get("shared")?,
            external: row.get("external")?,
            mtu: row.get("mtu")?,
            port_security_enabled: row.get("port_security_enabled")?,
            status: row.get("status")?,
            subnets: Vec::new(),
        })
    }
}

/// Addresses from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub start: Ipv4Addr,
    pub end: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRoute {
    pub destination: IpNet,
    pub nexthop: Ipv4Addr,
}

#[derive(Clone, Debug)]
pub struct SubnetRow {
    pub standard: Standard,
    pub network_id: Uuid,
    pub cidr: Ipv4Net,
    pub gateway_ip: Option<Ipv4Addr>,
    pub enable_dhcp: bool,
    pub allocation_pools: Vec<Pool>,
    pub dns_nameservers: Vec<Ipv4Addr>,
    pub host_routes: Vec<HostRoute>,
}

/// Reads text that we wrote as this type.
fn parsed<T: std::str::FromStr>(column: &str, text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| hanse_core::Error::internal(format!("'{text}' in column {column} does not read")))
}

fn address(row: &Row, column: &str) -> Result<Option<Ipv4Addr>> {
    row.get::<Option<String>>(column)?.map(|text| parsed(column, &text)).transpose()
}

impl FromRow for SubnetRow {
    fn from_row(row: &Row) -> Result<SubnetRow> {
        Ok(SubnetRow {
            standard: Standard::from_row(row, row.get("name"))?,
            network_id: row.get("network_id")?,
            cidr: parsed("cidr", &row.get::<String>("cidr")?)?,
            gateway_ip: address(row, "gateway_ip")?,
            enable_dhcp: row.get("enable_dhcp")?,
            allocation_pools: row.get::<Json<_>>("allocation_pools")?.0,
            dns_nameservers: row.get::<Json<_>>("dns_nameservers")?.0,
            host_routes: row.get::<Json<_>>("host_routes")?.0,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FixedIp {
    pub subnet_id: Uuid,
    pub ip_address: Ipv4Addr,
}

/// A further source address of a port: an address or a network, under the port's own MAC or another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedPair {
    pub mac_address: MacAddress,
    pub ip_address: String,
}

#[derive(Clone, Debug)]
pub struct PortRow {
    pub standard: Standard,
    pub network_id: Uuid,
    pub admin_state_up: bool,
    pub mac_address: MacAddress,
    pub device_id: String,
    pub device_owner: String,
    pub port_security_enabled: bool,
    pub allowed_address_pairs: Vec<AllowedPair>,
    /// `binding:host_id`; empty while the port is bound nowhere.
    pub host: String,
    /// The guest that is plugged in.
    pub guest_id: Option<Uuid>,
    pub hostname: String,
    pub vnic_type: String,
    pub binding_profile: Map<String, Value>,
    /// Made by `ensure_port`, and so deleted by `release`.
    pub made_for_device: bool,
    pub status: String,
    /// Read beside the row.
    pub fixed_ips: Vec<FixedIp>,
    /// Read beside the row.
    pub security_groups: Vec<Uuid>,
}

impl FromRow for PortRow {
    fn from_row(row: &Row) -> Result<PortRow> {
        Ok(PortRow {
            standard: Standard::from_row(row, row.get("name"))?,
            network_id: row.get("network_id")?,
            admin_state_up: row.get("admin_state_up")?,
            mac_address: parsed("mac_address", &row.get::<String>("mac_address")?)?,
            device_id: row.get("device_id")?,
            device_owner: row.get("device_owner")?,
            port_security_enabled: row.get("port_security_enabled")?,
            allowed_address_pairs: row.get::<Json<_>>("allowed_address_pairs")?.0,
            host: row.get("host")?,
            guest_id: row.get("guest_id")?,
            hostname: row.get("hostname")?,
            vnic_type: row.get("vnic_type")?,
            binding_profile: row.get::<Json<_>>("binding_profile")?.0,
            made_for_device: row.get("made_for_device")?,
            status: row.get("status")?,
            fixed_ips: Vec::new(),
            security_groups: Vec::new(),
        })
    }
}

#[derive(Clone, Debug)]
pub struct RouterRow {
    pub standard: Standard,
    pub admin_state_up: bool,
    pub external_network_id: Option<Uuid>,
    pub gateway_port_id: Option<Uuid>,
    pub enable_snat: bool,
    pub routes: Vec<HostRoute>,
    pub status: String,
    /// Read beside the row: the addresses of the gateway port.
    pub external_fixed_ips: Vec<FixedIp>,
}

impl FromRow for RouterRow {
    fn from_row(row: &Row) -> Result<RouterRow> {
        Ok(RouterRow {
            standard: Standard::from_row(row, row.get("name"))?,
            admin_state_up: row.get("admin_state_up")?,
            external_network_id: row.get("external_network_id")?,
            gateway_port_id: row.get("gateway_port_id")?,
            enable_snat: row.get("enable_snat")?,
            routes: row.get::<Json<_>>("routes")?.0,
            status: row.get("status")?,
            external_fixed_ips: Vec::new(),
        })
    }
}

#[derive(Clone, Debug)]
pub struct FloatingIpRow {
    /// Without a name.
    pub standard: Standard,
    pub floating_network_id: Uuid,
    pub floating_port_id: Uuid,
    pub floating_ip_address: Ipv4Addr,
    pub port_id: Option<Uuid>,
    pub fixed_ip_address: Option<Ipv4Addr>,
    pub router_id: Option<Uuid>,
    pub status: String,
}

impl FromRow for FloatingIpRow {
    fn from_row(row: &Row) -> Result<FloatingIpRow> {
        let floating: String = row.get("floating_ip_address")?;
        Ok(FloatingIpRow {
            standard: Standard::from_row(row, Ok(String::new()))?,
            floating_network_id: row.get("floating_network_id")?,
            floating_port_id: row.get("floating_port_id")?,
            floating_ip_address: parsed("floating_ip_address", &floating)?,
            port_id: row.get("port_id")?,
            fixed_ip_address: address(row, "fixed_ip_address")?,
            router_id: row.get("router_id")?,
            status: row.get("status")?,
        })
    }
}

#[derive(Clone, Debug)]
pub struct SecurityGroupRow {
    pub standard: Standard,
    pub is_default: bool,
    /// Read beside the row.
    pub rules: Vec<RuleRow>,
}

impl FromRow for SecurityGroupRow {
    fn from_row(row: &Row) -> Result<SecurityGroupRow> {
        Ok(SecurityGroupRow {
            standard: Standard::from_row(row, row.get("name"))?,
            is_default: row.get::<Option<String>>("default_of")?.is_some(),
            rules: Vec::new(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    Ipv4,
    Ipv6,
}

impl EtherType {
    pub fn as_str(self) -> &'static str {
        match self {
            EtherType::Ipv4 => "IPv4",
            EtherType::Ipv6 => "IPv6",
        }
    }
}

#[derive(Clone, Debug)]
pub struct RuleRow {
    pub id: Uuid,
    pub security_group_id: Uuid,
    pub project_id: String,
    pub description: String,
    pub direction: Direction,
    pub ethertype: EtherType,
    /// A name or a number, as the client wrote it.
    pub protocol: Option<String>,
    pub port_range_min: Option<u32>,
    pub port_range_max: Option<u32>,
    /// With the host bits that the client wrote.
    pub remote_ip_prefix: Option<IpNet>,
    pub remote_group_id: Option<Uuid>,
    pub created_at: Timestamp,
}

impl FromRow for RuleRow {
    fn from_row(row: &Row) -> Result<RuleRow> {
        let (direction, ethertype): (String, String) = (row.get("direction")?, row.get("ethertype")?);
        let prefix: Option<String> = row.get("remote_ip_prefix")?;
        Ok(RuleRow {
            id: row.get("id")?,
            security_group_id: row.get("security_group_id")?,
            project_id: row.get("project_id")?,
            description: row.get("description")?,
            direction: if direction == "ingress" { Direction::Ingress } else { Direction::Egress },
            ethertype: if ethertype == "IPv6" { EtherType::Ipv6 } else { EtherType::Ipv4 },
            protocol: row.get("protocol")?,
            port_range_min: row.get("port_range_min")?,
            port_range_max: row.get("port_range_max")?,
            remote_ip_prefix: prefix.map(|text| parsed("remote_ip_prefix", &text)).transpose()?,
            remote_group_id: row.get("remote_group_id")?,
            created_at: row.get("created_at")?,
        })
    }
}
