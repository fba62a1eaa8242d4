//! What a server's node shall make true.

use std::collections::BTreeMap;

use hanse_core::{Result, Secret};
use hanse_node::desired::Sealer;
use hanse_node::documents::{AttachedDisk, Disk, Guest, GuestIdentity, Spec};

use crate::model::{Attachment, AttachmentState, Server, ZONE};
use crate::ports::{Plugged, PortOwner};

pub fn disk(server: &Server) -> Spec {
    Spec::Disk(Disk { size_bytes: server.root_bytes, image: Some(server.image.clone()) })
}

pub fn guest(sealer: &dyn Sealer, server: &Server, plugged: Plugged, volumes: &[Attachment]) -> Result<Spec> {
    let user_data = match &server.user_data {
        Some(sealed) => Some(Secret::new(sealer.open(sealed)?)),
        None => None,
    };
    let root = AttachedDisk { id: server.id, serial: server.id.to_string() };
    let volumes = volumes
        .iter()
        .filter(|volume| matches!(volume.state, AttachmentState::Attaching | AttachmentState::Attached))
        .map(|volume| AttachedDisk { id: volume.volume_id, serial: volume.volume_id.to_string() });
    let key = server.key_name.clone().zip(server.public_key.clone());
    Ok(Spec::Guest(Guest {
        power: server.wanted.power(),
        reboots: server.reboots,
        vcpus: server.vcpus,
        memory_mib: server.memory_mib,
        disks: std::iter::once(root).chain(volumes).collect(),
        nics: plugged.nics,
        identity: GuestIdentity {
            name: server.name.clone(),
            hostname: server.hostname.clone(),
            project_id: server.project_id.clone(),
            availability_zone: ZONE.to_owned(),
            flavor: server.flavor_name.clone(),
            public_keys: key.into_iter().collect::<BTreeMap<_, _>>(),
            metadata: server.metadata.clone(),
            user_data,
            network_data: plugged.network_data,
        },
    }))
}

pub fn port_owner(server: &Server, node: &str) -> PortOwner {
    PortOwner {
        server_id: server.id,
        project_id: server.project_id.clone(),
        hostname: server.hostname.clone(),
        availability_zone: ZONE.to_owned(),
        node: node.to_owned(),
    }
}
