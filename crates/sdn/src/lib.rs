//! The virtual networks of one node: switches, ports, routers, security groups, DHCP and metadata.
//!
//! A driver is given the complete [`Model`] and makes the node so. It compares with what is really there, so the
//! same call repairs a half-done earlier one, and the second of two equal calls changes nothing.

pub mod linux;
mod names;
mod plan;
mod rules;
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hanse_core::{Result, Uuid};
use hanse_node::documents::{GuestIdentity, Kind, Port, PortGroup, Router, Switch};
use hanse_node::reports::State;

pub use names::tap_name;
pub use plan::PublicRange;
pub use sim::Sim;

/// A virtual network engine on one node. Only the agent calls it.
#[async_trait]
pub trait Sdn: Send + Sync {
    /// Makes the node's network what `model` says and nothing else, and says how each object fared.
    ///
    /// One object that cannot be made is reported as failed and does not hold up the others.
    ///
    /// # Errors
    /// When the node as a whole cannot do it (no rights, no kernel support, no `nft`); run it again later.
    async fn apply(&self, model: &Model) -> Result<Applied>;

    /// The interface that the guest behind this port plugs into: `tap` and eleven hexadecimal digits.
    fn tap_name(&self, port_id: Uuid) -> String {
        tap_name(port_id)
    }

    /// The network namespace in which the taps are; none if the engine has no real ones.
    fn namespace_path(&self) -> Option<PathBuf>;

    /// Takes back everything that this engine ever made on the node. Guests must be gone before.
    ///
    /// # Errors
    /// When something of it is still there; run it again.
    async fn teardown(&self) -> Result<()>;

    /// What the engine can do; the API's extension list and the behaviour suite's skips follow from it.
    fn capabilities(&self) -> BTreeSet<Capability>;
}

/// The complete desired network of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub switches: BTreeMap<Uuid, Switch>,
    pub ports: BTreeMap<Uuid, Port>,
    pub routers: BTreeMap<Uuid, Router>,
    pub port_groups: BTreeMap<Uuid, PortGroup>,
    /// What the metadata service tells the guest of this id.
    pub guests: BTreeMap<Uuid, GuestIdentity>,
}

/// How each object of a [`Model`] fared: [`State::Ready`] or [`State::Failed`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub states: BTreeMap<(Kind, Uuid), State>,
}

impl Applied {
    /// Whether every object is as desired.
    pub fn is_complete(&self) -> bool {
        self.states.values().all(|state| *state == State::Ready)
    }

    fn fail(&mut self, kind: Kind, id: Uuid, reason: impl Into<String>) {
        self.states.insert((kind, id), State::Failed { reason: reason.into() });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    AddressPairs,
    Dhcp,
    ExtraRoutes,
    FloatingIps,
    Ipv6,
    Metadata,
    PortSecurity,
    Routers,
    SecurityGroups,
    /// A network's MTU is set on its ports and told to its guests.
    NetworkMtu,
}

/// What guests read at 169.254.169.254: given the guest's id, its identity and a path without a slash at its end
/// (`/openstack/latest/meta_data.json`), the body, or nothing for 404.
pub type MetadataTree = Arc<dyn Fn(Uuid, &GuestIdentity, &str) -> Option<Vec<u8>> + Send + Sync>;
