//! Claims addresses, in the transaction that adds or changes a port.

use std::net::{IpAddr, Ipv4Addr};

use hanse_core::{Error, Kind, Result, Uuid};
use hanse_store::Tx;

use crate::addresses::{from_number, is_usable, number};
use crate::db::subnets as db;
use crate::error::{Noun, conflict, invalid, named};
use crate::model::{FixedIp, SubnetRow};

/// The most addresses of one port (Neutron's default).
const MOST: usize = 5;

/// One entry of `fixed_ips` in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedIp {
    pub subnet_id: Option<String>,
    pub ip_address: Option<String>,
}

impl WantedIp {
    pub fn exactly(subnet: Uuid, address: Ipv4Addr) -> WantedIp {
        WantedIp { subnet_id: Some(subnet.to_string()), ip_address: Some(address.to_string()) }
    }
}

pub fn exhausted(network: Uuid) -> Error {
    conflict("IpAddressGenerationFailure", format!("No more IP addresses available on network {network}."))
}

/// The lowest free address of the subnet's pools that is not among `chosen`.
pub async fn from_subnet(
    tx: &mut Tx<'_>,
    subnet: &SubnetRow,
    chosen: &[FixedIp],
) -> Result<Option<Ipv4Addr>> {
    for pool in &subnet.allocation_pools {
        let (mut first, last) = (number(pool.start), number(pool.end));
        while first <= last {
            let Some(free) = db::free_address(tx, subnet.standard.id, first, last).await? else { break };
            if free > last {
                break;
            }
            let address = from_number(free)?;
            if !chosen.iter().any(|other| other.ip_address == address) {
                return Ok(Some(address));
            }
            first = free + 1;
        }
    }
    Ok(None)
}

/// An address for a port that asks for none in particular: of the first subnet that has one. A network without
/// subnets gives none.
pub async fn automatic(tx: &mut Tx<'_>, network: Uuid) -> Result<Vec<FixedIp>> {
    let subnets = db::of_network(tx, network).await?;
    for subnet in &subnets {
        if let Some(ip_address) = from_subnet(tx, subnet, &[]).await? {
            return Ok(vec![FixedIp { subnet_id: subnet.standard.id, ip_address }]);
        }
    }
    if subnets.is_empty() { Ok(Vec::new()) } else { Err(exhausted(network)) }
}

/// The addresses that a request names. Those in `own` are the port's already: they stay if they are asked for again.
pub async fn requested(
    tx: &mut Tx<'_>,
    network: Uuid,
    wanted: &[WantedIp],
    own: &[FixedIp],
) -> Result<Vec<FixedIp>> {
    if wanted.len() > MOST {
        return Err(invalid("Exceeded maximum amount of fixed ips per port."));
    }
    let subnets = db::of_network(tx, network).await?;
    let mut chosen: Vec<FixedIp> = Vec::new();
    // What is named exactly goes first, so that nothing automatic takes it.
    let (exact, any): (Vec<_>, Vec<_>) = wanted.iter().partition(|wish| wish.ip_address.is_some());
    for wish in exact {
        let fixed = exactly(network, &subnets, wish)?;
        let address = fixed.ip_address;
        if chosen.contains(&fixed) {
            return Err(invalid(format!("Duplicate IP address '{address}'.")));
        }
        if !own.contains(&fixed) && db::holder(tx, fixed.subnet_id, address).await?.is_some() {
            return Err(conflict(
                "IpAddressAlreadyAllocated",
                format!("IP address {address} already allocated in subnet {}", fixed.subnet_id),
            ));
        }
        chosen.push(fixed);
    }
    for wish in any {
        let Some(id) = &wish.subnet_id else {
            return Err(invalid("IP allocation requires subnet_id or ip_address."));
        };
        let subnet = find(network, &subnets, id)?;
        let subnet_id = subnet.standard.id;
        let kept = own.iter().find(|fixed| fixed.subnet_id == subnet_id && !chosen.contains(fixed)).cloned();
        let fixed = match kept {
            Some(fixed) => fixed,
            None => {
                let free = from_subnet(tx, subnet, &chosen).await?;
                FixedIp { subnet_id, ip_address: free.ok_or_else(|| exhausted(network))? }
            }
        };
        chosen.push(fixed);
    }
    Ok(chosen)
}

fn find<'s>(network: Uuid, subnets: &'s [SubnetRow], id: &str) -> Result<&'s SubnetRow> {
    let id = Noun::Subnet.id(id)?;
    subnets.iter().find(|subnet| subnet.standard.id == id).ok_or_else(|| {
        named(
            Kind::BadRequest,
            "InvalidInput",
            format!(
                "Failed to create port on network {network}, because fixed_ips included invalid subnet {id}"
            ),
        )
    })
}

fn exactly(network: Uuid, subnets: &[SubnetRow], wish: &WantedIp) -> Result<FixedIp> {
    let text = wish.ip_address.as_deref().unwrap_or_default();
    let address = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) => return Err(outside(network, text)),
        Err(_) => {
            let text: String = text.chars().take(64).collect();
            return Err(invalid(format!(
                "Invalid input for fixed_ips. Reason: '{text}' is not a valid IP address."
            )));
        }
    };
    let subnet = match &wish.subnet_id {
        Some(id) => find(network, subnets, id)?,
        None => subnets
            .iter()
            .find(|subnet| subnet.cidr.contains(&address))
            .ok_or_else(|| outside(network, text))?,
    };
    match is_usable(subnet.cidr, address) {
        true => Ok(FixedIp { subnet_id: subnet.standard.id, ip_address: address }),
        false => Err(named(
            Kind::BadRequest,
            "InvalidIpForSubnet",
            format!("IP address {address} is not a valid IP for the specified subnet."),
        )),
    }
}

fn outside(network: Uuid, address: &str) -> Error {
    let address: String = address.chars().take(64).collect();
    named(
        Kind::BadRequest,
        "InvalidIpForNetwork",
        format!(
            "IP address {address} is not a valid IP for any of the subnets on the specified network {network}."
        ),
    )
}
