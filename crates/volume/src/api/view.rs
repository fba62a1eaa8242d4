//! Volumes as clients read them at version 3.0.

use hanse_policy::Caller;
use serde_json::{Map, Value, json};

use crate::model::{Attachment, VolumeRow};
use crate::volumes::Shown;
use crate::{Volume, types};

fn links(volume: &Volume, project_id: &str, id: &str) -> Value {
    let url = &volume.public_url;
    json!([
        { "rel": "self", "href": format!("{url}/volume/v3/{project_id}/volumes/{id}") },
        { "rel": "bookmark", "href": format!("{url}/volume/{project_id}/volumes/{id}") },
    ])
}

pub(crate) fn brief(volume: &Volume, row: &VolumeRow) -> Value {
    let id = row.id.to_string();
    json!({ "id": id, "name": row.name, "links": links(volume, &row.project_id, &id) })
}

fn attached(attachment: &Attachment, row: &VolumeRow, caller: &Caller) -> Option<Value> {
    let at = attachment.attached_at?;
    Some(json!({
        "id": attachment.volume_id, "volume_id": attachment.volume_id, "attachment_id": attachment.id,
        "server_id": attachment.server_id, "device": attachment.device, "attached_at": at.iso_naive(),
        "host_name": if caller.is_admin() { row.node.as_deref() } else { None },
    }))
}

/// What the answers to creating and changing a volume say.
pub(crate) fn summary(volume: &Volume, caller: &Caller, shown: &Shown) -> Map<String, Value> {
    let row = &shown.row;
    let attachments: Vec<Value> =
        shown.attachment.iter().filter_map(|attachment| attached(attachment, row, caller)).collect();
    let whole = json!({
        "id": row.id, "name": row.name, "description": row.description, "status": row.state.as_str(),
        "size": row.size, "metadata": row.metadata, "availability_zone": row.availability_zone,
        "bootable": if row.bootable { "true" } else { "false" },
        "created_at": row.created_at.iso_naive(), "updated_at": row.updated_at.map(|at| at.iso_naive()),
        "user_id": row.user_id, "volume_type": types::NAME, "attachments": attachments,
        "links": links(volume, &row.project_id, &row.id.to_string()),
        "encrypted": false, "multiattach": false, "replication_status": null, "migration_status": null,
        "snapshot_id": null, "source_volid": null, "consistencygroup_id": null,
    });
    match whole {
        Value::Object(whole) => whole,
        _ => Map::new(),
    }
}

/// The same with what Cinder's extensions add when a volume is shown.
pub(crate) fn detail(volume: &Volume, caller: &Caller, shown: &Shown) -> Map<String, Value> {
    let mut whole = summary(volume, caller, shown);
    whole.insert("os-vol-tenant-attr:tenant_id".to_owned(), json!(shown.row.project_id));
    if caller.is_admin() {
        let host = shown.row.node.as_deref().map(host);
        whole.insert("os-vol-host-attr:host".to_owned(), json!(host));
        for name in ["os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id"] {
            whole.insert(name.to_owned(), Value::Null);
        }
    }
    whole
}

/// A node as Cinder names backends: `host@backend#pool`.
fn host(node: &str) -> String {
    format!("{node}@local#local")
}
