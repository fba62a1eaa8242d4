//! What the operator's own commands make.

use std::net::Ipv4Addr;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Grant;
use hanse_work::wake;
use ipnet::Ipv4Net;

use crate::addresses::{check_gateway, check_pools, default_pools};
use crate::db::{networks as db, subnets};
use crate::model::{NetworkRow, Pool, Standard, SubnetRow};
use crate::networks::standard;
use crate::reconcile::NETWORKS;
use crate::{Network, verbs};

/// The network that leads out of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Whom it belongs to: the admin's project.
    pub project_id: String,
    pub name: String,
    pub cidr: Ipv4Net,
    /// The host's own address in it.
    pub gateway: Ipv4Addr,
    /// First and last address that floating IPs and routers get; without, all but the gateway.
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl Network {
    /// Makes sure that there is an external network of this name with this range, and returns its id.
    ///
    /// # Errors
    /// 400 or 409 if the range does not fit together, or overlaps another one of that network.
    pub async fn seed_external(&self, cx: &Cx, wanted: &External) -> Result<Uuid> {
        check_gateway(wanted.cidr, wanted.gateway)?;
        let gateway = Some(wanted.gateway);
        let pools = match wanted.pool {
            Some((start, end)) => check_pools(wanted.cidr, gateway, vec![Pool { start, end }])?,
            None => default_pools(wanted.cidr, gateway),
        };
        let network = NetworkRow {
            standard: standard(cx, &wanted.project_id, &wanted.name, ""),
            admin_state_up: true,
            shared: false,
            external: true,
            mtu: u32::from(self.config.mtu),
            port_security_enabled: true,
            status: "ACTIVE".to_owned(),
            subnets: Vec::new(),
        };
        let subnet = SubnetRow {
            standard: Standard {
                name: format!("{}-subnet", wanted.name),
                ..standard(cx, &wanted.project_id, "", "")
            },
            network_id: network.standard.id,
            cidr: wanted.cidr,
            gateway_ip: gateway,
            // What stands out there gets its addresses from others.
            enable_dhcp: false,
            allocation_pools: pools,
            dns_nameservers: Vec::new(),
            host_routes: Vec::new(),
        };
        let ids = format!("{},{}", network.standard.id, subnet.standard.id);
        let grant = &Grant::operator(cx, verbs::SEED_EXTERNAL, ids);
        let (network, subnet) = (&network, &subnet);
        self.db
            .write(cx, grant, |tx| {
                Box::pin(async move {
                    let mut subnet = subnet.clone();
                    let id = match db::external_named(tx, &network.standard.name).await? {
                        Some(known) => known.standard.id,
                        None => {
                            db::insert(tx, grant, network).await?;
                            network.standard.id
                        }
                    };
                    subnet.network_id = id;
                    let known = subnets::of_network(tx, id).await?;
                    if !known.iter().any(|known| known.cidr == subnet.cidr) {
                        crate::subnets::insert(tx, cx, grant, &subnet).await?;
                    }
                    wake(tx, cx, NETWORKS, &id.to_string()).await?;
                    Ok(id)
                })
            })
            .await
    }
}
