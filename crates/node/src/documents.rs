//! What the control plane wants an agent to make true.
//!
//! Documents are complete: an agent needs nothing but the newest revision of each to reach the desired state
//! from any other. The network documents are shaped like OVN's northbound schema (switch, port, router, port
//! group), so that one logical model compiles to the Linux kernel and to OVN alike.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hanse_core::{Secret, Uuid};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One desired document. `revision` grows with every change; an agent ignores an older one than it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    pub id: Uuid,
    pub revision: i64,
    pub spec: Spec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spec {
    Guest(Guest),
    Disk(Disk),
    Switch(Switch),
    Port(Port),
    Router(Router),
    PortGroup(PortGroup),
    /// The object shall not exist. The document goes away once the agent has reported it gone.
    Absent {
        was: Kind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Guest,
    Disk,
    Switch,
    Port,
    Router,
    PortGroup,
}

impl Kind {
    /// As it stands in the database and in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Guest => "guest",
            Kind::Disk => "disk",
            Kind::Switch => "switch",
            Kind::Port => "port",
            Kind::Router => "router",
            Kind::PortGroup => "port_group",
        }
    }
}

impl Spec {
    pub fn kind(&self) -> Kind {
        match self {
            Spec::Guest(_) => Kind::Guest,
            Spec::Disk(_) => Kind::Disk,
            Spec::Switch(_) => Kind::Switch,
            Spec::Port(_) => Kind::Port,
            Spec::Router(_) => Kind::Router,
            Spec::PortGroup(_) => Kind::PortGroup,
            Spec::Absent { was } => *was,
        }
    }
}

/// A virtual machine. Its root disk is the [`Disk`] with the same id as the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    pub power: Power,
    /// Grows with each reboot that a user asks for; the agent reboots once for each new value.
    pub reboots: Reboots,
    pub vcpus: u32,
    pub memory_mib: u64,
    /// Attached disks in the order of their device names; the first is the root disk.
    pub disks: Vec<AttachedDisk>,
    pub nics: Vec<Nic>,
    pub identity: GuestIdentity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    Running,
    /// Shut down: ACPI first, the plug after `grace_seconds`.
    Stopped {
        grace_seconds: u32,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboots {
    /// ACPI shutdown, then a start.
    pub soft: u64,
    /// Reset.
    pub hard: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDisk {
    /// The id of the [`Disk`].
    pub id: Uuid,
    /// What the guest reads as the serial number of the virtio disk; for a volume, its id.
    pub serial: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The id of the [`Port`] that it is plugged into.
    pub port_id: Uuid,
    pub mac: MacAddress,
    pub mtu: u16,
}

/// What the guest learns about itself from its config drive and from 169.254.169.254.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestIdentity {
    pub name: String,
    pub hostname: String,
    pub project_id: String,
    pub availability_zone: String,
    pub flavor: String,
    /// Name and OpenSSH public key.
    pub public_keys: BTreeMap<String, String>,
    /// Key-value pairs that the user set (`meta`).
    pub metadata: BTreeMap<String, String>,
    /// Counts as a secret.
    pub user_data: Option<Secret<Vec<u8>>>,
    /// `network_data.json` of the metadata service, as it is served.
    pub network_data: String,
}

/// A disk: a root disk made from an image, or a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub size_bytes: u64,
    /// The image that the disk starts as; empty without one.
    pub image: Option<ImageRef>,
}

/// An image that the agent's store holds. The format is stated, never probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    pub id: Uuid,
    pub format: DiskFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

impl DiskFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// A virtual network: one layer-2 segment with its subnets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    pub mtu: u16,
    pub subnets: Vec<Subnet>,
    /// The network that leads out of the cloud (`router:external`): its addresses are reachable from the host.
    pub external: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: Uuid,
    pub cidr: IpNet,
    pub gateway: Option<IpAddr>,
    /// Whether guests get their address by DHCP.
    pub dhcp: bool,
    /// The address of the subnet that the DHCP and metadata service itself uses.
    pub service_address: Option<IpAddr>,
    pub dns_servers: Vec<IpAddr>,
    pub host_routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub destination: IpNet,
    pub next_hop: IpAddr,
}

/// A port of a switch that a guest plugs into. Router interfaces stand in [`Router`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub switch_id: Uuid,
    pub mac: MacAddress,
    pub addresses: Vec<PortAddress>,
    /// The guest behind the port; the metadata service knows it by this.
    pub guest_id: Option<Uuid>,
    pub hostname: String,
    pub admin_up: bool,
    /// Without port security there is neither anti-spoofing nor a security group.
    pub port_security: bool,
    /// Port groups (security groups) whose rules apply. Ingress and egress are denied but for their rules.
    pub groups: Vec<Uuid>,
    /// Further addresses that the port may use as source (`allowed_address_pairs`).
    pub allowed_pairs: Vec<AddressPair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAddress {
    pub subnet_id: Uuid,
    pub address: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPair {
    pub mac: MacAddress,
    pub address: IpNet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    pub admin_up: bool,
    pub interfaces: Vec<RouterInterface>,
    pub gateway: Option<Gateway>,
    pub floating_ips: Vec<FloatingIp>,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterInterface {
    pub port_id: Uuid,
    pub switch_id: Uuid,
    pub mac: MacAddress,
    /// Address with prefix length.
    pub address: IpNet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    pub port_id: Uuid,
    pub switch_id: Uuid,
    pub mac: MacAddress,
    pub address: IpNet,
    /// The gateway of the external subnet.
    pub next_hop: Option<IpAddr>,
    /// Whether inside addresses leave under the gateway's own address.
    pub snat: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    pub id: Uuid,
    pub floating: IpAddr,
    pub fixed: IpAddr,
}

/// A security group: what its member ports may receive and send. Connections that are allowed in one direction
/// are answered without a rule for the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortGroup {
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub direction: RuleDirection,
    pub ether_type: EtherType,
    /// IANA protocol number; any protocol without one.
    pub protocol: Option<u8>,
    /// TCP/UDP port range, or ICMP type (min) and code (max).
    pub port_min: Option<u16>,
    pub port_max: Option<u16>,
    pub remote: Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleDirection {
    Ingress,
    Egress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtherType {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    Any,
    Prefix(IpNet),
    /// All addresses of the ports in this port group.
    Group(Uuid),
}

/// An Ethernet address, written `fa:16:3e:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for MacAddress {
    type Err = hanse_core::Error;

    fn from_str(text: &str) -> Result<MacAddress, hanse_core::Error> {
        let wrong = || hanse_core::Error::bad_request(format!("'{text}' is not a MAC address"));
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(MacAddress(bytes)) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = hanse_core::Error;

    fn try_from(text: String) -> Result<MacAddress, hanse_core::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_and_written() {
        let mac: MacAddress = "FA-16-3e-00-00-0f".parse().unwrap();
        assert_eq!(mac.to_string(), "fa:16:3e:00:00:0f");
        for wrong in
            ["", "fa:16:3e:00:00", "fa:16:3e:00:00:0f:01", "fa:16:3e:00:00:0", "+a:16:3e:00:00:0f:zz"]
        {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_document_survives_its_encoding() {
        let spec = Spec::Disk(Disk { size_bytes: 1 << 30, image: None });
        let document = Document { id: Uuid::nil(), revision: 7, spec };
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    }
}
