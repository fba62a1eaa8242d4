use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Kind};
use hanse_node::desired::Node;
use hanse_web::{Call, Params, Reply};
use serde_json::{Map, Value, json};

use crate::Deps;
use crate::db::allocations::Used;
use crate::model::ZONE;
use crate::nodes;
use crate::placement;
use crate::verbs;

pub async fn zones(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::ZONES_LIST).await?;
    Ok(zone(&all, Value::Null))
}

pub async fn zones_detail(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::ZONES_DETAIL).await?;
    let hosts: Map<String, Value> = all
        .iter()
        .map(|(node, _)| {
            let service =
                json!({"active": true, "available": node.connected, "updated_at": node.seen_at.iso_naive()});
            (node.name.clone(), json!({"nova-compute": service}))
        })
        .collect();
    Ok(zone(&all, hosts.into()))
}

fn zone(nodes: &[(Node, Used)], hosts: Value) -> Json<Value> {
    let available = nodes.iter().any(|(node, _)| node.connected);
    Json(json!({"availabilityZoneInfo": [
        {"zoneName": ZONE, "zoneState": {"available": available}, "hosts": hosts},
    ]}))
}

fn brief(node: &Node) -> Value {
    json!({
        "id": nodes::number(&node.name),
        "hypervisor_hostname": node.name,
        "state": if node.connected { "up" } else { "down" },
        "status": "enabled",
    })
}

fn full(deps: &Deps, node: &Node, used: &Used) -> Value {
    let capacity = placement::capacity(node, &deps.config);
    let mut view = brief(node);
    let mut put = |name: &str, value: Value| view[name] = value;
    put("service", json!({"id": nodes::number(&node.name), "host": node.name, "disabled_reason": null}));
    put("hypervisor_type", "QEMU".into());
    put("hypervisor_version", 0.into());
    // The contract with the agents does not tell it.
    put("host_ip", Value::Null);
    put("cpu_info", json!({"accelerator": node.hello.accelerator}).to_string().into());
    put("vcpus", node.hello.vcpus.into());
    put("vcpus_used", used.vcpus.into());
    put("memory_mb", capacity.memory_mib.into());
    put("memory_mb_used", used.memory_mib.into());
    put("free_ram_mb", capacity.memory_mib.saturating_sub(used.memory_mib).into());
    put("local_gb", capacity.disk_gib.into());
    put("local_gb_used", used.disk_gib.into());
    put("free_disk_gb", capacity.disk_gib.saturating_sub(used.disk_gib).into());
    put("disk_available_least", capacity.disk_gib.saturating_sub(used.disk_gib).into());
    put("running_vms", used.servers.into());
    put("current_workload", 0.into());
    view
}

pub async fn hypervisors(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::HYPERVISORS).await?;
    let views: Vec<Value> = all.iter().map(|(node, _)| brief(node)).collect();
    Ok(Json(json!({ "hypervisors": views })))
}

pub async fn hypervisors_detail(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::HYPERVISORS).await?;
    let views: Vec<Value> = all.iter().map(|(node, used)| full(&deps, node, used)).collect();
    Ok(Json(json!({ "hypervisors": views })))
}

pub async fn hypervisor(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::HYPERVISORS).await?;
    let found = all.iter().find(|(node, _)| nodes::number(&node.name).to_string() == id);
    let missing = || Error::new(Kind::NotFound, format!("Compute host {id} could not be found."));
    let (node, used) = found.ok_or_else(missing)?;
    Ok(Json(json!({"hypervisor": full(&deps, node, used)})))
}

pub async fn statistics(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::HYPERVISORS).await?;
    let mut total = json!({"count": all.len()});
    for name in [
        "vcpus",
        "vcpus_used",
        "memory_mb",
        "memory_mb_used",
        "free_ram_mb",
        "local_gb",
        "local_gb_used",
        "free_disk_gb",
        "disk_available_least",
        "running_vms",
        "current_workload",
    ] {
        let sum: u64 = all.iter().filter_map(|(node, used)| full(&deps, node, used)[name].as_u64()).sum();
        total[name] = sum.into();
    }
    Ok(Json(json!({"hypervisor_statistics": total})))
}

pub async fn services(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    let all = nodes::list(&deps, &call.caller, verbs::SERVICES).await?;
    let wanted = |node: &Node| {
        params.get("host").is_none_or(|host| host == node.name)
            && params.get("binary").is_none_or(|binary| binary == "nova-compute")
    };
    let views: Vec<Value> = all
        .iter()
        .filter(|(node, _)| wanted(node))
        .map(|(node, _)| {
            json!({
                "id": nodes::number(&node.name),
                "binary": "nova-compute",
                "host": node.name,
                "zone": ZONE,
                "status": "enabled",
                "state": if node.connected { "up" } else { "down" },
                "updated_at": node.seen_at.iso_naive(),
                "disabled_reason": null,
            })
        })
        .collect();
    Ok(Json(json!({ "services": views })))
}
