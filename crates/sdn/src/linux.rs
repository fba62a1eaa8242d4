//! The engine on the Linux kernel: bridges, taps, veths and nftables in namespaces, with DHCP and metadata
//! served by this process.
//!
//! "The host" is the namespace that the process was in when the engine was made. There it has one veth, one
//! address and one nft table; all else is in namespaces whose names start with the cloud's.

mod cloud;
mod dhcp;
mod links;
mod metadata;
mod netns;
mod nft;
mod packet;
mod router;
mod service;
mod tap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;
use hanse_core::{CrashPoints, Error, Result, Uuid};
use hanse_node::documents::Kind;
use tokio::sync::Mutex;

use crate::names::CloudNames;
use crate::plan::{self, Plan, PublicRange};
use crate::{Applied, Capability, MetadataTree, Model, Sdn};
use links::Links;
use netns::Namespace;
use service::{Service, Tenants};

pub use tap::TapOwner;

pub(crate) const CAPABILITIES: [Capability; 9] = [
    Capability::AddressPairs,
    Capability::Dhcp,
    Capability::ExtraRoutes,
    Capability::FloatingIps,
    Capability::Metadata,
    Capability::NetworkMtu,
    Capability::PortSecurity,
    Capability::Routers,
    Capability::SecurityGroups,
];

/// How the cloud's public addresses reach the host, and perhaps the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalConfig {
    pub range: PublicRange,
    /// The host's interface through which public addresses may leave, under the host's own address. Without
    /// one they reach the host and nothing else.
    pub uplink: Option<String>,
}

/// What the engine is made from.
pub struct Config {
    /// 6 to 8 hexadecimal digits; tells the cloud from every other on this host.
    pub cloud: String,
    pub external: ExternalConfig,
    pub tap_owner: TapOwner,
    /// The domain that guests are told to be in; none if empty.
    pub domain: String,
    pub metadata: MetadataTree,
    pub crash: CrashPoints,
}

/// See the module.
pub struct Linux {
    names: CloudNames,
    public: PublicRange,
    uplink: Option<String>,
    tap_owner: TapOwner,
    domain: String,
    metadata: MetadataTree,
    crash: CrashPoints,
    host: Namespace,
    /// Held for the time of a whole `apply` or `teardown`, so that there is one at a time.
    services: Mutex<BTreeMap<Uuid, Service>>,
}

impl Linux {
    /// Touches nothing yet. The calling thread must be in the namespace that is to be "the host".
    ///
    /// # Errors
    /// 400 for a malformed cloud id, range, domain or uplink.
    pub fn new(config: Config) -> Result<Linux> {
        let Config { cloud, external: ExternalConfig { range, uplink }, tap_owner, domain, metadata, crash } =
            config;
        if !range.cidr.contains(&range.host_address) {
            return Err(Error::bad_request(format!(
                "the host's address {} must be in the public range {}",
                range.host_address, range.cidr
            )));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if let Some(name) = &uplink
            && (name.is_empty() || name.len() > 15 || !name.bytes().all(plain) || name.starts_with('.'))
        {
            return Err(Error::bad_request(format!("the uplink '{name}' is not an interface name")));
        }
        if domain.len() > 253 || !domain.bytes().all(plain) {
            return Err(Error::bad_request(format!("'{domain}' is not a domain name")));
        }
        Ok(Linux {
            names: CloudNames::new(&cloud)?,
            public: range,
            uplink,
            tap_owner,
            domain,
            metadata,
            crash,
            host: Namespace::current()?,
            services: Mutex::default(),
        })
    }

    fn crash(&self, point: &'static str) -> Result<()> {
        self.crash.pass(point)
    }

    async fn converge(
        &self,
        model: &Model,
        mut plan: Plan,
        services: &mut BTreeMap<Uuid, Service>,
    ) -> Result<Applied> {
        let cloud = self.cloud().await?;
        let bridges = self.converge_bridges(&cloud, &plan).await?;
        self.remove_stale(&plan)?;
        self.crash("sdn.unnamed")?;
        match plan.switches.iter().find(|(_, switch)| switch.joins_host) {
            None => self.leave_host().await?,
            Some((id, switch)) => {
                if let Err(error) = self.converge_host(&cloud, switch, &bridges).await {
                    plan.applied.fail(Kind::Switch, *id, error.detail());
                }
            }
        }
        self.converge_ports(&cloud, &mut plan, &bridges).await?;
        for (id, router) in &plan.routers {
            if let Err(error) = self.converge_router(&cloud, router, &bridges).await {
                plan.applied.fail(Kind::Router, *id, error.detail());
            }
        }
        services.retain(|id, _| plan.switches.get(id).is_some_and(|switch| switch.service.is_some()));
        for (id, switch) in &plan.switches {
            let Some(service) = &switch.service else { continue };
            let tenants = Tenants::of(*id, switch, &plan, model, &self.domain);
            let bridge = bridge_index(&bridges, &switch.bridge)?;
            let running = services.remove(id);
            match self.converge_service(&cloud, switch, service, bridge, tenants, running).await {
                Ok(running) => {
                    services.insert(*id, running);
                }
                Err(error) => plan.applied.fail(Kind::Switch, *id, error.detail()),
            }
        }
        Ok(plan.applied)
    }

    /// Removes the namespaces of routers and services that are no more. Their legs are gone already.
    fn remove_stale(&self, plan: &Plan) -> Result<()> {
        let services = plan.switches.values().filter_map(|switch| switch.service.as_ref());
        let mut wanted: BTreeSet<&str> = services.map(|service| service.namespace.as_str()).collect();
        wanted.extend(plan.routers.values().map(|router| router.namespace.as_str()));
        wanted.insert(&self.names.namespace);
        let all = netns::list(|name| self.names.owns(name))?;
        all.iter().filter(|name| !wanted.contains(name.as_str())).try_for_each(|name| netns::remove(name))
    }
}

#[async_trait]
impl Sdn for Linux {
    async fn apply(&self, model: &Model) -> Result<Applied> {
        let mut services = self.services.lock().await;
        let plan = plan::compile(model, &self.names, &self.public);
        self.converge(model, plan, &mut services).await
    }

    fn namespace_path(&self) -> Option<PathBuf> {
        Some(netns::path(&self.names.namespace))
    }

    async fn teardown(&self) -> Result<()> {
        let mut services = self.services.lock().await;
        services.clear();
        self.leave_host().await?;
        self.crash("sdn.teardown.left")?;
        if let Some(namespace) = Namespace::open(&self.names.namespace)? {
            // The kernel takes its time with a namespace; what is deleted here is gone when this returns.
            Links::open(&namespace).await?.sweep(&BTreeSet::new()).await?;
        }
        self.crash("sdn.teardown.swept")?;
        netns::list(|name| self.names.owns(name))?.iter().try_for_each(|name| netns::remove(name))
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        CAPABILITIES.into()
    }
}

/// What every namespace of ours is told, since it would inherit the host's settings: IPv4 only, no forwarding
/// but in routers, only sources that an answer would find, and ARP for an address only where the address is.
fn quiet(forward: bool) -> Vec<(String, &'static str)> {
    [
        ("ipv4/ip_forward", if forward { "1" } else { "0" }),
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/all/arp_announce", "2"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn bridge_index(bridges: &BTreeMap<String, u32>, name: &str) -> Result<u32> {
    bridges.get(name).copied().ok_or_else(|| Error::internal(format!("bridge {name} vanished")))
}
