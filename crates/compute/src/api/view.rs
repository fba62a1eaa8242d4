//! Servers as the API shows them.

use std::collections::BTreeMap;

use hanse_core::{Cx, Microversion, Result, Uuid, hex};
use hanse_web::Call;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{bookmark, links};
use crate::Deps;
use crate::db;
use crate::model::{Attachment, AttachmentState, Server, State, ZONE};
use crate::ports::ServerPort;

/// 2.3 adds admin's attributes and `delete_on_termination`.
const ATTRIBUTES: Microversion = Microversion::new(2, 3);

/// What is shown of servers and lives elsewhere, read for all of them at once.
pub struct Around {
    ports: BTreeMap<Uuid, Vec<ServerPort>>,
    volumes: BTreeMap<Uuid, Vec<Attachment>>,
}

impl Around {
    pub async fn read(deps: &Deps, cx: &Cx, servers: &[Server]) -> Result<Around> {
        let ids: Vec<Uuid> = servers.iter().map(|server| server.id).collect();
        let ports = deps.networks.ports_of(cx, &ids).await?;
        let volumes = db::attachments::list(&mut deps.db.read().await?, &ids).await?;
        Ok(Around { ports, volumes })
    }

    pub fn ports(&self, id: Uuid) -> &[ServerPort] {
        self.ports.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn path(server: &Server) -> String {
    format!("servers/{}", server.id)
}

pub fn brief(deps: &Deps, server: &Server) -> Value {
    json!({"id": server.id, "name": server.name, "links": links(deps, &path(server))})
}

/// What `PUT` shows, and the beginning of what `GET` does.
pub fn base(deps: &Deps, around: &Around, server: &Server) -> Value {
    let mut view = json!({
        "id": server.id,
        "name": server.name,
        "status": server.state.status(),
        "image": {"id": server.image_id, "links": [bookmark(deps, &format!("images/{}", server.image_id))]},
        "flavor": {"id": server.flavor_id, "links": [bookmark(deps, &format!("flavors/{}", server.flavor_id))]},
        "user_id": server.user_id,
        "tenant_id": server.project_id,
        "created": server.created_at.iso_seconds(),
        "updated": server.updated_at.iso_seconds(),
        "metadata": server.metadata,
        "links": links(deps, &path(server)),
        "addresses": plain_addresses(around.ports(server.id)),
        "hostId": host_id(server),
        "OS-DCF:diskConfig": server.disk_config,
        "accessIPv4": server.access_ipv4,
        "accessIPv6": server.access_ipv6,
    });
    match server.state {
        State::Building => view["progress"] = 0.into(),
        State::Error => {
            let message =
                server.state_reason.as_deref().unwrap_or("The operator has marked this server as broken.");
            view["fault"] =
                json!({"code": 500, "created": server.state_since.iso_seconds(), "message": message});
        }
        state if state.status() == "ACTIVE" => view["progress"] = 100.into(),
        _ => {}
    }
    view
}

pub fn full(deps: &Deps, call: &Call, around: &Around, server: &Server) -> Value {
    let mut view = base(deps, around, server);
    let mut put = |name: &str, value: Value| view[name] = value;
    put("addresses", addresses(around.ports(server.id)));
    put("key_name", server.key_name.clone().into());
    put("config_drive", if server.config_drive { "True" } else { "" }.into());
    put("OS-EXT-STS:vm_state", server.state.vm_state().into());
    put("OS-EXT-STS:task_state", server.state.task_state().into());
    put("OS-EXT-STS:power_state", server.state.power_state().into());
    put("OS-EXT-AZ:availability_zone", server.node.as_ref().map_or("", |_| ZONE).into());
    put("OS-SRV-USG:launched_at", server.launched_at.map(hanse_core::Timestamp::iso_naive).into());
    put("OS-SRV-USG:terminated_at", Value::Null);
    let volumes = around.volumes.get(&server.id).map_or(&[][..], Vec::as_slice);
    put("os-extended-volumes:volumes_attached", volumes_attached(volumes, call.version));
    let groups = security_groups(around.ports(server.id));
    if !groups.is_empty() {
        put("security_groups", groups.iter().map(|name| json!({ "name": name })).collect());
    }
    if call.caller.is_admin() {
        put("OS-EXT-SRV-ATTR:host", server.node.clone().into());
        put("OS-EXT-SRV-ATTR:hypervisor_hostname", server.node.clone().into());
        put("OS-EXT-SRV-ATTR:instance_name", format!("instance-{}", server.id).into());
        if call.version >= ATTRIBUTES {
            put("OS-EXT-SRV-ATTR:hostname", server.hostname.clone().into());
            put("OS-EXT-SRV-ATTR:reservation_id", server.reservation_id.clone().into());
            put("OS-EXT-SRV-ATTR:launch_index", server.launch_index.into());
            put("OS-EXT-SRV-ATTR:root_device_name", "/dev/vda".into());
            put("OS-EXT-SRV-ATTR:kernel_id", "".into());
            put("OS-EXT-SRV-ATTR:ramdisk_id", "".into());
            // It is a secret of its user; nobody gets it back.
            put("OS-EXT-SRV-ATTR:user_data", Value::Null);
        }
    }
    view
}

fn volumes_attached(volumes: &[Attachment], version: Microversion) -> Value {
    volumes
        .iter()
        .filter(|volume| matches!(volume.state, AttachmentState::Attached | AttachmentState::Detaching))
        .map(|volume| {
            let mut view = json!({"id": volume.volume_id});
            if version >= ATTRIBUTES {
                view["delete_on_termination"] = false.into();
            }
            view
        })
        .collect()
}

/// By the names of the networks.
pub fn addresses(ports: &[ServerPort]) -> Value {
    let mut networks = Map::new();
    for port in ports {
        for address in &port.addresses {
            let one = json!({
                "version": if address.address.is_ipv4() { 4 } else { 6 },
                "addr": address.address,
                "OS-EXT-IPS:type": if address.floating { "floating" } else { "fixed" },
                "OS-EXT-IPS-MAC:mac_addr": port.mac,
            });
            let list = networks.entry(port.network_name.clone()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(one);
            }
        }
    }
    networks.into()
}

/// The same without the attributes of extensions, as everything but `GET` of a server shows them.
pub fn plain_addresses(ports: &[ServerPort]) -> Value {
    let mut all = addresses(ports);
    for list in all.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        for one in list.as_array_mut().into_iter().flatten() {
            *one = json!({"version": one["version"], "addr": one["addr"]});
        }
    }
    all
}

/// Names, each once.
pub fn security_groups(ports: &[ServerPort]) -> Vec<String> {
    let mut names: Vec<String> = ports.iter().flat_map(|port| port.security_groups.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Tells whether two servers of a project share a node, and nothing else.
fn host_id(server: &Server) -> String {
    let Some(node) = &server.node else { return String::new() };
    let digest = Sha256::digest(format!("{}{node}", server.project_id).as_bytes());
    hex(&digest[..28])
}
