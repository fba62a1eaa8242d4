//! What compute needs of its neighbours. Reads are batches; `ensure` and `release` are idempotent and only the
//! reconciler calls them, but for `Volumes`: whoever attaches a volume wants to know at once whether it is theirs.

mod null;

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use hanse_core::{Cx, Result, Uuid};
use hanse_node::documents::{ImageRef, MacAddress, Nic};
use hanse_policy::Caller;
use hanse_work::Turn;
use serde::{Deserialize, Serialize};

pub use null::{NoNetworks, NoVolumes};

/// An image, as far as a server that boots from it is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImage {
    pub id: Uuid,
    /// What the agent's store knows it by.
    pub data: Option<ImageRef>,
    pub active: bool,
    /// Bytes of the disk that it describes.
    pub virtual_size: u64,
    /// GiB that a disk must have.
    pub min_disk: u32,
    /// MiB of memory that a server must have.
    pub min_ram: u32,
}

#[async_trait]
pub trait Images: Send + Sync {
    /// Those of these images that the project may use.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn show_many(&self, cx: &Cx, project_id: &str, ids: &[Uuid]) -> Result<Vec<BootImage>>;
}

/// What a client asks for when it creates a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicRequest {
    pub network_id: Option<Uuid>,
    /// An existing port; nothing else is said then.
    pub port_id: Option<Uuid>,
    pub fixed_ip: Option<IpAddr>,
}

/// A network card that was promised to a server. Stored with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedNic {
    /// Of the port; chosen by compute unless the client named one.
    pub port_id: Uuid,
    /// The port is ours: made for the server and gone with it.
    pub owned: bool,
    pub network_id: Uuid,
    pub fixed_ip: Option<IpAddr>,
    /// Security groups of a port that we make.
    pub security_groups: Vec<Uuid>,
}

/// A network card that a client may have; without `port_id` compute chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedNic {
    pub network_id: Uuid,
    pub port_id: Option<Uuid>,
    pub fixed_ip: Option<IpAddr>,
    pub security_groups: Vec<Uuid>,
}

/// The server that ports are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    pub server_id: Uuid,
    pub project_id: String,
    pub hostname: String,
    pub availability_zone: String,
    /// Where it runs.
    pub node: String,
}

/// The network cards of a server, ready to be plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugged {
    pub nics: Vec<Nic>,
    /// `network_data.json` for the guest.
    pub network_data: String,
}

/// A port of a server, for `addresses`, `security_groups` and `os-interface`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPort {
    pub port_id: Uuid,
    pub network_id: Uuid,
    pub network_name: String,
    pub mac: MacAddress,
    pub active: bool,
    pub addresses: Vec<ServerAddress>,
    /// Names.
    pub security_groups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    pub address: IpAddr,
    /// None for a floating address.
    pub subnet_id: Option<Uuid>,
    pub floating: bool,
}

#[async_trait]
pub trait Networks: Send + Sync {
    /// Checks at API time what a client asks for, without changing anything. Without a request, the one network that
    /// the project can reach is meant; none at all gives a server without network.
    ///
    /// # Errors
    /// 400 for what does not exist or is in use, 409 if there are several networks to choose from.
    async fn validate(
        &self,
        cx: &Cx,
        caller: &Caller,
        requests: &[NicRequest],
        security_groups: &[String],
    ) -> Result<Vec<ResolvedNic>>;

    /// Makes the ports (with these ids) and binds them to the server and its node.
    ///
    /// # Errors
    /// 400, 403, 404 and 409 are final: the server cannot be built.
    async fn ensure_ports(&self, turn: &Turn, owner: &PortOwner, nics: &[PlannedNic]) -> Result<Plugged>;

    /// Deletes the ports that are ours, unbinds the others, whatever is left of them.
    ///
    /// # Errors
    /// If it cannot be done now.
    async fn release_ports(&self, turn: &Turn, server_id: Uuid, nics: &[PlannedNic]) -> Result<()>;

    /// The ports of these servers.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn ports_of(&self, cx: &Cx, servers: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<ServerPort>>>;

    /// Servers (of the project, or of all) that have an address which contains this text.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn servers_at(&self, cx: &Cx, project_id: Option<&str>, address: &str) -> Result<Vec<Uuid>>;

    /// Puts all ports of a server into a security group, or takes them out.
    ///
    /// # Errors
    /// 404 if there is no such group.
    async fn set_security_group(
        &self,
        cx: &Cx,
        caller: &Caller,
        server_id: Uuid,
        group: &str,
        member: bool,
    ) -> Result<()>;
}

/// A volume on its way to or from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// Of the attachment. It is written down before the volume is asked for, and used for this one time.
    pub attachment_id: Uuid,
    pub volume_id: Uuid,
    pub server_id: Uuid,
    pub project_id: String,
    /// Where the server runs; the disk must be there.
    pub node: String,
    /// `/dev/vdb`
    pub device: String,
}

#[async_trait]
pub trait Volumes: Send + Sync {
    /// Whether the volume may be attached, at API time, without changing anything.
    ///
    /// # Errors
    /// 404 if the caller may not see it, 400 if it is not available.
    async fn validate(&self, cx: &Cx, caller: &Caller, volume_id: Uuid) -> Result<()>;

    /// Promises the volume to the server, on behalf of a caller who waits for the answer. Idempotent. What was promised
    /// to an attachment that no longer stands ([`crate::standing`]) is taken back by whoever has the volumes.
    ///
    /// # Errors
    /// 404 if the caller may not see it, 403 if they may not attach it, 400 and 409 if the server cannot have it.
    async fn reserve(&self, cx: &Cx, caller: &Caller, wanted: &VolumeUse) -> Result<()>;

    /// The same for the reconciler, which finishes what a caller has begun.
    ///
    /// # Errors
    /// 400, 403, 404 and 409 are final: the server cannot have it.
    async fn ensure_reserved(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()>;

    /// Makes the disk of a reserved volume available on the node.
    ///
    /// # Errors
    /// 400, 403, 404 and 409 are final: it cannot be attached.
    async fn ensure_attached(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()>;

    /// The attachment is over. One that the volume does not have changes nothing.
    ///
    /// # Errors
    /// If it cannot be done now.
    async fn release(&self, cx: &Cx, volume_id: Uuid, attachment_id: Uuid) -> Result<()>;
}

/// How much of compute a project may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    pub instances: u32,
    /// Virtual CPUs.
    pub cores: u32,
    /// Memory in MiB.
    pub ram: u64,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { instances: 100, cores: 200, ram: 512_000 }
    }
}

#[async_trait]
pub trait Limits: Send + Sync {
    /// # Errors
    /// If they cannot be read.
    async fn show(&self, cx: &Cx, project_id: &str) -> Result<Quota>;
}

/// The same for every project.
#[async_trait]
impl Limits for Quota {
    async fn show(&self, _: &Cx, _: &str) -> Result<Quota> {
        Ok(*self)
    }
}

#[async_trait]
pub trait Consoles: Send + Sync {
    /// The last bytes (at most `limit`) that the guest has written to its serial console.
    ///
    /// # Errors
    /// 404 if there are none yet, 503 if the node is not connected.
    async fn console(&self, node: &str, server_id: Uuid, limit: usize) -> Result<Vec<u8>>;
}

#[async_trait]
impl Consoles for hanse_node::hub::Hub {
    async fn console(&self, node: &str, server_id: Uuid, limit: usize) -> Result<Vec<u8>> {
        hanse_node::hub::Hub::console(self, node, server_id, limit).await
    }
}
