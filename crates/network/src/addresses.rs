//! Arithmetic of addresses: what a subnet may look like. Pure.

use std::net::{IpAddr, Ipv4Addr};

use hanse_core::{Error, Kind, Result};
use ipnet::{IpNet, Ipv4Net};

use crate::error::{conflict, invalid, named};
use crate::model::{HostRoute, Pool};

/// The most name servers and host routes of one subnet (Neutron's defaults).
const MOST_NAME_SERVERS: usize = 5;
const MOST_HOST_ROUTES: usize = 20;

/// The most allocation pools of one subnet.
const MOST_POOLS: usize = 100;

pub fn number(address: Ipv4Addr) -> i64 {
    i64::from(u32::from(address))
}

pub fn from_number(number: i64) -> Result<Ipv4Addr> {
    u32::try_from(number)
        .map(Ipv4Addr::from)
        .map_err(|_| Error::internal(format!("{number} is no IPv4 address")))
}

/// Reads the range of a subnet, which must be written without host bits.
///
/// # Errors
/// 400 if it is none, 501 for IPv6.
pub fn parse_cidr(text: &str) -> Result<Ipv4Net> {
    let cidr = match text.parse::<IpNet>() {
        Ok(IpNet::V4(cidr)) => cidr,
        Ok(IpNet::V6(_)) => return Err(no_ipv6()),
        Err(_) => {
            return Err(invalid(format!(
                "Invalid input for cidr. Reason: '{}' is not a valid IP subnet.",
                text.chars().take(64).collect::<String>()
            )));
        }
    };
    if cidr.trunc() != cidr {
        let right = cidr.trunc();
        return Err(invalid(format!(
            "Invalid input for cidr. Reason: '{cidr}' isn't a recognized IP subnet cidr, '{right}' is recommended."
        )));
    }
    let first = cidr.network();
    if first.is_loopback() || first.is_multicast() || first.is_link_local() || first.octets()[0] == 0 {
        return Err(invalid(format!(
            "Invalid input for cidr. Reason: {cidr} is reserved and cannot be a subnet."
        )));
    }
    if cidr.prefix_len() > 30 || cidr.prefix_len() < 8 {
        return Err(invalid(format!(
            "Invalid input for cidr. Reason: the prefix length of {cidr} must be between 8 and 30."
        )));
    }
    Ok(cidr)
}

pub fn no_ipv6() -> Error {
    named(Kind::NotImplemented, "HTTPNotImplemented", "IPv6 subnets are not supported yet.")
}

/// Whether a port can have this address: one of the subnet that is neither its network nor its broadcast address.
pub fn is_usable(cidr: Ipv4Net, address: Ipv4Addr) -> bool {
    cidr.contains(&address) && address != cidr.network() && address != cidr.broadcast()
}

/// # Errors
/// 400 if the gateway is no usable address of the subnet.
pub fn check_gateway(cidr: Ipv4Net, gateway: Ipv4Addr) -> Result<()> {
    match is_usable(cidr, gateway) {
        true => Ok(()),
        false => Err(invalid(format!("Gateway {gateway} is not a valid address of the subnet {cidr}."))),
    }
}

/// Everything but the gateway.
pub fn default_pools(cidr: Ipv4Net, gateway: Option<Ipv4Addr>) -> Vec<Pool> {
    let (first, last) = (u32::from(cidr.network()) + 1, u32::from(cidr.broadcast()) - 1);
    let pool = |start: u32, end: u32| Pool { start: start.into(), end: end.into() };
    let pools = match gateway.map(u32::from) {
        Some(gateway) => vec![pool(first, gateway - 1), pool(gateway + 1, last)],
        None => vec![pool(first, last)],
    };
    pools.into_iter().filter(|pool| pool.start <= pool.end).collect()
}

/// Checks pools that a client chose, and orders them.
///
/// # Errors
/// 400 for a pool outside of the subnet, 409 for pools that overlap or hold the gateway.
pub fn check_pools(cidr: Ipv4Net, gateway: Option<Ipv4Addr>, mut pools: Vec<Pool>) -> Result<Vec<Pool>> {
    if pools.len() > MOST_POOLS {
        return Err(invalid(format!("A subnet has at most {MOST_POOLS} allocation pools.")));
    }
    pools.sort_by_key(|pool| pool.start);
    for pool in &pools {
        let (start, end) = (pool.start, pool.end);
        if start > end {
            return Err(named(
                Kind::BadRequest,
                "InvalidAllocationPool",
                format!("The allocation pool {start}-{end} is not valid."),
            ));
        }
        if !is_usable(cidr, start) || !is_usable(cidr, end) {
            return Err(named(
                Kind::BadRequest,
                "OutOfBoundsAllocationPool",
                format!("The allocation pool {start}-{end} spans beyond the subnet cidr {cidr}."),
            ));
        }
        if let Some(gateway) = gateway.filter(|gateway| (start..=end).contains(gateway)) {
            return Err(conflict(
                "GatewayConflictWithAllocationPools",
                format!("Gateway ip {gateway} conflicts with allocation pool {start}-{end}."),
            ));
        }
    }
    for pair in pools.windows(2) {
        if let [a, b] = pair
            && b.start <= a.end
        {
            return Err(conflict(
                "OverlappingAllocationPools",
                format!(
                    "Found overlapping allocation pools: {}-{}, {}-{} for subnet {cidr}.",
                    a.start, a.end, b.start, b.end
                ),
            ));
        }
    }
    Ok(pools)
}

/// # Errors
/// 400 for too many, or one that is no IPv4 address.
pub fn check_name_servers(servers: &[IpAddr]) -> Result<Vec<Ipv4Addr>> {
    if servers.len() > MOST_NAME_SERVERS {
        return Err(named(
            Kind::BadRequest,
            "DNSNameServersExhausted",
            format!(
                "Unable to complete operation: the number of DNS nameservers exceeds the limit {MOST_NAME_SERVERS}."
            ),
        ));
    }
    let mut all = Vec::new();
    for server in servers {
        match server {
            IpAddr::V4(server) if all.contains(server) => {
                return Err(invalid(format!("The DNS nameserver {server} is listed twice.")));
            }
            IpAddr::V4(server) => all.push(*server),
            IpAddr::V6(server) => {
                return Err(invalid(format!(
                    "The DNS nameserver {server} cannot be reached from an IPv4 subnet."
                )));
            }
        }
    }
    Ok(all)
}

/// # Errors
/// 400 for too many, for one that is no IPv4 route or stands there twice.
pub fn check_routes(routes: Vec<HostRoute>) -> Result<Vec<HostRoute>> {
    if routes.len() > MOST_HOST_ROUTES {
        return Err(named(
            Kind::BadRequest,
            "HostRoutesExhausted",
            format!(
                "Unable to complete operation: the number of routes exceeds the limit {MOST_HOST_ROUTES}."
            ),
        ));
    }
    for (place, route) in routes.iter().enumerate() {
        if matches!(route.destination, IpNet::V6(_)) {
            return Err(no_ipv6());
        }
        if route.destination.trunc() != route.destination {
            return Err(invalid(format!("The destination {} has host bits set.", route.destination)));
        }
        if routes.iter().take(place).any(|other| other.destination == route.destination) {
            return Err(invalid(format!("There are two routes to {}.", route.destination)));
        }
    }
    Ok(routes)
}

pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Reads an address, or a network, of an `allowed_address_pairs` entry or a rule; without a prefix length it is one
/// address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(start: &str, end: &str) -> Pool {
        Pool { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    #[test]
    fn a_subnet_is_read_strictly() {
        assert_eq!(parse_cidr("10.0.0.0/24").unwrap().to_string(), "10.0.0.0/24");
        for wrong in [
            "10.0.0.1/24",
            "10.0.0.0",
            "10.0.0.0/33",
            "127.0.0.0/8",
            "224.0.0.0/8",
            "0.0.0.0/0",
            "10.0.0.0/31",
            "x",
        ] {
            assert_eq!(parse_cidr(wrong).unwrap_err().kind(), Kind::BadRequest, "{wrong}");
        }
        assert_eq!(parse_cidr("2001:db8::/64").unwrap_err().kind(), Kind::NotImplemented);
    }

    #[test]
    fn the_default_pools_leave_out_the_gateway() {
        let cidr = "10.0.0.0/24".parse().unwrap();
        let pools = |gateway: Option<&str>| default_pools(cidr, gateway.map(|text| text.parse().unwrap()));
        assert_eq!(pools(Some("10.0.0.1")), [pool("10.0.0.2", "10.0.0.254")]);
        assert_eq!(pools(Some("10.0.0.254")), [pool("10.0.0.1", "10.0.0.253")]);
        assert_eq!(pools(Some("10.0.0.9")), [pool("10.0.0.1", "10.0.0.8"), pool("10.0.0.10", "10.0.0.254")]);
        assert_eq!(pools(None), [pool("10.0.0.1", "10.0.0.254")]);
    }

    #[test]
    fn pools_are_inside_apart_and_without_the_gateway() {
        let cidr = "10.0.0.0/24".parse().unwrap();
        let gateway = Some("10.0.0.1".parse().unwrap());
        let check = |pools: &[Pool]| check_pools(cidr, gateway, pools.to_vec());
        let good = [pool("10.0.0.20", "10.0.0.30"), pool("10.0.0.2", "10.0.0.2")];
        assert_eq!(check(&good).unwrap()[0], good[1], "in order");
        for (wrong, kind) in [
            (vec![pool("10.0.0.30", "10.0.0.20")], Kind::BadRequest),
            (vec![pool("10.0.0.0", "10.0.0.20")], Kind::BadRequest),
            (vec![pool("10.0.0.2", "10.0.0.255")], Kind::BadRequest),
            (vec![pool("10.0.1.2", "10.0.1.3")], Kind::BadRequest),
            (vec![pool("10.0.0.1", "10.0.0.20")], Kind::Conflict),
            (vec![pool("10.0.0.2", "10.0.0.20"), pool("10.0.0.20", "10.0.0.30")], Kind::Conflict),
        ] {
            assert_eq!(check(&wrong).unwrap_err().kind(), kind, "{wrong:?}");
        }
    }
}
