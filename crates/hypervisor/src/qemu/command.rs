//! The arguments that a guest's QEMU is started with.

use std::ffi::OsString;
use std::os::fd::RawFd;

use hanse_core::Uuid;
use hanse_node::documents::Guest;

use super::console;
use super::devices::{self, SPARE_PORTS};
use super::directory::CONFIG_DRIVE;
use crate::{Accelerator, DiskPath};

/// Nothing that QEMU does for a guest needs these; they are refused from its first instruction on.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// How much translated code TCG keeps, in MiB.
const TRANSLATION_BUFFER: u32 = 64;

/// On the root bus of `q35`: the config drive's controller, then the random number generator, then the ports.
const FIRST_PORT_SLOT: usize = 4;

pub struct Start<'a> {
    pub id: Uuid,
    pub guest: &'a Guest,
    pub disks: &'a [DiskPath],
    /// A tap for each NIC of the guest, in their order.
    pub taps: &'a [RawFd],
    /// The listening monitor socket.
    pub monitor: RawFd,
    pub machine: &'a str,
    pub accelerator: Accelerator,
}

pub fn arguments(start: &Start<'_>) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: &str| {
        arguments.push(OsString::from(option));
        if !value.is_empty() {
            arguments.push(OsString::from(value));
        }
    };
    for (option, value) in base(start.machine, start.accelerator) {
        add(option, &value);
    }
    add("-uuid", &start.id.to_string());
    add("-name", &format!("guest={},debug-threads=off", start.id));
    add("-smp", &start.guest.vcpus.to_string());
    add("-m", &format!("{}M", start.guest.memory_mib));
    add("-rtc", "base=utc,driftfix=slew");
    add("-boot", "strict=on");
    add("-msg", "timestamp=on");
    // A guest that powers itself off stays for us to see, also if we are down at that moment.
    add("-no-shutdown", "");
    add("-chardev", &format!("socket,id=monitor,fd={},server=on,wait=off", start.monitor));
    add("-mon", "chardev=monitor,mode=control");
    add("-chardev", &format!("ringbuf,id={},size={}", console::CHARDEV, console::RING));
    add("-serial", &format!("chardev:{}", console::CHARDEV));

    // A CD-ROM, so that it takes no name (vdb, vdc, …) away from the disks.
    add("-device", "virtio-scsi-pci,id=scsi,bus=pcie.0,addr=0x2");
    add(
        "-blockdev",
        &format!("driver=raw,node-name=config,read-only=on,file.driver=file,file.filename={CONFIG_DRIVE}"),
    );
    add("-device", "scsi-cd,id=config-drive,bus=scsi.0,drive=config");
    add("-device", "virtio-rng-pci,bus=pcie.0,addr=0x3");

    let ports = start.disks.len() + start.guest.nics.len() + SPARE_PORTS;
    for index in 0..ports {
        let (slot, function) = (FIRST_PORT_SLOT + index / 8, index % 8);
        let multifunction = if function == 0 { ",multifunction=on" } else { "" };
        let name = devices::port(index);
        let number = index + 1;
        add(
            "-device",
            &format!(
                "pcie-root-port,id={name},bus=pcie.0,addr={slot:#x}.{function},chassis={number},slot={number}{multifunction}"
            ),
        );
    }
    for (index, disk) in start.disks.iter().enumerate() {
        // The first disk is the root disk, and nothing else is booted from.
        let boot = (index == 0).then_some(1);
        add("-blockdev", &devices::disk_node(disk).to_string());
        add("-device", &devices::disk_frontend(disk, &devices::port(index), boot).to_string());
    }
    for (index, (nic, tap)) in start.guest.nics.iter().zip(start.taps).enumerate() {
        let port = devices::port(start.disks.len() + index);
        add("-netdev", &devices::nic_backend(nic.port_id, *tap));
        add("-device", &devices::nic_frontend(nic, &port).to_string());
    }
    arguments
}

/// What every QEMU of ours is started with, the probe's too.
pub fn base(machine: &str, accelerator: Accelerator) -> Vec<(&'static str, String)> {
    let (accelerator, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm".to_owned(), "host"),
        Accelerator::Tcg | Accelerator::Sim => (format!("tcg,tb-size={TRANSLATION_BUFFER}"), "max"),
    };
    vec![
        ("-machine", format!("{machine},usb=off,vmport=off,dump-guest-core=off")),
        ("-accel", accelerator),
        ("-cpu", cpu.to_owned()),
        ("-nodefaults", String::new()),
        ("-no-user-config", String::new()),
        ("-display", "none".to_owned()),
        ("-sandbox", SANDBOX.to_owned()),
    ]
}
