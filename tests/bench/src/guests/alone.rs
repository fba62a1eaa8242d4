//! The same disk in the same machine, without a cloud around it: QEMU alone.
//!
//! The machine is taken from the process that the cloud has started, so it cannot be another one: processor,
//! accelerator, memory, devices, config drive. Other is the network, a tap with a DHCP server behind it, and there is no
//! monitor.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_e2e::{Cloud, guests, ok};
use serde_json::Value;
use tempfile::TempDir;

use super::{Answered, answer};
use crate::process::{arguments, cpu};

/// The name of the config drive, in a guest's directory.
const CONFIG_DRIVE: &str = "config-drive.img";

/// What stands on the host's side of the tap, and the address that the guest gets.
const TAP: &str = "tap0";
const HOST: &str = "10.7.0.1/24";
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);

/// The arguments of a guest's QEMU, and what its disks hold.
pub struct Machine {
    arguments: Vec<String>,
    config_drive: Vec<u8>,
    /// The address of its only NIC.
    mac: String,
    /// Size of the root disk in bytes.
    size: u64,
}

impl Machine {
    /// The machine that this guest of the cloud has.
    pub fn like(cloud: &Cloud, pid: u32) -> Result<Machine> {
        let arguments = arguments(pid)?;
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).context("where does QEMU work?")?;
        let config_drive = std::fs::read(directory.join(CONFIG_DRIVE)).context("there is no config drive")?;
        let disk =
            arguments.iter().find_map(|argument| disk_of(argument)).context("the guest has no disk")?;
        if !disk.starts_with(cloud.state()) {
            bail!("{} is not a disk of this cloud", disk.display());
        }
        let info: Value = serde_json::from_str(&ok(Command::new("qemu-img")
            .args(["info", "--force-share", "--output=json"])
            .arg(&disk)))?;
        let size = info["virtual-size"].as_u64().context("the disk has no size")?;
        let mac = arguments.iter().find_map(|argument| mac_of(argument)).context("the guest has no NIC")?;
        Ok(Machine { arguments, config_drive, mac, size })
    }

    /// Boots it with a new disk over the guest image, until it answers ssh. Returns the processor time as well that QEMU
    /// needed until then.
    pub async fn boot(&self, key: &TempDir) -> Result<(Answered, Duration)> {
        let place = super::cloud(key)?;
        let (disk, image) = (place.file("disk.qcow2"), guests::image().canonicalize()?);
        std::fs::write(place.file(CONFIG_DRIVE), &self.config_drive)?;
        ok(Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(&image)
            .arg(&disk)
            .arg(self.size.to_string()));
        let mut words = alone(&self.arguments, &disk, &image)?.into_iter();
        let mut command = place.inside(words.next().context("no arguments")?);
        let _dhcp = network(&place, &self.mac)?;
        let said = place.file("qemu.out");
        command.args(words).current_dir(place.file("")).stdout(Stdio::null()).stderr(File::create(&said)?);
        crate::client::enter(&place.namespace())?;
        let start = Instant::now();
        let qemu = Running(command.spawn().context("cannot run QEMU")?);
        let answered = answer::wait(&place, GUEST, start).await;
        let said = || format!("QEMU alone: {}", std::fs::read_to_string(&said).unwrap_or_default());
        Ok((answered.with_context(said)?, cpu(qemu.0.id())?))
    }
}

/// The tap, which goes with its namespace, and who gives the guest its address.
fn network(place: &Cloud, mac: &str) -> Result<Running> {
    for arguments in [
        &["tuntap", "add", "dev", TAP, "mode", "tap"][..],
        &["address", "add", HOST, "dev", TAP],
        &["link", "set", TAP, "up"],
    ] {
        ok(place.inside("ip").args(arguments));
    }
    let (config, leases) = (place.file("udhcpd.conf"), place.file("leases"));
    let lines = [
        format!("interface {TAP}"),
        format!("start {GUEST}"),
        format!("end {GUEST}"),
        // For a lease that is not given, two seconds are spent on looking for another owner of the address.
        format!("static_lease {mac} {GUEST}"),
        "option subnet 255.255.255.0".to_owned(),
        "option lease 86400".to_owned(),
        format!("lease_file {}", leases.display()),
        format!("pidfile {}", place.file("udhcpd.pid").display()),
    ];
    std::fs::write(&config, lines.join("\n"))?;
    std::fs::write(&leases, "")?;
    let mut command = place.inside("busybox");
    command.args(["udhcpd", "-f"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running(command.spawn().context("cannot run udhcpd")?))
}

/// A process that is gone when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The root disk in an argument, if it describes one.
fn disk_of(argument: &str) -> Option<PathBuf> {
    let node: Value = serde_json::from_str(argument).ok()?;
    node["backing"].as_object()?;
    node["file"]["filename"].as_str().map(PathBuf::from)
}

/// The address of the NIC in an argument, if it describes one.
fn mac_of(argument: &str) -> Option<String> {
    serde_json::from_str::<Value>(argument).ok()?["mac"].as_str().map(str::to_owned)
}

/// The arguments without the monitor, with another tap, and with other files behind the root disk.
fn alone(arguments: &[String], disk: &Path, image: &Path) -> Result<Vec<String>> {
    let mut alone = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let next = words.as_slice().first().map_or("", String::as_str);
        if word == "-mon" || (word == "-chardev" && next.starts_with("socket,")) {
            words.next();
        } else if let Some(tap) = word.strip_prefix("tap,") {
            let id = tap.split(',').find(|field| field.starts_with("id=")).context("a NIC without an id")?;
            alone.push(format!("tap,{id},ifname={TAP},script=no,downscript=no,vhost=off"));
        } else if disk_of(word).is_some() {
            let mut node: Value = serde_json::from_str(word)?;
            node["file"]["filename"] = disk.display().to_string().into();
            node["backing"]["file"]["filename"] = image.display().to_string().into();
            alone.push(node.to_string());
        } else {
            alone.push(word.clone());
        }
    }
    Ok(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_its_cloud_has_another_disk_and_network_and_no_monitor() {
        let cloud = [
            "qemu",
            "-m",
            "128M",
            "-chardev",
            "socket,id=monitor,fd=9,server=on,wait=off",
            "-mon",
            "chardev=monitor,mode=control",
            "-chardev",
            "ringbuf,id=console",
            "-blockdev",
            r#"{"backing":{"driver":"qcow2","file":{"filename":"/cloud/image"}},"file":{"filename":"/cloud/disk"}}"#,
            "-netdev",
            "tap,id=net-1,fd=11,vhost=off",
        ];
        let cloud = cloud.map(str::to_owned);
        assert_eq!(disk_of(&cloud[10]), Some(PathBuf::from("/cloud/disk")));
        let alone = alone(&cloud, Path::new("/new"), Path::new("/image")).unwrap();
        let expected = [
            "qemu",
            "-m",
            "128M",
            "-chardev",
            "ringbuf,id=console",
            "-blockdev",
            r#"{"backing":{"driver":"qcow2","file":{"filename":"/image"}},"file":{"filename":"/new"}}"#,
            "-netdev",
            "tap,id=net-1,ifname=tap0,script=no,downscript=no,vhost=off",
        ];
        assert_eq!(alone, expected);
    }
}
