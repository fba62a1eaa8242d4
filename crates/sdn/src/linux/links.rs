//! Links, addresses and routes of one namespace, over rtnetlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use hanse_core::{Context, Error, Result};
use hanse_node::documents::MacAddress;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::netns::Namespace;

/// A netlink socket in one namespace.
pub struct Links {
    handle: Handle,
    namespace: Namespace,
}

/// What the kernel says of an interface.
#[derive(Clone, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub mtu: u32,
    pub bridge: Option<u32>,
    pub mac: Option<MacAddress>,
    /// Free for us to use: a bridge keeps its conntrack zone here.
    pub group: u32,
    /// The other end's index, for a veth.
    pub peer: Option<u32>,
}

/// What an interface shall be; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    pub mtu: u16,
    pub up: bool,
    pub bridge: Option<u32>,
    pub mac: Option<MacAddress>,
    pub group: Option<u32>,
}

impl Links {
    pub async fn open(namespace: &Namespace) -> Result<Links> {
        let connect = || rtnetlink::new_connection().context("cannot open a netlink socket");
        let (connection, handle, _) = namespace.run(connect).await?;
        // Ends by itself when the last handle is dropped.
        tokio::spawn(connection);
        Ok(Links { handle, namespace: namespace.clone() })
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// All interfaces but the loopback, by name.
    pub async fn list(&self) -> Result<BTreeMap<String, Link>> {
        let found: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.context("cannot list the interfaces")?;
        let links = found.into_iter().filter(|message| !message.header.flags.contains(LinkFlags::Loopback));
        Ok(links.map(Link::from).map(|link| (link.name.clone(), link)).collect())
    }

    pub async fn find(&self, name: &str) -> Result<Option<Link>> {
        let request = self.handle.link().get().match_name(name.to_owned()).execute().try_next().await;
        match request {
            Ok(found) => Ok(found.map(Link::from)),
            Err(error) if is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(error).context(format_args!("cannot look up interface {name}")),
        }
    }

    /// As [`Links::find`], for what must be there.
    pub async fn get(&self, name: &str) -> Result<Link> {
        let found = self.find(name).await?;
        found.ok_or_else(|| Error::internal(format!("interface {name} vanished")))
    }

    /// Deletes every interface that `keep` does not name.
    pub async fn sweep(&self, keep: &BTreeSet<&str>) -> Result<()> {
        for (name, link) in self.list().await? {
            if !keep.contains(name.as_str()) {
                self.delete(&link).await?;
            }
        }
        Ok(())
    }

    pub async fn delete(&self, link: &Link) -> Result<()> {
        match self.handle.link().del(link.index).execute().await {
            Ok(()) => Ok(()),
            // It went with its other end, or the kernel itself keeps one in each namespace (sit0, tunl0).
            Err(error)
                if [Errno::ENODEV, Errno::EOPNOTSUPP, Errno::EPERM].iter().any(|it| is(&error, *it)) =>
            {
                Ok(())
            }
            Err(error) => Err(error).context(format_args!("cannot delete interface {}", link.name)),
        }
    }

    pub async fn add_bridge(&self, name: &str, group: u32) -> Result<()> {
        let message = LinkMessageBuilder::<LinkBridge>::new(name).mcast_snooping(false).link_group(group);
        let made = self.handle.link().add(message.build()).execute().await;
        made.context(format_args!("cannot make bridge {name}"))
    }

    /// A veth with its `peer` end in another namespace, in one step.
    pub async fn add_veth(&self, name: &str, other: &Links, peer: &str) -> Result<()> {
        let end = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .setns_by_fd(other.namespace.file().as_raw_fd())
            .build();
        let message = LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(end))).build();
        let made = self.handle.link().add(message).execute().await;
        made.context(format_args!("cannot make the veth {name}"))
    }

    /// The veth between `name` here and `peer` there; made anew if either end is missing or astray.
    pub async fn ensure_veth(&self, name: &str, other: &Links, peer: &str) -> Result<(Link, Link)> {
        let (here, there) = (self.find(name).await?, other.find(peer).await?);
        match (here, there) {
            (Some(here), Some(there)) if here.peer == Some(there.index) && there.peer == Some(here.index) => {
                return Ok((here, there));
            }
            (here, there) => {
                if let Some(here) = here {
                    self.delete(&here).await?;
                }
                if let Some(there) = there {
                    other.delete(&there).await?;
                }
            }
        }
        self.add_veth(name, other, peer).await?;
        Ok((self.get(name).await?, other.get(peer).await?))
    }

    /// Changes what differs, and says nothing to the kernel if nothing does.
    pub async fn settle(&self, link: &Link, want: Want) -> Result<()> {
        let mut message = LinkUnspec::new_with_index(link.index);
        let mut differs = link.up != want.up;
        message = if want.up { message.up() } else { message.down() };
        if link.mtu != u32::from(want.mtu) {
            message = message.mtu(want.mtu.into());
            differs = true;
        }
        if let Some(bridge) = want.bridge.filter(|bridge| link.bridge != Some(*bridge)) {
            message = message.controller(bridge);
            differs = true;
        }
        if let Some(mac) = want.mac.filter(|mac| link.mac != Some(*mac)) {
            message = message.address(mac.0.to_vec());
            differs = true;
        }
        if let Some(group) = want.group.filter(|group| link.group != *group) {
            message = message.link_group(group);
            differs = true;
        }
        if !differs {
            return Ok(());
        }
        let changed = self.handle.link().change(message.build()).execute().await;
        changed.context(format_args!("cannot set up interface {}", link.name))
    }

    /// Gives the interface exactly these addresses and returns those that it did not have before.
    pub async fn set_addresses(&self, link: &Link, want: &BTreeSet<Ipv4Net>) -> Result<Vec<Ipv4Net>> {
        let found: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(link.index)
            .execute()
            .try_collect()
            .await
            .context("cannot list addresses")?;
        let mut have = BTreeSet::new();
        for message in found {
            match own_address(&message) {
                Some(address) if want.contains(&address) => {
                    have.insert(address);
                }
                // Deleting a first address takes the others of its subnet along, so a miss is no failure.
                _ => match self.handle.address().del(message).execute().await {
                    Err(error) if !is(&error, Errno::EADDRNOTAVAIL) => {
                        return Err(error).context(format_args!("cannot remove an address of {}", link.name));
                    }
                    _ => have.clear(),
                },
            }
        }
        let mut added = Vec::new();
        for address in want.difference(&have) {
            let ip = IpAddr::V4(address.addr());
            match self.handle.address().add(link.index, ip, address.prefix_len()).execute().await {
                Err(error) if is(&error, Errno::EEXIST) => {}
                made => {
                    made.context(format_args!("cannot give {address} to {}", link.name))?;
                    added.push(*address);
                }
            }
        }
        Ok(added)
    }

    /// Makes these the only routes besides those that follow from the addresses.
    pub async fn set_routes(&self, want: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Result<()> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let found: Vec<RouteMessage> =
            self.handle.route().get(all).execute().try_collect().await.context("cannot list routes")?;
        let mut have = BTreeSet::new();
        for message in found {
            if message.header.protocol == RouteProtocol::Kernel || message.header.kind != RouteType::Unicast {
                continue;
            }
            match own_route(&message) {
                Some((network, hop)) if want.get(&network) == Some(&hop) => {
                    have.insert(network);
                }
                _ => match self.handle.route().del(message).execute().await {
                    Err(error) if !is(&error, Errno::ESRCH) => {
                        return Err(error).context("cannot remove a route");
                    }
                    _ => {}
                },
            }
        }
        for (network, hop) in want.iter().filter(|(network, _)| !have.contains(network)) {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(network.addr(), network.prefix_len())
                .gateway(*hop);
            match self.handle.route().add(route.build()).execute().await {
                Err(error) if is(&error, Errno::ENETUNREACH) => {
                    return Err(Error::conflict(format!(
                        "the route to {network} leads to {hop}, which is in none of the router's networks"
                    )));
                }
                made => made.context(format_args!("cannot add the route to {network}"))?,
            }
        }
        Ok(())
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Link {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            bridge: None,
            mac: None,
            group: 0,
            peer: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.bridge = Some(index),
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(MacAddress),
                _ => {}
            }
        }
        link
    }
}

fn own_address(message: &AddressMessage) -> Option<Ipv4Net> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(address, message.header.prefix_len).ok()
}

fn own_route(message: &RouteMessage) -> Option<(Ipv4Net, Ipv4Addr)> {
    let (mut network, mut hop) = (Ipv4Addr::UNSPECIFIED, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => hop = Some(*address),
            _ => {}
        }
    }
    Some((Ipv4Net::new(network, message.header.destination_prefix_length).ok()?, hop?))
}

fn is(error: &rtnetlink::Error, errno: Errno) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code() == -(errno as i32),
        _ => false,
    }
}
