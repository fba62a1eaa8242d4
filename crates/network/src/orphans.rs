//! What projects own here, and how it goes when a project is no more.

use hanse_core::{Cx, Error, Result};
use hanse_policy::Caller;
use hanse_store::{Owned, OwnedTable};

use crate::db::ports as port_rows;
use crate::model::owner;
use crate::routers::Change;
use crate::routers::interfaces::{self, Which};
use crate::{Network, floating_ips, networks, ports, routers, security_groups, subnets};

const fn of_project(kind: &'static str, table: &'static str) -> OwnedTable {
    OwnedTable { kind, table, id: "id", name: "name", owner: "project_id", only: "1 = 1" }
}

/// In the order in which they can go: each holds on to what stands behind it. The ports of routers, floating IPs and DHCP
/// go with what they are part of.
pub const OWNED: &[OwnedTable] = &[
    OwnedTable { only: "device_owner NOT LIKE 'network:%'", ..of_project("port", "ports") },
    OwnedTable { name: "floating_ip_address", ..of_project("floating IP", "floating_ips") },
    of_project("router", "routers"),
    of_project("subnet", "subnets"),
    of_project("network", "networks"),
    of_project("security group", "security_groups"),
];

impl Network {
    /// Deletes it as its project would have.
    ///
    /// # Errors
    /// As its API: 409 while something that is not the project's needs it; 404 if it has gone.
    pub async fn delete_owned(&self, cx: &Cx, caller: &Caller, owned: &Owned) -> Result<()> {
        let id = owned.id.as_str();
        match owned.kind {
            "port" => ports::delete(self, cx, caller, id).await,
            "floating IP" => floating_ips::delete(self, cx, caller, id).await,
            "router" => self.delete_router(cx, caller, id).await,
            "subnet" => subnets::delete(self, cx, caller, id).await,
            "network" => networks::delete(self, cx, caller, id).await,
            "security group" => security_groups::delete(self, cx, caller, id).await,
            other => Err(Error::internal(format!("nobody owns a {other}"))),
        }
    }

    /// With its routes and interfaces.
    async fn delete_router(&self, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
        let change = Change { routes: Some(Vec::new()), ..Change::default() };
        routers::update(self, cx, caller, id, &change).await?;
        let plugged = port_rows::of_device(&mut self.db.read().await?, id, owner::INTERFACE).await?;
        for port in plugged {
            let which = Which { port_id: Some(port.standard.id.to_string()), subnet_id: None };
            interfaces::remove(self, cx, caller, id, &which).await?;
        }
        routers::delete(self, cx, caller, id).await
    }
}
