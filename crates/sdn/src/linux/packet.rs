//! Frames that no ordinary socket sends: answers to guests that have no address yet, and gratuitous ARP.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use hanse_core::{Context, Result};
use hanse_node::documents::MacAddress;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// The kernel adds the Ethernet header; the payload's protocol is given with each frame.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const BROADCAST: MacAddress = MacAddress([0xff; 6]);

impl PacketSocket {
    /// A socket in the calling thread's namespace that receives nothing.
    pub fn open() -> Result<PacketSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Packet, SockType::Datagram, flags, None)
            .map(PacketSocket)
            .context("cannot open a packet socket")
    }

    /// Sends an IPv4 datagram to a neighbour whose address need not be known to ARP.
    pub fn send_ipv4(&self, interface: u32, to: MacAddress, packet: &[u8]) -> Result<()> {
        self.send(interface, IPV4, to, packet)
    }

    /// Tells everybody on the link that `address` now is at `mac`.
    pub fn announce(&self, interface: u32, mac: MacAddress, address: Ipv4Addr) -> Result<()> {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
        packet.extend(mac.0);
        packet.extend(address.octets());
        packet.extend([0; 6]);
        packet.extend(address.octets());
        self.send(interface, ARP, BROADCAST, &packet)
    }

    fn send(&self, interface: u32, protocol: u16, to: MacAddress, payload: &[u8]) -> Result<()> {
        // SAFETY: sockaddr_ll is plain data, for which all zeros is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = i32::try_from(interface).unwrap_or_default();
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&to.0);
        let size = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or_default();
        // SAFETY: pointers and lengths are those of `payload` and `address`, which outlive the call.
        let sent = unsafe {
            let address = (&raw const address).cast();
            libc::sendto(self.0.as_raw_fd(), payload.as_ptr().cast(), payload.len(), 0, address, size)
        };
        Errno::result(sent).map(drop).context("cannot send a frame")
    }
}

/// Wraps a payload into UDP and IPv4 headers.
pub fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = |extra: usize| u16::try_from(payload.len() + extra).unwrap_or(u16::MAX).to_be_bytes();
    let mut udp = Vec::with_capacity(payload.len() + 8);
    udp.extend(source.1.to_be_bytes());
    udp.extend(destination.1.to_be_bytes());
    udp.extend(length(8));
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = [source.0.octets(), destination.0.octets()].concat();
    pseudo.extend([0, 17]);
    pseudo.extend(length(8));
    let sum = match checksum(&[&pseudo, &udp]) {
        // Zero would mean "not summed".
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    let mut packet = vec![0x45, 0];
    packet.extend(length(28));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source.0.octets());
    packet.extend(destination.0.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// The Internet checksum (RFC 1071) of the parts, each but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_carries_checksums_that_sum_up_to_nothing() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 5));
        let packet = udp((from, 67), (to, 68), b"odd");
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let pseudo = [10, 0, 0, 2, 10, 0, 0, 5, 0, 17, 0, 11];
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        assert_eq!(packet.len(), 31);
        assert_eq!(packet[2..4], [0, 31]);
    }
}
