//! One router: a namespace with a leg into each of its networks.

use std::collections::{BTreeMap, BTreeSet};

use hanse_core::Result;
use ipnet::Ipv4Net;

use super::links::{Link, Links, Want};
use super::netns::Namespace;
use super::packet::PacketSocket;
use super::{Linux, nft};
use crate::plan::{Leg, RouterPlan};
use crate::rules;

impl Linux {
    /// Rules come before legs, so that at no time something passes that should not.
    pub(super) async fn converge_router(
        &self,
        cloud: &Links,
        router: &RouterPlan,
        bridges: &BTreeMap<String, u32>,
    ) -> Result<()> {
        let namespace = Namespace::ensure(&router.namespace).await?;
        self.crash("sdn.router.named")?;
        nft::load(&namespace, rules::router::compile(router)).await?;
        self.crash("sdn.router.filtered")?;
        namespace.sysctl(super::quiet(true)).await?;
        let links = Links::open(&namespace).await?;
        let gateway = router.gateway.as_ref().map(|gateway| &gateway.leg);
        let legs = || router.legs.iter().chain(gateway);
        links.sweep(&legs().map(|leg| leg.inner.as_str()).collect()).await?;
        self.crash("sdn.router.swept")?;

        for leg in &router.legs {
            self.converge_leg(cloud, &links, leg, BTreeSet::from([leg.address]), bridges).await?;
        }
        if let Some(leg) = gateway {
            let mut addresses: BTreeSet<Ipv4Net> =
                router.floating.keys().copied().map(Ipv4Net::from).collect();
            // The gateway's own address may not be there a second time without its network.
            addresses.remove(&Ipv4Net::from(leg.address.addr()));
            addresses.insert(leg.address);
            let (inner, added) = self.converge_leg(cloud, &links, leg, addresses, bridges).await?;
            self.crash("sdn.router.gated")?;
            announce(&namespace, leg, &inner, added).await?;
        }
        let mut routes = router.routes.clone();
        if let Some(hop) = router.gateway.as_ref().and_then(|gateway| gateway.next_hop) {
            routes.entry(Ipv4Net::default()).or_insert(hop);
        }
        self.crash("sdn.router.routing")?;
        links.set_routes(&routes).await
    }

    async fn converge_leg(
        &self,
        cloud: &Links,
        links: &Links,
        leg: &Leg,
        addresses: BTreeSet<Ipv4Net>,
        bridges: &BTreeMap<String, u32>,
    ) -> Result<(Link, Vec<Ipv4Net>)> {
        let (outer, inner) = cloud.ensure_veth(&leg.outer, links, &leg.inner).await?;
        self.crash("sdn.router.linked")?;
        let mtu = leg.mtu;
        links.settle(&inner, Want { mtu, up: true, mac: Some(leg.mac), ..Want::default() }).await?;
        let bridge = super::bridge_index(bridges, &leg.bridge)?;
        cloud.settle(&outer, Want { mtu, up: true, bridge: Some(bridge), ..Want::default() }).await?;
        self.crash("sdn.router.plugged")?;
        let added = links.set_addresses(&inner, &addresses).await?;
        Ok((inner, added))
    }
}

/// Neighbours that still know an address under another router's MAC learn of the new one at once.
async fn announce(namespace: &Namespace, leg: &Leg, inner: &Link, added: Vec<Ipv4Net>) -> Result<()> {
    if added.is_empty() {
        return Ok(());
    }
    let (mac, index) = (leg.mac, inner.index);
    let send = move || {
        let socket = PacketSocket::open()?;
        added.iter().try_for_each(|address| socket.announce(index, mac, address.addr()))
    };
    namespace.run(send).await
}
