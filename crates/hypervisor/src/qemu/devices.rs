//! Disks and NICs: how they are described to QEMU, and how they come and go while the guest runs.
//!
//! The names of devices are made of the ids of what they are, so the process itself always knows what is plugged
//! into it and no second list can disagree. Every disk and NIC has a PCI Express port to itself.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use hanse_core::{Context, CrashPoints, Error, Result, Uuid};
use hanse_node::documents::{DiskFormat, Nic};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::DiskPath;
use crate::qmp::{Failure, Qmp};

/// Ports that are free when a guest starts, for what is plugged in later.
pub const SPARE_PORTS: usize = 8;

pub fn disk_device(disk: Uuid) -> String {
    format!("disk-{disk}")
}

pub fn nic_device(port: Uuid) -> String {
    format!("nic-{port}")
}

pub fn netdev(port: Uuid) -> String {
    format!("net-{port}")
}

/// The block node of a disk. A node's name has at most 31 characters, so it holds 30 of the id's 32 digits.
fn node(disk: Uuid) -> String {
    format!("b{}", &disk.simple().to_string()[..30])
}

pub fn port(index: usize) -> String {
    format!("port{index}")
}

/// For `-blockdev` and `blockdev-add`.
pub fn disk_node(disk: &DiskPath) -> Value {
    // The guest's disk shall not fill the host's page cache, where the filesystem lets us say so.
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk.path).is_ok();
    let cache = json!({ "direct": direct, "no-flush": false });
    let mut node = json!({
        "driver": disk.format.as_str(),
        "node-name": node(disk.id),
        "discard": "unmap",
        "cache": cache,
        "file": { "driver": "file", "filename": disk.path, "discard": "unmap", "cache": cache },
    });
    if disk.format == DiskFormat::Qcow2 {
        node["backing"] = disk.backing.as_ref().map_or(Value::Null, |backing| {
            // The host's cache serves all guests that share an image.
            json!({
                "driver": backing.format.as_str(),
                "read-only": true,
                "file": { "driver": "file", "filename": backing.path, "read-only": true },
            })
        });
        if disk.backing.as_ref().is_some_and(|backing| backing.format == DiskFormat::Qcow2) {
            node["backing"]["backing"] = Value::Null;
        }
    }
    node
}

/// For `-device` and `device_add`.
pub fn disk_frontend(disk: &DiskPath, bus: &str, boot: Option<usize>) -> Value {
    let mut device = json!({
        "driver": "virtio-blk-pci",
        "id": disk_device(disk.id),
        "bus": bus,
        "drive": node(disk.id),
        // The device's field has 20 bytes.
        "serial": disk.serial.chars().take(20).collect::<String>(),
    });
    if let Some(index) = boot {
        device["bootindex"] = json!(index);
    }
    device
}

/// For `-device` and `device_add`.
pub fn nic_frontend(nic: &Nic, bus: &str) -> Value {
    json!({
        "driver": "virtio-net-pci",
        "id": nic_device(nic.port_id),
        "bus": bus,
        "netdev": netdev(nic.port_id),
        "mac": nic.mac,
        "host_mtu": nic.mtu,
        // No network boot.
        "romfile": "",
    })
}

/// For `-netdev`, with a descriptor of the tap that the process inherits.
pub fn nic_backend(port: Uuid, fd: i32) -> String {
    format!("tap,id={},fd={fd},vhost=off", netdev(port))
}

/// What is plugged in: disks and the ports of NICs.
pub async fn attached(qmp: &Qmp) -> Result<(Vec<Uuid>, Vec<Uuid>)> {
    let devices = devices(qmp).await?;
    let ids = |prefix: &str| {
        devices.iter().filter_map(|device| device.strip_prefix(prefix)?.parse().ok()).collect()
    };
    Ok((ids("disk-"), ids("nic-")))
}

pub async fn attach_disk(qmp: &Qmp, disk: &DiskPath, crash: &CrashPoints) -> Result<()> {
    let devices = devices(qmp).await?;
    if devices.contains(&disk_device(disk.id)) {
        return Ok(());
    }
    let port = free_port(qmp, &devices).await?;
    // A node without a device is what a crash has left; it may be of another path.
    if let Err(Failure::Broken(error)) = delete_node(qmp, disk.id).await {
        return Err(error);
    }
    qmp.execute("blockdev-add", disk_node(disk)).await?;
    crash.pass("hypervisor.disk_opened")?;
    let added = qmp.execute("device_add", disk_frontend(disk, &port, None)).await;
    if let Err(failure) = added {
        // The reason is what counts, not whether we could clean up: the next attempt does.
        let _ = delete_node(qmp, disk.id).await;
        return Err(failure.into());
    }
    crash.pass("hypervisor.disk_attached")?;
    Ok(())
}

pub async fn resize_disk(qmp: &Qmp, disk: Uuid, size_bytes: u64) -> Result<()> {
    if !devices(qmp).await?.contains(&disk_device(disk)) {
        return Ok(());
    }
    let arguments = json!({ "node-name": node(disk), "size": size_bytes });
    qmp.execute("block_resize", arguments).await?;
    Ok(())
}

/// False if the guest has not released it within the limit.
pub async fn detach_disk(qmp: &Qmp, disk: Uuid, limit: Duration, crash: &CrashPoints) -> Result<bool> {
    if !unplug(qmp, &disk_device(disk), limit).await? {
        return Ok(false);
    }
    crash.pass("hypervisor.disk_unplugged")?;
    // The device is gone a moment before its last request is.
    let until = Instant::now() + limit;
    while has_node(qmp, disk).await? {
        match delete_node(qmp, disk).await {
            Err(failure) if Instant::now() >= until => return Err(failure.into()),
            Err(Failure::Broken(error)) => return Err(error),
            Err(Failure::Refused { .. }) => tokio::time::sleep(POLL).await,
            Ok(_) => {}
        }
    }
    crash.pass("hypervisor.disk_closed")?;
    Ok(true)
}

/// `open` is called only if the NIC is not there yet.
pub async fn attach_nic(
    qmp: &Qmp,
    nic: &Nic,
    open: impl FnOnce() -> Result<std::os::fd::OwnedFd>,
    crash: &CrashPoints,
) -> Result<()> {
    let devices = devices(qmp).await?;
    if devices.contains(&nic_device(nic.port_id)) {
        return Ok(());
    }
    let port = free_port(qmp, &devices).await?;
    remove_netdev(qmp, nic.port_id).await?;
    let tap = open()?;
    let name = netdev(nic.port_id);
    qmp.execute_with("getfd", json!({ "fdname": name }), Some(tap.as_fd())).await?;
    let backend = json!({ "type": "tap", "id": name, "fd": name, "vhost": false });
    qmp.execute("netdev_add", backend).await?;
    crash.pass("hypervisor.tap_opened")?;
    if let Err(failure) = qmp.execute("device_add", nic_frontend(nic, &port)).await {
        // As with a disk: the reason counts.
        let _ = remove_netdev(qmp, nic.port_id).await;
        return Err(failure.into());
    }
    crash.pass("hypervisor.nic_attached")?;
    Ok(())
}

/// False if the guest has not released it within the limit.
pub async fn detach_nic(qmp: &Qmp, port: Uuid, limit: Duration, crash: &CrashPoints) -> Result<bool> {
    if !unplug(qmp, &nic_device(port), limit).await? {
        return Ok(false);
    }
    crash.pass("hypervisor.nic_unplugged")?;
    remove_netdev(qmp, port).await?;
    crash.pass("hypervisor.tap_closed")?;
    Ok(true)
}

const POLL: Duration = Duration::from_millis(100);

/// Asks the guest to release a device and waits until it is gone.
async fn unplug(qmp: &Qmp, device: &str, limit: Duration) -> Result<bool> {
    let until = Instant::now() + limit;
    if !devices(qmp).await?.contains(device) {
        return Ok(true);
    }
    match qmp.execute("device_del", json!({ "id": device })).await {
        Ok(_) => {}
        Err(failure) if failure.is_not_found() => {}
        // An earlier request still stands.
        Err(Failure::Refused { description, .. }) if description.contains("in the process of unplug") => {}
        Err(failure) => return Err(failure.into()),
    }
    // The list is asked again instead of waiting for DEVICE_DELETED: it is right also if the event came before.
    while devices(qmp).await?.contains(device) {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

/// The names of all devices that have one.
async fn devices(qmp: &Qmp) -> Result<BTreeSet<String>> {
    let answer = qmp.execute("qom-list", json!({ "path": "/machine/peripheral" })).await?;
    let entries = answer.as_array().ok_or_else(|| Error::internal("QEMU does not list its devices"))?;
    Ok(entries
        .iter()
        .filter(|entry| entry["type"].as_str().is_some_and(|kind| kind.starts_with("child<")))
        .filter_map(|entry| Some(entry["name"].as_str()?.to_owned()))
        .collect())
}

/// The first port with nothing in it.
async fn free_port(qmp: &Qmp, devices: &BTreeSet<String>) -> Result<String> {
    let mut used = BTreeSet::new();
    for device in devices.iter().filter(|device| !device.starts_with("port")) {
        let arguments = json!({ "path": format!("/machine/peripheral/{device}"), "property": "parent_bus" });
        match qmp.execute("qom-get", arguments).await {
            // …/port3/port3: the port and the bus behind it.
            Ok(bus) => used.extend(bus.as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned)),
            // It went while we asked.
            Err(Failure::Refused { .. }) => {}
            Err(Failure::Broken(error)) => return Err(error),
        }
    }
    let mut ports: Vec<usize> =
        devices.iter().filter_map(|device| device.strip_prefix("port")?.parse().ok()).collect();
    ports.sort_unstable();
    ports.into_iter().map(port).find(|port| !used.contains(port)).ok_or_else(|| {
        Error::conflict("the guest has no free slot for another device; a stop and a start gives it new ones")
    })
}

async fn has_node(qmp: &Qmp, disk: Uuid) -> Result<bool> {
    let nodes = qmp.execute("query-named-block-nodes", json!({ "flat": true })).await?;
    let nodes = nodes.as_array().ok_or_else(|| Error::internal("QEMU does not list its block nodes"))?;
    let name = node(disk);
    Ok(nodes.iter().any(|node| node["node-name"] == name.as_str()))
}

async fn delete_node(qmp: &Qmp, disk: Uuid) -> Result<Value, Failure> {
    qmp.execute("blockdev-del", json!({ "node-name": node(disk) })).await
}

/// Removes the back end of a NIC; one that is not there is removed already.
async fn remove_netdev(qmp: &Qmp, port: Uuid) -> Result<()> {
    match qmp.execute("netdev_del", json!({ "id": netdev(port) })).await {
        Err(Failure::Broken(error)) => Err(error),
        Err(failure) if !failure.is_not_found() => Err(failure.into()),
        _ => Ok(()),
    }
}

/// Gives a disk to QEMU's user. A missing one is left for QEMU to name.
pub fn own_disk(disk: &DiskPath, owner: Option<crate::Owner>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    match std::os::unix::fs::chown(&disk.path, Some(owner.uid), Some(owner.gid)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("cannot give {} to QEMU's user", disk.path.display()))
        }
        _ => Ok(()),
    }
}
