//! What the DHCP server answers: pure, from a guest's packet and the leases of its network.
//!
//! Leases are static: a MAC address that the model does not name gets no answer, and there is nothing to
//! remember, so the server may be restarted at any time.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, HType, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use hanse_node::documents::MacAddress;
use ipnet::Ipv4Net;

use crate::plan::SubnetPlan;

/// Longer than any packet that a client sends (RFC 2131 asks for 576), shorter than a jumbo frame.
pub const MAX_PACKET: usize = 1500;
const LEASE_SECONDS: u32 = 86_400;
/// Some clients ignore what is shorter than a BOOTP packet of old.
const MIN_REPLY: usize = 300;
/// Option 121 holds 255 bytes, and a route takes up to nine.
const MAX_ROUTES: usize = 25;
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Who gets which address in one network.
#[derive(Debug, Default)]
pub struct Leases {
    pub by_mac: HashMap<MacAddress, Vec<Lease>>,
    pub domain: String,
    pub mtu: u16,
}

#[derive(Clone, Debug)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub hostname: String,
    pub subnet: SubnetPlan,
}

/// A reply and where it goes: to the MAC address, whatever ARP knows.
#[derive(Debug)]
pub struct Reply {
    pub payload: Vec<u8>,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub mac: MacAddress,
}

/// None for all that is malformed, relayed, from strangers, or needs no answer.
pub fn answer(leases: &Leases, packet: &[u8]) -> Option<Reply> {
    if packet.len() > MAX_PACKET {
        return None;
    }
    let request = Message::decode(&mut Decoder::new(packet)).ok()?;
    let ethernet = request.htype() == HType::Eth && request.hlen() == 6;
    if request.opcode() != Opcode::BootRequest || !ethernet || !request.giaddr().is_unspecified() {
        return None;
    }
    let mac = MacAddress(request.chaddr().try_into().ok()?);
    let offered = leases.by_mac.get(&mac)?;
    let wanted = wanted(&request);
    let lease = offered.iter().find(|lease| Some(lease.address) == wanted).or(offered.first())?;
    let server = lease.subnet.service_address;
    if let Some(DhcpOption::ServerIdentifier(chosen)) = request.opts().get(OptionCode::ServerIdentifier)
        && *chosen != server
    {
        return None;
    }
    let Some(DhcpOption::MessageType(kind)) = request.opts().get(OptionCode::MessageType) else {
        return None;
    };
    let kind = match kind {
        MessageType::Discover => MessageType::Offer,
        MessageType::Request if wanted == Some(lease.address) => MessageType::Ack,
        MessageType::Request => MessageType::Nak,
        // A guest with an address of its own making asks for the rest.
        MessageType::Inform => MessageType::Ack,
        _ => return None,
    };
    let inform = request.opts().msg_type() == Some(MessageType::Inform);

    let mut reply = Message::default();
    reply
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_xid(request.xid())
        .set_flags(request.flags())
        .set_chaddr(&mac.0);
    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    if kind != MessageType::Nak {
        insert_settings(options, leases, lease);
        if !inform {
            options.insert(DhcpOption::AddressLeaseTime(LEASE_SECONDS));
            options.insert(DhcpOption::Renewal(LEASE_SECONDS / 2));
            options.insert(DhcpOption::Rebinding(LEASE_SECONDS / 8 * 7));
            reply.set_yiaddr(lease.address);
        }
        reply.set_ciaddr(request.ciaddr());
    }
    let mut payload = reply.to_vec().ok()?;
    payload.resize(payload.len().max(MIN_REPLY), 0);
    let (destination, mac) = destination(&request, kind, lease.address, mac);
    Some(Reply { payload, source: server, destination, mac })
}

fn wanted(request: &Message) -> Option<Ipv4Addr> {
    match request.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => Some(request.ciaddr()).filter(|address| !address.is_unspecified()),
    }
}

/// RFC 2131, 4.1: to the address that the guest already has, else to the one that it gets, unless it says that
/// it cannot receive that yet; a refusal goes to everybody.
fn destination(
    request: &Message,
    kind: MessageType,
    lease: Ipv4Addr,
    mac: MacAddress,
) -> (Ipv4Addr, MacAddress) {
    let everybody = (Ipv4Addr::BROADCAST, MacAddress([0xff; 6]));
    if kind == MessageType::Nak {
        everybody
    } else if !request.ciaddr().is_unspecified() {
        (request.ciaddr(), mac)
    } else if request.flags().broadcast() {
        everybody
    } else {
        (lease, mac)
    }
}

fn insert_settings(options: &mut dhcproto::v4::DhcpOptions, leases: &Leases, lease: &Lease) {
    let subnet = &lease.subnet;
    options.insert(DhcpOption::SubnetMask(subnet.cidr.netmask()));
    options.insert(DhcpOption::BroadcastAddr(subnet.cidr.broadcast()));
    options.insert(DhcpOption::InterfaceMtu(leases.mtu));
    if let Some(gateway) = subnet.gateway {
        options.insert(DhcpOption::Router(vec![gateway]));
    }
    if !subnet.dns_servers.is_empty() {
        options.insert(DhcpOption::DomainNameServer(subnet.dns_servers.iter().copied().take(8).collect()));
    }
    if is_label(&lease.hostname) {
        options.insert(DhcpOption::Hostname(lease.hostname.clone()));
    }
    if !leases.domain.is_empty() {
        options.insert(DhcpOption::DomainName(leases.domain.clone()));
    }
    // A client that gets option 121 ignores option 3 (RFC 3442), so the default route stands here again.
    let mut routes = vec![(Ipv4Net::from(METADATA_ADDRESS), subnet.service_address)];
    routes.extend(subnet.gateway.map(|gateway| (Ipv4Net::default(), gateway)));
    routes.extend(subnet.host_routes.iter().map(|(network, hop)| (network.trunc(), *hop)));
    routes.truncate(MAX_ROUTES);
    options.insert(DhcpOption::ClasslessStaticRoute(routes));
}

/// A host name that no client can stumble over (RFC 1123).
fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0xfa, 0x16, 0x3e, 0, 0, 5]);

    fn leases() -> Leases {
        let subnet = SubnetPlan {
            service_address: Ipv4Addr::new(10, 0, 0, 2),
            cidr: "10.0.0.0/24".parse().unwrap(),
            dhcp: true,
            gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            dns_servers: vec![Ipv4Addr::new(9, 9, 9, 9)],
            host_routes: vec![("10.9.0.0/16".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 9))],
        };
        let address = Ipv4Addr::new(10, 0, 0, 5);
        let lease = Lease { address, hostname: "web-1".to_owned(), subnet };
        Leases { by_mac: HashMap::from([(MAC, vec![lease])]), domain: "cloud.internal".to_owned(), mtu: 1442 }
    }

    fn request(kind: MessageType, edit: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        message.set_chaddr(&MAC.0).set_xid(7);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        edit(&mut message);
        message.to_vec().unwrap()
    }

    fn kind_of(reply: &Reply) -> MessageType {
        Message::decode(&mut Decoder::new(&reply.payload)).unwrap().opts().msg_type().unwrap()
    }

    #[test]
    fn a_known_guest_is_offered_its_address_and_all_it_must_know() {
        let reply = answer(&leases(), &request(MessageType::Discover, |_| {})).unwrap();
        assert_eq!((reply.destination, reply.mac), (Ipv4Addr::new(10, 0, 0, 5), MAC));
        let message = Message::decode(&mut Decoder::new(&reply.payload)).unwrap();
        assert_eq!(message.yiaddr(), Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(message.xid(), 7);
        let text = format!("{:?}", message.opts());
        for expected in [
            "InterfaceMtu(1442)",
            "Router([10.0.0.1])",
            "Hostname(\"web-1\")",
            "SubnetMask(255.255.255.0)",
            "169.254.169.254/32",
            "0.0.0.0/0",
            "10.9.0.0/16",
        ] {
            assert!(text.contains(expected), "{expected} is missing in {text}");
        }
    }

    #[test]
    fn a_request_for_the_own_address_is_granted_and_for_another_refused() {
        let ask = |address: [u8; 4]| {
            request(MessageType::Request, |it| {
                it.opts_mut().insert(DhcpOption::RequestedIpAddress(address.into()));
            })
        };
        assert_eq!(kind_of(&answer(&leases(), &ask([10, 0, 0, 5])).unwrap()), MessageType::Ack);
        let refused = answer(&leases(), &ask([10, 0, 0, 6])).unwrap();
        assert_eq!(kind_of(&refused), MessageType::Nak);
        assert_eq!(refused.destination, Ipv4Addr::BROADCAST);
        let renewal = request(MessageType::Request, |it| {
            it.set_ciaddr([10, 0, 0, 5]);
        });
        assert_eq!(kind_of(&answer(&leases(), &renewal).unwrap()), MessageType::Ack);
    }

    #[test]
    fn strangers_relays_other_servers_clients_and_noise_get_no_answer() {
        let silent = |packet: &[u8]| assert!(answer(&leases(), packet).is_none());
        silent(&request(MessageType::Discover, |it| {
            it.set_chaddr(&[2; 6]);
        }));
        silent(&request(MessageType::Discover, |it| {
            it.set_giaddr([10, 0, 0, 9]);
        }));
        silent(&request(MessageType::Request, |it| {
            it.opts_mut().insert(DhcpOption::ServerIdentifier([10, 0, 0, 66].into()));
        }));
        silent(&request(MessageType::Offer, |_| {}));
        silent(&request(MessageType::Discover, |it| {
            it.set_opcode(Opcode::BootReply);
        }));
        silent(&request(MessageType::Release, |_| {}));
        silent(b"noise");
        let good = request(MessageType::Discover, |_| {});
        for cut in 0..good.len() {
            let _ = answer(&leases(), &good[..cut]);
        }
        silent(&[good, vec![0; MAX_PACKET]].concat());
    }

    #[test]
    fn a_host_name_that_is_none_is_left_out() {
        for (text, good) in [("web-1", true), ("", false), ("-a", false), ("a b", false), ("ä", false)] {
            assert_eq!(is_label(text), good, "{text}");
        }
    }
}
