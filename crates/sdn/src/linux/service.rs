//! The DHCP and metadata service of each network: a namespace with one veth, and two tasks of this process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Context, Result, Uuid};
use hanse_node::documents::GuestIdentity;
use ipnet::Ipv4Net;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::dhcp::{self, Lease, Leases, METADATA_ADDRESS};
use super::links::{Links, Want};
use super::netns::Namespace;
use super::packet::{self, PacketSocket};
use super::{Linux, metadata};
use crate::names::SERVICE_INNER;
use crate::plan::{Plan, ServicePlan, SwitchPlan};
use crate::{MetadataTree, Model};

/// Who is in one network; replaced as a whole with each change.
#[derive(Debug, Default)]
pub struct Tenants {
    pub leases: Leases,
    pub guests: HashMap<Ipv4Addr, Tenant>,
}

#[derive(Debug)]
pub struct Tenant {
    pub id: Uuid,
    pub identity: GuestIdentity,
}

/// The running listeners of one network.
pub struct Service {
    /// The namespace and interface that the sockets belong to; with another one they are dead.
    place: (u64, u32),
    tenants: watch::Sender<Arc<Tenants>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Service {
    /// Ends the listeners and waits until their addresses are free.
    async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            // An aborted task answers with an error; that it is over is all that counts.
            let _ = task.await;
        }
    }
}

impl Tenants {
    pub fn of(switch_id: Uuid, switch: &SwitchPlan, plan: &Plan, model: &Model, domain: &str) -> Tenants {
        let leases = Leases { by_mac: HashMap::new(), domain: domain.to_owned(), mtu: switch.mtu };
        let mut tenants = Tenants { leases, guests: HashMap::new() };
        let Some(service) = &switch.service else { return tenants };
        for port in plan.ports.values().filter(|port| port.switch_id == switch_id) {
            for (subnet_id, address) in &port.addresses {
                if let Some(id) = port.guest_id
                    && let Some(identity) = model.guests.get(&id)
                {
                    tenants.guests.insert(*address, Tenant { id, identity: identity.clone() });
                }
                if let Some(subnet) = service.subnets.get(subnet_id).filter(|subnet| subnet.dhcp) {
                    let (address, hostname, subnet) = (*address, port.hostname.clone(), subnet.clone());
                    let lease = Lease { address, hostname, subnet };
                    tenants.leases.by_mac.entry(port.mac).or_default().push(lease);
                }
            }
        }
        tenants
    }
}

impl Linux {
    /// Makes the namespace of one network's service and keeps its listeners running.
    pub(super) async fn converge_service(
        &self,
        cloud: &Links,
        switch: &SwitchPlan,
        service: &ServicePlan,
        bridge: u32,
        tenants: Tenants,
        running: Option<Service>,
    ) -> Result<Service> {
        let namespace = Namespace::ensure(&service.namespace).await?;
        namespace.sysctl(super::quiet(false)).await?;
        self.crash("sdn.service.named")?;
        let links = Links::open(&namespace).await?;
        let (outer, inner) = cloud.ensure_veth(&service.outer, &links, SERVICE_INNER).await?;
        self.crash("sdn.service.linked")?;
        links.sweep(&BTreeSet::from([SERVICE_INNER])).await?;
        let mtu = switch.mtu;
        links.settle(&inner, Want { mtu, up: true, mac: Some(service.mac), ..Want::default() }).await?;
        let subnets = service.subnets.values();
        let mut addresses: BTreeSet<Ipv4Net> = subnets
            .filter_map(|subnet| Ipv4Net::new(subnet.service_address, subnet.cidr.prefix_len()).ok())
            .collect();
        addresses.insert(METADATA_ADDRESS.into());
        links.set_addresses(&inner, &addresses).await?;
        links.set_routes(&BTreeMap::new()).await?;
        self.crash("sdn.service.addressed")?;
        cloud.settle(&outer, Want { mtu, up: true, bridge: Some(bridge), ..Want::default() }).await?;
        self.crash("sdn.service.plugged")?;

        let place = (namespace.identity()?, inner.index);
        if let Some(running) = running {
            if running.place == place && !running.tasks.iter().any(JoinHandle::is_finished) {
                running.tenants.send_replace(Arc::new(tenants));
                return Ok(running);
            }
            running.stop().await;
        }
        start(&namespace, place, tenants, self.metadata.clone()).await
    }
}

async fn start(
    namespace: &Namespace,
    place: (u64, u32),
    tenants: Tenants,
    tree: MetadataTree,
) -> Result<Service> {
    let open = || {
        let dhcp = patiently(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)));
        let dhcp = dhcp.context("cannot listen for DHCP")?;
        let http = patiently(|| TcpListener::bind((METADATA_ADDRESS, 80)));
        let http = http.context("cannot listen for metadata")?;
        dhcp.set_nonblocking(true).and(http.set_nonblocking(true)).context("cannot set up a socket")?;
        let dhcp = tokio::net::UdpSocket::from_std(dhcp).context("cannot listen for DHCP")?;
        let http = tokio::net::TcpListener::from_std(http).context("cannot listen for metadata")?;
        Ok((dhcp, http, PacketSocket::open()?))
    };
    let (dhcp, http, out) = namespace.run(open).await?;
    let (tenants, seen) = watch::channel(Arc::new(tenants));
    let tasks = [
        tokio::spawn(answer_dhcp(dhcp, out, place.1, seen.clone())),
        tokio::spawn(metadata::serve(http, seen, tree)),
    ];
    Ok(Service { place, tenants, tasks })
}

/// An agent that is being replaced may still be closing its sockets.
fn patiently<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..40 {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
    bind()
}

/// One packet at a time: a flood from one network fills that network's own socket buffer and nothing else.
async fn answer_dhcp(
    socket: tokio::net::UdpSocket,
    out: PacketSocket,
    interface: u32,
    tenants: watch::Receiver<Arc<Tenants>>,
) {
    let mut buffer = [0; dhcp::MAX_PACKET + 1];
    loop {
        let length = match socket.recv(&mut buffer).await {
            Ok(length) => length,
            Err(error) => {
                tracing::warn!(%error, "the DHCP service cannot receive");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let reply = dhcp::answer(&tenants.borrow().leases, &buffer[..length]);
        if let Some(reply) = reply {
            let packet = packet::udp((reply.source, 67), (reply.destination, 68), &reply.payload);
            if let Err(error) = out.send_ipv4(interface, reply.mac, &packet) {
                // The guest asks again.
                tracing::debug!(%error, mac = %reply.mac, "a DHCP reply was not sent");
            }
        }
        tokio::task::yield_now().await;
    }
}
