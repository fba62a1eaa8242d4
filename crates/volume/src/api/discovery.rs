//! What the service says of itself.

use axum::Json;
use axum::extract::State;
use hanse_core::Error;
use hanse_node::desired;
use hanse_web::Reply;
use http::StatusCode;
use serde_json::{Value, json};

use super::here::Here;
use crate::model::ZONE;
use crate::verbs::{LIST_EXTENSIONS, LIST_SERVICES, LIST_ZONES};
use crate::{VERSIONS, Volume};

/// When Cinder's API got its version 3.0.
const UPDATED: &str = "2016-02-08T12:20:21Z";

fn document(volume: &Volume) -> Json<Value> {
    Json(json!({ "versions": [{
        "id": "v3.0", "status": "CURRENT", "updated": UPDATED,
        "version": VERSIONS.max.to_string(), "min_version": VERSIONS.min.to_string(),
        "links": [{ "rel": "self", "href": format!("{}/volume/v3/", volume.public_url) }],
        "media-types": [{
            "base": "application/json", "type": "application/vnd.openstack.volume+json;version=3",
        }],
    }]}))
}

pub(crate) async fn versions(State(volume): State<Volume>) -> (StatusCode, Json<Value>) {
    (StatusCode::MULTIPLE_CHOICES, document(&volume))
}

pub(crate) async fn version(State(volume): State<Volume>) -> Json<Value> {
    document(&volume)
}

pub(crate) async fn zones(State(volume): State<Volume>, Here(call): Here) -> Reply<Json<Value>> {
    call.caller.scope(LIST_ZONES)?;
    let nodes = desired::nodes(&mut volume.db.read().await?).await?;
    let available = nodes.iter().any(|node| node.connected);
    Ok(Json(json!({ "availabilityZoneInfo": [
        { "zoneName": ZONE, "zoneState": { "available": available } },
    ]})))
}

pub(crate) async fn services(State(volume): State<Volume>, Here(call): Here) -> Reply<Json<Value>> {
    call.caller.scope(LIST_SERVICES)?;
    let nodes = desired::nodes(&mut volume.db.read().await?).await?;
    let services: Vec<Value> = nodes
        .iter()
        .map(|node| {
            json!({
                "binary": "cinder-volume", "host": format!("{}@local", node.name), "zone": ZONE,
                "status": "enabled", "state": if node.connected { "up" } else { "down" },
                "updated_at": node.seen_at.iso_naive(), "disabled_reason": null,
            })
        })
        .collect();
    Ok(Json(json!({ "services": services })))
}

/// Those of Cinder's extensions that are served.
const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("os-availability-zone", "AvailabilityZones", "Describe availability zones."),
    ("os-quota-sets", "Quotas", "Quota management support."),
    ("os-services", "Services", "Services support."),
    ("os-vol-host-attr", "VolumeHostAttribute", "Expose host as an attribute of a volume."),
    ("os-vol-tenant-attr", "VolumeTenantAttribute", "Expose the project as an attribute of a volume."),
];

pub(crate) async fn extensions(Here(call): Here) -> Reply<Json<Value>> {
    call.caller.scope(LIST_EXTENSIONS)?;
    let extensions: Vec<Value> = EXTENSIONS
        .iter()
        .map(|(alias, name, description)| {
            json!({
                "alias": alias, "name": name, "description": description,
                "updated": "2011-06-20T00:00:00+00:00", "links": [],
            })
        })
        .collect();
    Ok(Json(json!({ "extensions": extensions })))
}

/// Snapshots, backups, groups and transfers.
pub(crate) async fn absent(Here(_): Here) -> Reply<()> {
    Err(Error::not_implemented("This cloud has no snapshots, backups, groups or transfers of volumes yet.")
        .into())
}
