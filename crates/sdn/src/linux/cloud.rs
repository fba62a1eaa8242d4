//! The namespace of bridges and taps, and the veth between it and the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use hanse_core::{Context, Error, Result, Uuid};
use hanse_node::documents::Kind;
use tokio::process::Command;

use super::links::{Link, Links, Want};
use super::netns::Namespace;
use super::{Linux, nft, tap};
use crate::names;
use crate::plan::{Plan, PortPlan, SwitchPlan};
use crate::rules;

/// Conntrack zones are 16 bits wide, and 0 is what everybody else uses.
const ZONES: u32 = 0xffff;

impl Linux {
    /// Bridges and their rules; returns the bridges' indexes by name. What is no longer wanted goes first and
    /// the rules are there before anything new is plugged in, so that no port is ever without them.
    pub(super) async fn converge_bridges(&self, cloud: &Links, plan: &Plan) -> Result<BTreeMap<String, u32>> {
        cloud.sweep(&self.wanted(plan)).await?;
        self.crash("sdn.swept")?;
        let found = cloud.list().await?;
        let zones = zones(&plan.switches, &found);
        nft::load(cloud.namespace(), rules::cloud::compile(plan, &zones)).await?;
        self.crash("sdn.filtered")?;
        let mut bridges = BTreeMap::new();
        for switch in plan.switches.values() {
            let zone = zones.get(&switch.bridge).copied().map(u32::from);
            let bridge = match found.get(&switch.bridge) {
                Some(bridge) => bridge.clone(),
                None => {
                    cloud.add_bridge(&switch.bridge, zone.unwrap_or_default()).await?;
                    self.crash("sdn.bridged")?;
                    cloud.get(&switch.bridge).await?
                }
            };
            let want = Want { mtu: switch.mtu, up: true, group: zone, ..Want::default() };
            cloud.settle(&bridge, want).await?;
            bridges.insert(switch.bridge.clone(), bridge.index);
        }
        Ok(bridges)
    }

    /// The names of all interfaces that shall be in the cloud's namespace.
    fn wanted<'a>(&'a self, plan: &'a Plan) -> BTreeSet<&'a str> {
        let mut wanted = BTreeSet::new();
        for switch in plan.switches.values() {
            wanted.insert(switch.bridge.as_str());
            wanted.extend(switch.service.as_ref().map(|service| service.outer.as_str()));
            wanted.extend(switch.joins_host.then_some(self.names.cloud_veth.as_str()));
        }
        wanted.extend(plan.ports.values().map(|port| port.tap.as_str()));
        for router in plan.routers.values() {
            let gateway = router.gateway.as_ref().map(|gateway| &gateway.leg);
            wanted.extend(router.legs.iter().chain(gateway).map(|leg| leg.outer.as_str()));
        }
        wanted
    }

    /// Taps, each on its bridge. One that is there already is taken as it is: it may be a guest's.
    pub(super) async fn converge_ports(
        &self,
        cloud: &Links,
        plan: &mut Plan,
        bridges: &BTreeMap<String, u32>,
    ) -> Result<()> {
        let found = cloud.list().await?;
        let mut failed: Vec<(Uuid, String)> = Vec::new();
        for (id, port) in &plan.ports {
            if let Err(error) = self.converge_port(cloud, port, found.get(&port.tap), bridges).await {
                failed.push((*id, error.detail()));
            }
        }
        for (id, reason) in failed {
            plan.applied.fail(Kind::Port, id, reason);
        }
        Ok(())
    }

    async fn converge_port(
        &self,
        cloud: &Links,
        port: &PortPlan,
        found: Option<&Link>,
        bridges: &BTreeMap<String, u32>,
    ) -> Result<()> {
        let link = match found {
            Some(link) => link.clone(),
            None => {
                let (name, owner) = (port.tap.clone(), self.tap_owner);
                cloud.namespace().run(move || tap::create(&name, owner)).await?;
                self.crash("sdn.tapped")?;
                cloud.get(&port.tap).await?
            }
        };
        let bridge = Some(super::bridge_index(bridges, &port.bridge)?);
        cloud.settle(&link, Want { mtu: port.mtu, up: port.up, bridge, ..Want::default() }).await?;
        self.crash("sdn.plugged")?;
        Ok(())
    }

    /// The one veth on the host, with the gateway address of the public range.
    pub(super) async fn converge_host(
        &self,
        cloud: &Links,
        switch: &SwitchPlan,
        bridges: &BTreeMap<String, u32>,
    ) -> Result<()> {
        let uplink = self.uplink.as_deref();
        nft::load(&self.host, rules::host::compile(&self.names, self.public.cidr, uplink)).await?;
        self.crash("sdn.host.filtered")?;
        let host = Links::open(&self.host).await?;
        let (outer, inner) = cloud.ensure_veth(&self.names.cloud_veth, &host, &self.names.host_veth).await?;
        self.crash("sdn.host.linked")?;
        let veth = &self.names.host_veth;
        let mut settings = vec![(format!("ipv6/conf/{veth}/disable_ipv6"), "1")];
        if let Some(uplink) = uplink {
            if host.find(uplink).await?.is_none() {
                return Err(Error::conflict(format!(
                    "the uplink {uplink} does not exist; name an interface of this host or leave it out"
                )));
            }
            // Forwarding is decided by the interface that a packet comes in on, so these two are enough.
            settings.push((format!("ipv4/conf/{veth}/forwarding"), "1"));
            settings.push((format!("ipv4/conf/{uplink}/forwarding"), "1"));
        }
        self.host.sysctl(settings).await?;
        let mtu = switch.mtu;
        host.settle(&inner, Want { mtu, up: true, ..Want::default() }).await?;
        let bridge = Some(super::bridge_index(bridges, &switch.bridge)?);
        cloud.settle(&outer, Want { mtu, up: true, bridge, ..Want::default() }).await?;
        self.crash("sdn.host.plugged")?;
        let address = ipnet::Ipv4Net::new(self.public.host_address, self.public.cidr.prefix_len());
        host.set_addresses(&inner, &address.into_iter().collect()).await?;
        Ok(())
    }

    /// Takes back what is on the host.
    pub(super) async fn leave_host(&self) -> Result<()> {
        let host = Links::open(&self.host).await?;
        if let Some(link) = host.find(&self.names.host_veth).await? {
            host.delete(&link).await?;
        }
        self.crash("sdn.host.left")?;
        if let Some(uplink) = &self.uplink
            && host.find(uplink).await?.is_some()
        {
            // What it was before is not known; what the host does everywhere else is the best guess.
            let name = format!("/proc/sys/net/ipv4/conf/{uplink}/forwarding");
            let restore = move || {
                let general = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
                std::fs::write(&name, general.context("cannot read ip_forward")?)
                    .context(format_args!("cannot write {name}"))
            };
            self.host.run(restore).await?;
        }
        nft::load(&self.host, rules::host::remove(&self.names)).await
    }

    /// The cloud's namespace, with what it needs of the kernel.
    pub(super) async fn cloud(&self) -> Result<Links> {
        let namespace = Namespace::ensure(&self.names.namespace).await?;
        self.crash("sdn.named")?;
        if !Path::new("/proc/sys/net/bridge").exists() {
            // Nothing else makes the kernel load it. Whether it worked shows below.
            let _ = Command::new("modprobe").arg("br_netfilter").stdin(Stdio::null()).status().await;
        }
        let mut settings = super::quiet(false);
        settings.push(("bridge/bridge-nf-call-iptables".to_owned(), "1"));
        settings.push(("bridge/bridge-nf-call-ip6tables".to_owned(), "0"));
        settings.push(("bridge/bridge-nf-call-arptables".to_owned(), "0"));
        namespace.sysctl(settings).await.map_err(|error| {
            Error::unavailable("the kernel cannot filter bridges; load the module br_netfilter")
                .because(error)
        })?;
        Links::open(&namespace).await
    }
}

/// A conntrack zone for each bridge. A bridge keeps its zone as its interface group, so that connections
/// survive a restart. A new one starts from the switch's id, so that a zone hardly ever comes back to another
/// network while the kernel still remembers connections of the last.
fn zones(switches: &BTreeMap<Uuid, SwitchPlan>, found: &BTreeMap<String, Link>) -> BTreeMap<String, u16> {
    let mut zones = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for switch in switches.values() {
        let kept = found.get(&switch.bridge).and_then(|link| u16::try_from(link.group).ok());
        if let Some(zone) = kept.filter(|zone| *zone != 0 && taken.insert(*zone)) {
            zones.insert(switch.bridge.clone(), zone);
        }
    }
    for (id, switch) in switches {
        if !zones.contains_key(&switch.bridge) {
            let start = names::mark(*id);
            let free = (0..ZONES)
                .filter_map(|step| u16::try_from(start.wrapping_add(step) % ZONES + 1).ok())
                .find(|zone| taken.insert(*zone));
            zones.extend(free.map(|zone| (switch.bridge.clone(), zone)));
        }
    }
    zones
}
