//! Virtual machines: one trait, driven by the agent alone, and two implementations of it — [`qemu`] and [`sim`].
//!
//! The trait is level-triggered. [`Hypervisor::observe`] says what is there, the other calls move it one step
//! towards what the desired document says, and each of them may be run again after a crash at any point.
//! Guests outlive whoever started them (DESIGN I6).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Error, Result, Uuid};
use hanse_node::documents::{DiskFormat, Guest, Nic, Reboots};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub mod config_drive;
mod files;
pub mod metadata;
pub mod qemu;
mod qmp;
pub mod sim;

pub use files::Owner;

/// A disk as the storage driver hands it over: a file and its format, which is stated and never probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPath {
    pub id: Uuid,
    /// What the guest reads as the serial number; the device holds the first 20 bytes (virtio-blk).
    pub serial: String,
    pub path: PathBuf,
    pub format: DiskFormat,
    /// What shows through where the disk was not written yet. It is opened read-only and named to the hypervisor
    /// explicitly, so that a name in the disk's own header, which a guest could write, is never followed.
    pub backing: Option<Backing>,
}

/// See [`DiskPath::backing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    pub path: PathBuf,
    pub format: DiskFormat,
}

/// Where a guest's NICs are plugged in: taps that the network driver made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetPlug {
    /// The network namespace that holds the taps and that the guest's process runs in, such as
    /// `/run/netns/<name>`; the agent's own without one.
    pub namespace: Option<PathBuf>,
    /// The tap of each port, by [`Nic::port_id`].
    pub taps: BTreeMap<Uuid, String>,
}

/// What is there of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Nothing at all.
    Absent,
    /// It has a directory on this host, and no process.
    Stopped { ended: Ended },
    Running {
        applied: Applied,
        /// Why its processors stand still (`io-error`: the host's disk was full). [`Hypervisor::start`] resumes.
        paused: Option<String>,
    },
}

/// How the last run of a guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// [`Hypervisor::stop`] was called, whether the guest obeyed or the plug was pulled.
    Asked,
    /// The guest powered itself off.
    ByGuest,
    /// Nobody asked for it: the process was killed, the host went down, or a start did not get through.
    Lost,
}

impl Ended {
    /// Whether the end was wanted by the user or by the guest itself.
    pub fn clean(self) -> bool {
        self != Ended::Lost
    }
}

/// What a running guest has: what it was started with, and what is plugged into it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub vcpus: u32,
    pub memory_mib: u64,
    /// The reboots that were asked for when it started or was last reset.
    pub reboots: Reboots,
    /// Ids of the disks that are attached now, in no order.
    pub disks: Vec<Uuid>,
    /// Ports of the NICs that are attached now, in no order.
    pub nics: Vec<Uuid>,
}

/// What runs the guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    Kvm,
    Tcg,
    Sim,
}

impl Accelerator {
    pub fn as_str(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
            Accelerator::Sim => "sim",
        }
    }
}

/// Runs guests. All calls are idempotent; calls for one guest may overlap and then run one after another.
#[async_trait]
pub trait Hypervisor: Send + Sync {
    /// What guests run on. The first call may take ten seconds (it tries KVM); so run it beside start-up.
    async fn probe(&self) -> Result<Accelerator>;

    /// Every guest that has anything on this host, running or not: desired ones and orphans.
    async fn list(&self) -> Result<Vec<Uuid>>;

    /// What is there of the guest. A guest that has powered itself off is cleared away by this call.
    async fn observe(&self, id: Uuid) -> Result<Observed>;

    /// Makes the guest run. A running one is left as it is, only resumed if it is paused. `disks` stand in the
    /// order of the guest's device names, the first is the root disk; `guest.disks` is not looked at.
    ///
    /// # Errors
    /// With the hypervisor's own message when it does not come up; nothing runs then.
    async fn start(&self, id: Uuid, guest: &Guest, disks: &[DiskPath], net: &NetPlug) -> Result<()>;

    /// Makes the guest not run: ACPI power button first, the plug after `grace`. Returns when it is down.
    /// A guest that is down already counts as asked from then on ([`Ended::Asked`]).
    async fn stop(&self, id: Uuid, grace: Duration) -> Result<()>;

    /// Resets a running guest and notes `reboots` as done. Run again after a crash it may reset twice.
    ///
    /// # Errors
    /// 409 if it does not run.
    async fn reset(&self, id: Uuid, reboots: Reboots) -> Result<()>;

    /// Plugs a disk into a running guest.
    ///
    /// # Errors
    /// 409 if it does not run (a stopped guest gets its disks at start) or has no free slot.
    async fn attach_disk(&self, id: Uuid, disk: &DiskPath) -> Result<()>;

    /// Unplugs a disk and returns once its file is closed. Nothing to do for a guest that does not run.
    ///
    /// # Errors
    /// 503 if the guest's operating system does not release it in time; call again, the request stands.
    async fn detach_disk(&self, id: Uuid, disk: Uuid) -> Result<()>;

    /// Tells a running guest that a disk of its has a new size, and makes the file so. Nothing to do for a guest
    /// that does not run or does not have the disk: the storage driver resizes it then.
    async fn resize_disk(&self, id: Uuid, disk: Uuid, size_bytes: u64) -> Result<()>;

    /// Plugs a NIC into a running guest. Errors as [`Hypervisor::attach_disk`].
    async fn attach_nic(&self, id: Uuid, nic: &Nic, net: &NetPlug) -> Result<()>;

    /// Unplugs a NIC, known by its port. Errors as [`Hypervisor::detach_disk`].
    async fn detach_nic(&self, id: Uuid, port: Uuid) -> Result<()>;

    /// Kills the guest if it runs and removes everything that it has on this host, except its disks.
    async fn remove(&self, id: Uuid) -> Result<()>;

    /// The last `max_bytes` that the guest wrote to its serial console, kept over reboots and stops.
    ///
    /// # Errors
    /// 404 if the guest is absent.
    async fn console(&self, id: Uuid, max_bytes: usize) -> Result<Vec<u8>>;

    /// Guests whose state may have changed. A receiver that lags has missed some and should look at all.
    fn events(&self) -> broadcast::Receiver<Uuid>;
}

/// The most that one guest can have, whatever the control plane says.
const VCPUS_MAX: u32 = 255;
const DISKS_MAX: usize = 26;
const NICS_MAX: usize = 26;

/// Refuses what no hypervisor can start, with the reason.
fn check(guest: &Guest, disks: &[DiskPath], net: &NetPlug) -> Result<()> {
    if guest.vcpus == 0 || guest.vcpus > VCPUS_MAX {
        return Err(Error::bad_request(format!("a guest has 1 to {VCPUS_MAX} vCPUs, not {}", guest.vcpus)));
    }
    if guest.memory_mib == 0 {
        return Err(Error::bad_request("a guest needs memory"));
    }
    if disks.len() > DISKS_MAX || guest.nics.len() > NICS_MAX {
        return Err(Error::bad_request(format!("a guest has at most {DISKS_MAX} disks and {NICS_MAX} NICs")));
    }
    guest.nics.iter().try_for_each(|nic| tap_of(nic, net).map(drop))
}

/// The tap that a NIC is plugged into.
fn tap_of<'a>(nic: &Nic, net: &'a NetPlug) -> Result<&'a str> {
    net.taps
        .get(&nic.port_id)
        .map(String::as_str)
        .ok_or_else(|| Error::conflict(format!("port {} has no tap on this host yet", nic.port_id)))
}

fn not_running(id: Uuid) -> Error {
    Error::conflict(format!("guest {id} is not running"))
}

fn not_released(id: Uuid, what: &str) -> Error {
    Error::unavailable(format!(
        "guest {id} does not release {what}: its operating system must be up and agree to the removal; try again"
    ))
}
