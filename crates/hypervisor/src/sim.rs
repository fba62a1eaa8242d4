//! A simulated hypervisor: guests that exist, run, print and die as real ones do, without a processor.
//!
//! The guests live in a [`World`], not in the driver: a test drops the driver (the agent dies) and makes a new
//! one on the same world. With a journal directory they also survive the process, so that the real binary can
//! be killed under test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Context, CrashPoints, Error, Result, Uuid};
use hanse_node::documents::{Guest, Nic, Reboots};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{Accelerator, Applied, DiskPath, Ended, Hypervisor, NetPlug, Observed};

/// As much console as the simulator keeps of a guest, in bytes.
pub const CONSOLE_MAX: usize = 1 << 20;

/// The host of the simulated guests.
pub struct World {
    journal: Option<PathBuf>,
    guests: Mutex<BTreeMap<Uuid, SimGuest>>,
    failures: Mutex<BTreeMap<String, VecDeque<String>>>,
    events: broadcast::Sender<Uuid>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SimGuest {
    /// What it has while it runs; none when it is stopped.
    running: Option<Applied>,
    ended: Ended,
    console: Vec<u8>,
    obeys_acpi: bool,
    releases_devices: bool,
    /// How often it was started, so that a test sees whether one start was one start.
    boots: u64,
    resets: u64,
}

impl World {
    /// A world that lives as long as this value.
    pub fn new() -> Arc<World> {
        Arc::new(World::with(None, BTreeMap::new()))
    }

    /// A world that is kept in `directory`, one file per guest, and found there again.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn journaled(directory: impl Into<PathBuf>) -> Result<Arc<World>> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory).context(format!("cannot create {}", directory.display()))?;
        let mut guests = BTreeMap::new();
        for entry in std::fs::read_dir(&directory).context(format!("cannot read {}", directory.display()))? {
            let path = entry.context("cannot read the simulator's journal")?.path();
            if path.extension().is_some_and(|end| end == "new") {
                // Half written when the process died; nobody was told of it.
                crate::files::remove(&path)?;
            }
            let Some(id) = journal_id(&path) else { continue };
            let text = std::fs::read(&path).context(format!("cannot read {}", path.display()))?;
            let guest = serde_json::from_slice(&text).context(format!("{} is damaged", path.display()))?;
            guests.insert(id, guest);
        }
        Ok(Arc::new(World::with(Some(directory), guests)))
    }

    fn with(journal: Option<PathBuf>, guests: BTreeMap<Uuid, SimGuest>) -> World {
        let (events, _) = broadcast::channel(1024);
        World { journal, guests: Mutex::new(guests), failures: Mutex::default(), events }
    }

    /// Makes the next call of an operation (`"start"`, `"attach_disk"`, … the trait's method names) fail.
    /// Several failures of one operation are used up in order.
    pub fn fail_next(&self, operation: &str, reason: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.entry(operation.to_owned()).or_default().push_back(reason.to_owned());
    }

    /// The guest's operating system shuts itself down.
    pub fn power_off(&self, id: Uuid) {
        self.end(id, Ended::ByGuest);
    }

    /// The guest's process dies.
    pub fn kill(&self, id: Uuid) {
        self.end(id, Ended::Lost);
    }

    /// The host loses power: every guest is gone, its records are not.
    pub fn kill_all(&self) {
        let ids: Vec<Uuid> = self.guests().keys().copied().collect();
        for id in ids {
            self.kill(id);
        }
    }

    /// Whether the guest heeds the ACPI power button. Guests do, unless told otherwise.
    pub fn obey_acpi(&self, id: Uuid, obeys: bool) {
        self.change(id, |guest| guest.obeys_acpi = obeys);
    }

    /// Whether the guest releases devices when asked. Guests do, unless told otherwise.
    pub fn release_devices(&self, id: Uuid, releases: bool) {
        self.change(id, |guest| guest.releases_devices = releases);
    }

    /// The guest writes to its serial console.
    pub fn print(&self, id: Uuid, bytes: &[u8]) {
        self.change(id, |guest| guest.print(bytes));
    }

    pub fn is_running(&self, id: Uuid) -> bool {
        self.guests().get(&id).is_some_and(|guest| guest.running.is_some())
    }

    /// How often the guest was started and how often it was reset.
    pub fn boots_and_resets(&self, id: Uuid) -> (u64, u64) {
        self.guests().get(&id).map_or((0, 0), |guest| (guest.boots, guest.resets))
    }

    fn end(&self, id: Uuid, ended: Ended) {
        self.change(id, |guest| {
            if guest.running.take().is_some() {
                guest.ended = ended;
            }
        });
        self.tell(id);
    }

    fn change(&self, id: Uuid, change: impl FnOnce(&mut SimGuest)) {
        let mut guests = self.guests();
        if let Some(guest) = guests.get_mut(&id) {
            change(guest);
            if let Err(error) = self.write(id, guest) {
                tracing::error!(%error, guest = %id, "the simulator cannot keep its journal");
            }
        }
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<Uuid, SimGuest>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, id: Uuid) {
        // Nobody listening is no error.
        let _ = self.events.send(id);
    }

    fn check(&self, operation: &str) -> Result<()> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get_mut(operation).and_then(VecDeque::pop_front) {
            Some(reason) => Err(Error::unavailable(reason)),
            None => Ok(()),
        }
    }

    fn write(&self, id: Uuid, guest: &SimGuest) -> Result<()> {
        let Some(directory) = &self.journal else { return Ok(()) };
        let text = serde_json::to_vec(guest).context("cannot encode a simulated guest")?;
        crate::files::write(&directory.join(format!("{id}.json")), &text, None)
    }
}

impl SimGuest {
    fn print(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
        let surplus = self.console.len().saturating_sub(CONSOLE_MAX);
        self.console.drain(..surplus);
    }
}

fn journal_id(path: &Path) -> Option<Uuid> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

/// The driver: the agent's handle on a [`World`].
pub struct Sim {
    world: Arc<World>,
    crash: CrashPoints,
}

impl Sim {
    pub fn new(world: Arc<World>, crash: CrashPoints) -> Sim {
        Sim { world, crash }
    }

    /// Changes a running guest; `Ok(None)` if it does not run or is not there.
    fn running<T>(
        &self,
        id: Uuid,
        change: impl FnOnce(&mut SimGuest, &mut Applied) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut guests = self.world.guests();
        let Some(guest) = guests.get_mut(&id) else { return Ok(None) };
        let Some(mut applied) = guest.running.take() else { return Ok(None) };
        let outcome = change(guest, &mut applied);
        guest.running = Some(applied);
        self.world.write(id, guest)?;
        outcome.map(Some)
    }

    fn attach(&self, id: Uuid, plug: impl FnOnce(&mut Applied)) -> Result<()> {
        let attached = self.running(id, |_, applied| {
            plug(applied);
            Ok(())
        })?;
        self.crash.pass("hypervisor.device_added")?;
        attached.ok_or_else(|| crate::not_running(id))
    }

    fn detach(&self, id: Uuid, what: &str, unplug: impl FnOnce(&mut Applied) -> bool) -> Result<()> {
        self.running(id, |guest, applied| {
            let mut without = applied.clone();
            if unplug(&mut without) {
                if !guest.releases_devices {
                    return Err(crate::not_released(id, what));
                }
                *applied = without;
            }
            Ok(())
        })?;
        self.crash.pass("hypervisor.device_removed")?;
        Ok(())
    }
}

#[async_trait]
impl Hypervisor for Sim {
    async fn probe(&self) -> Result<Accelerator> {
        self.world.check("probe")?;
        Ok(Accelerator::Sim)
    }

    async fn list(&self) -> Result<Vec<Uuid>> {
        self.world.check("list")?;
        Ok(self.world.guests().keys().copied().collect())
    }

    async fn observe(&self, id: Uuid) -> Result<Observed> {
        self.world.check("observe")?;
        Ok(match self.world.guests().get(&id) {
            None => Observed::Absent,
            Some(SimGuest { running: None, ended, .. }) => Observed::Stopped { ended: *ended },
            Some(SimGuest { running: Some(applied), .. }) => {
                Observed::Running { applied: applied.clone(), paused: None }
            }
        })
    }

    async fn start(&self, id: Uuid, guest: &Guest, disks: &[DiskPath], net: &NetPlug) -> Result<()> {
        self.world.check("start")?;
        crate::check(guest, disks, net)?;
        self.crash.pass("hypervisor.recorded")?;
        {
            let mut guests = self.world.guests();
            let sim = guests.entry(id).or_insert_with(|| SimGuest {
                running: None,
                ended: Ended::Lost,
                console: Vec::new(),
                obeys_acpi: true,
                releases_devices: true,
                boots: 0,
                resets: 0,
            });
            if sim.running.is_none() {
                sim.running = Some(Applied {
                    vcpus: guest.vcpus,
                    memory_mib: guest.memory_mib,
                    reboots: guest.reboots,
                    disks: disks.iter().map(|disk| disk.id).collect(),
                    nics: guest.nics.iter().map(|nic| nic.port_id).collect(),
                });
                sim.boots += 1;
                sim.print(format!("{} login: \r\n", guest.identity.hostname).as_bytes());
            }
            sim.ended = Ended::Lost;
            self.world.write(id, sim)?;
        }
        self.crash.pass("hypervisor.spawned")?;
        self.world.tell(id);
        Ok(())
    }

    async fn stop(&self, id: Uuid, _grace: Duration) -> Result<()> {
        self.world.check("stop")?;
        self.world.change(id, |guest| {
            guest.ended = Ended::Asked;
            if guest.running.take().is_some() && guest.obeys_acpi {
                guest.print(b"reboot: Power down\r\n");
            }
        });
        self.crash.pass("hypervisor.stopped")?;
        self.world.tell(id);
        Ok(())
    }

    async fn reset(&self, id: Uuid, reboots: Reboots) -> Result<()> {
        self.world.check("reset")?;
        let reset = self.running(id, |guest, applied| {
            guest.resets += 1;
            applied.reboots = reboots;
            Ok(())
        })?;
        self.crash.pass("hypervisor.reset")?;
        self.world.tell(id);
        reset.ok_or_else(|| crate::not_running(id))
    }

    async fn attach_disk(&self, id: Uuid, disk: &DiskPath) -> Result<()> {
        self.world.check("attach_disk")?;
        self.attach(id, |applied| insert(&mut applied.disks, disk.id))
    }

    async fn detach_disk(&self, id: Uuid, disk: Uuid) -> Result<()> {
        self.world.check("detach_disk")?;
        self.detach(id, &format!("disk {disk}"), |applied| take(&mut applied.disks, disk))
    }

    async fn resize_disk(&self, _id: Uuid, _disk: Uuid, _size_bytes: u64) -> Result<()> {
        self.world.check("resize_disk")
    }

    async fn attach_nic(&self, id: Uuid, nic: &Nic, net: &NetPlug) -> Result<()> {
        self.world.check("attach_nic")?;
        crate::tap_of(nic, net)?;
        self.attach(id, |applied| insert(&mut applied.nics, nic.port_id))
    }

    async fn detach_nic(&self, id: Uuid, port: Uuid) -> Result<()> {
        self.world.check("detach_nic")?;
        self.detach(id, &format!("NIC of port {port}"), |applied| take(&mut applied.nics, port))
    }

    async fn remove(&self, id: Uuid) -> Result<()> {
        self.world.check("remove")?;
        if let Some(directory) = &self.world.journal {
            crate::files::remove(&directory.join(format!("{id}.json")))?;
        }
        self.crash.pass("hypervisor.removed")?;
        self.world.guests().remove(&id);
        self.world.tell(id);
        Ok(())
    }

    async fn console(&self, id: Uuid, max_bytes: usize) -> Result<Vec<u8>> {
        self.world.check("console")?;
        let guests = self.world.guests();
        let console = &guests.get(&id).ok_or_else(|| Error::not_found("Guest", id))?.console;
        Ok(console[console.len().saturating_sub(max_bytes)..].to_vec())
    }

    fn events(&self) -> broadcast::Receiver<Uuid> {
        self.world.events.subscribe()
    }
}

fn insert(ids: &mut Vec<Uuid>, id: Uuid) {
    let known: BTreeSet<Uuid> = ids.iter().copied().collect();
    if !known.contains(&id) {
        ids.push(id);
    }
}

/// Whether it was there.
fn take(ids: &mut Vec<Uuid>, id: Uuid) -> bool {
    let before = ids.len();
    ids.retain(|known| *known != id);
    ids.len() < before
}
