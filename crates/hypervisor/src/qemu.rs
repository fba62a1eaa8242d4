//! The real hypervisor: one QEMU process per guest, driven over its machine protocol.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Context, CrashPoints, Error, Result, Uuid};
use hanse_node::documents::{Guest, Nic, Reboots};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OnceCell, OwnedMutexGuard, broadcast};

use self::directory::{Directory, FORMAT, Record};
use self::live::Live;
use self::process::{Lock, Process, Surroundings};
use crate::{
    Accelerator, Applied, DiskPath, Ended, Hypervisor, NetPlug, Observed, Owner, config_drive, files,
    metadata,
};

mod command;
mod console;
mod devices;
mod directory;
mod live;
mod probe;
mod process;
mod tap;

/// How long a QEMU that lives may take until its monitor answers, on a busy host.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// How much QEMU may print about itself, in bytes; the rest is dropped.
const OUTPUT_MAX: usize = 64 << 10;

/// How the driver is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `qemu-system-x86_64`.
    pub binary: PathBuf,
    /// One directory per guest is kept here.
    pub base: PathBuf,
    /// The user that QEMU runs as; the driver's own (root) without one. It must be able to pass through the
    /// directories that disks lie in and to read their backing files; the disks themselves are given to it.
    pub owner: Option<Owner>,
    pub accelerator: Choice,
    /// How long a guest may take to release a device before [`Hypervisor::detach_disk`] says that it does not.
    pub release_limit: Duration,
}

impl Settings {
    /// What suits most hosts, with guests below `base`.
    pub fn new(base: impl Into<PathBuf>) -> Settings {
        Settings {
            binary: PathBuf::from("/usr/bin/qemu-system-x86_64"),
            base: base.into(),
            owner: None,
            accelerator: Choice::Auto,
            release_limit: Duration::from_secs(15),
        }
    }

    /// The groups that QEMU's user needs: the one that may use `/dev/kvm`.
    fn groups(&self) -> Vec<u32> {
        let group = std::fs::metadata("/dev/kvm").map(|metadata| metadata.gid());
        group.into_iter().filter(|group| *group != 0 && self.accelerator != Choice::Tcg).collect()
    }
}

/// `accel` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// KVM if a guest really runs under it, TCG otherwise.
    #[default]
    Auto,
    Kvm,
    Tcg,
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Choice> {
        match text {
            "auto" => Ok(Choice::Auto),
            "kvm" => Ok(Choice::Kvm),
            "tcg" => Ok(Choice::Tcg),
            _ => Err(Error::bad_request(format!("accel must be auto, kvm or tcg, not '{text}'"))),
        }
    }
}

/// A guest's place in the driver: locked while anything is done to it, and what is known of its process.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Live>>>>;
type Held = OwnedMutexGuard<Option<Arc<Live>>>;

pub struct Qemu {
    settings: Settings,
    crash: CrashPoints,
    guests: Mutex<HashMap<Uuid, Slot>>,
    events: broadcast::Sender<Uuid>,
    accelerator: OnceCell<Accelerator>,
    machine: OnceCell<String>,
}

impl Qemu {
    /// Guests of an earlier driver are taken over as they are observed; events of a guest come from then on.
    ///
    /// # Errors
    /// When the base directory cannot be made.
    pub fn new(settings: Settings, crash: CrashPoints) -> Result<Qemu> {
        let what = || format!("cannot create {}", settings.base.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&settings.base).context(what())?;
        // QEMU's user passes through it to its working directory, and sees nothing on the way.
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(&settings.base, mode).context(what())?;
        let (events, _) = broadcast::channel(1024);
        Ok(Qemu {
            settings,
            crash,
            guests: Mutex::default(),
            events,
            accelerator: OnceCell::new(),
            machine: OnceCell::new(),
        })
    }

    fn directory(&self, id: Uuid) -> Directory {
        Directory::new(&self.settings.base, id)
    }

    async fn hold(&self, id: Uuid) -> Held {
        let slot = {
            let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(guests.entry(id).or_default())
        };
        slot.lock_owned().await
    }

    /// The running process of a guest: the known one, or one that is taken over.
    async fn live(&self, held: &mut Held, directory: &Directory) -> Result<Option<Arc<Live>>> {
        if let Some(live) = held.as_ref() {
            if live.is_usable() {
                return Ok(Some(Arc::clone(live)));
            }
            if live.process.has_exited() {
                live.settle().await;
            }
            **held = None;
        }
        let live = Live::adopt(directory, GREETING_LIMIT, &self.events).await?.map(Arc::new);
        held.clone_from(&live);
        Ok(live)
    }

    async fn running(&self, held: &mut Held, directory: &Directory) -> Result<Arc<Live>> {
        self.live(held, directory).await?.ok_or_else(|| crate::not_running(directory.id))
    }

    /// Ends a process that may not answer, known or not, and returns when there is none.
    async fn kill(&self, held: &mut Held, directory: &Directory) -> Result<()> {
        if let Some(live) = held.take() {
            live.process.kill().await?;
            live.settle().await;
        }
        while Lock::is_held(&directory.lock())? {
            match Process::find(&directory.lock(), &directory.pid_file(), directory.id)? {
                Some(process) => process.kill().await?,
                // On its way to its exec.
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(())
    }

    async fn end(&self, held: &mut Held, live: &Live) -> Result<()> {
        live.end().await?;
        **held = None;
        self.crash.pass("hypervisor.ended")?;
        Ok(())
    }

    async fn machine(&self, directory: &Directory) -> Result<String> {
        match directory.record()? {
            Some(record) => Ok(record.machine),
            None => {
                let newest = || probe::newest_machine(&self.settings);
                self.machine.get_or_try_init(newest).await.cloned()
            }
        }
    }

    async fn spawn(&self, held: &mut Held, directory: &Directory, launch: Launch) -> Result<()> {
        let id = directory.id;
        let launched = tokio::task::spawn_blocking(move || launch.run());
        let Some(child) = launched.await.context("the start of a guest was cut short")?? else {
            // Somebody else has the lock: what they start is as good.
            return self.running(held, directory).await.map(drop);
        };
        match self.live(held, directory).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                if !child.process.exited_within(GREETING_LIMIT).await {
                    child.process.kill().await?;
                }
                let said = process::written(&child.output);
                let said = if said.is_empty() { "it says nothing" } else { &said };
                Err(Error::internal(format!("QEMU does not start guest {id}: {said}")))
            }
            Err(error) => {
                child.process.kill().await?;
                Err(error)
            }
        }
    }

    async fn look(&self, held: &mut Held, directory: &Directory, live: &Live) -> Result<Observed> {
        let status = live.qmp.status().await?;
        if status == "shutdown" {
            let ended = directory.ended()?.unwrap_or(Ended::ByGuest);
            directory.write_ended(Some(ended))?;
            self.crash.pass("hypervisor.end_noted")?;
            self.end(held, live).await?;
            return Ok(Observed::Stopped { ended });
        }
        let record = directory.record()?;
        let record = record.ok_or_else(|| {
            Error::internal(format!("guest {} runs, but its guest.json is gone", directory.id))
        })?;
        let (disks, nics) = devices::attached(&live.qmp).await?;
        let Record { vcpus, memory_mib, reboots, .. } = record;
        let applied = Applied { vcpus, memory_mib, reboots, disks, nics };
        Ok(Observed::Running { applied, paused: (status != "running").then_some(status) })
    }
}

/// Everything that a start needs, so that it can run where it may block.
struct Launch {
    settings: Settings,
    crash: CrashPoints,
    directory: Directory,
    guest: Guest,
    disks: Vec<DiskPath>,
    net: NetPlug,
    machine: String,
    accelerator: Accelerator,
}

struct Child {
    process: Process,
    output: File,
}

impl Launch {
    /// None if somebody else holds the guest's lock.
    fn run(self) -> Result<Option<Child>> {
        let directory = &self.directory;
        directory.create()?;
        self.crash.pass("hypervisor.directory_made")?;
        let Some(lock) = Lock::take(&directory.lock())? else { return Ok(None) };
        self.crash.pass("hypervisor.locked")?;
        files::remove(&directory.pid_file())?;
        directory.write_ended(None)?;
        let image = config_drive::image(&metadata::config_drive(directory.id, &self.guest.identity))?;
        directory.write_config_drive(&image, self.settings.owner)?;
        self.crash.pass("hypervisor.config_drive_written")?;
        self.disks.iter().try_for_each(|disk| devices::own_disk(disk, self.settings.owner))?;
        directory.write_record(&Record {
            format: FORMAT,
            id: directory.id,
            machine: self.machine.clone(),
            accelerator: self.accelerator,
            vcpus: self.guest.vcpus,
            memory_mib: self.guest.memory_mib,
            reboots: self.guest.reboots,
        })?;
        self.crash.pass("hypervisor.recorded")?;
        let monitor = directory.listen()?;
        self.crash.pass("hypervisor.listening")?;
        let open = |nic| tap::open(self.net.namespace.as_deref(), crate::tap_of(nic, &self.net)?);
        let taps: Vec<OwnedFd> = self.guest.nics.iter().map(open).collect::<Result<_>>()?;
        let tap_numbers: Vec<_> = taps.iter().map(AsRawFd::as_raw_fd).collect();
        let namespace = self.net.namespace.as_ref().map(|path| {
            File::open(path).context(format!("cannot open the network namespace {}", path.display()))
        });
        let namespace = namespace.transpose()?;
        let arguments = command::arguments(&command::Start {
            id: directory.id,
            guest: &self.guest,
            disks: &self.disks,
            taps: &tap_numbers,
            monitor: monitor.as_raw_fd(),
            machine: &self.machine,
            accelerator: self.accelerator,
        });
        let output = process::bounded_output(OUTPUT_MAX)?;
        let mut keep = vec![lock.fd(), monitor.as_raw_fd()];
        keep.extend(&tap_numbers);
        let around = Surroundings {
            keep,
            directory: &directory.path,
            namespace: namespace.as_ref(),
            owner: self.settings.owner,
            groups: self.settings.groups(),
            output: &output,
            dies_with_us: false,
        };
        let child = process::command(&self.settings.binary, arguments, around)?
            .spawn()
            .context(format!("cannot run {}", self.settings.binary.display()))?;
        self.crash.pass("hypervisor.spawned")?;
        let process = Process::open(child.id()).context("cannot watch the QEMU that was started")?;
        files::write(&directory.pid_file(), format!("{}\n", child.id()).as_bytes(), None)?;
        self.crash.pass("hypervisor.pid_written")?;
        Ok(Some(Child { process, output }))
    }
}

#[async_trait]
impl Hypervisor for Qemu {
    async fn probe(&self) -> Result<Accelerator> {
        let find = || async {
            match self.settings.accelerator {
                Choice::Kvm => Ok(Accelerator::Kvm),
                Choice::Tcg => Ok(Accelerator::Tcg),
                Choice::Auto => probe::probe(&self.settings, "q35").await,
            }
        };
        self.accelerator.get_or_try_init(find).await.copied()
    }

    async fn list(&self) -> Result<Vec<Uuid>> {
        Directory::list(&self.settings.base)
    }

    async fn observe(&self, id: Uuid) -> Result<Observed> {
        let directory = self.directory(id);
        if !directory.exists() {
            return Ok(Observed::Absent);
        }
        let mut held = self.hold(id).await;
        if let Some(live) = self.live(&mut held, &directory).await? {
            match self.look(&mut held, &directory, &live).await {
                Err(_) if live.process.has_exited() => live.settle().await,
                seen => return seen,
            }
        }
        Ok(Observed::Stopped { ended: directory.ended()?.unwrap_or(Ended::Lost) })
    }

    async fn start(&self, id: Uuid, guest: &Guest, disks: &[DiskPath], net: &NetPlug) -> Result<()> {
        crate::check(guest, disks, net)?;
        let directory = self.directory(id);
        let mut held = self.hold(id).await;
        if let Some(live) = self.live(&mut held, &directory).await? {
            match live.qmp.status().await?.as_str() {
                // It has powered itself off since; it shall run again.
                "shutdown" => self.end(&mut held, &live).await?,
                status => {
                    if status != "running" {
                        live.qmp.execute("cont", json!({})).await?;
                    }
                    return directory.write_ended(None);
                }
            }
        }
        let launch = Launch {
            settings: self.settings.clone(),
            crash: self.crash.clone(),
            machine: self.machine(&directory).await?,
            accelerator: self.probe().await?,
            directory: directory.clone(),
            guest: guest.clone(),
            disks: disks.to_vec(),
            net: net.clone(),
        };
        self.spawn(&mut held, &directory, launch).await?;
        self.crash.pass("hypervisor.started")?;
        Ok(())
    }

    async fn stop(&self, id: Uuid, grace: Duration) -> Result<()> {
        let directory = self.directory(id);
        if !directory.exists() {
            return Ok(());
        }
        let mut held = self.hold(id).await;
        directory.write_ended(Some(Ended::Asked))?;
        self.crash.pass("hypervisor.stop_asked")?;
        match self.live(&mut held, &directory).await {
            Ok(None) => return Ok(()),
            Ok(Some(live)) => {
                // Meanwhile others may look at the guest and read its console.
                drop(held);
                live.press_power_button(grace).await;
                self.crash.pass("hypervisor.power_button_pressed")?;
                held = self.hold(id).await;
            }
            Err(error) => tracing::warn!(%error, guest = %id, "the guest cannot be asked to shut down"),
        }
        match self.live(&mut held, &directory).await {
            Ok(None) => Ok(()),
            Ok(Some(live)) => self.end(&mut held, &live).await,
            Err(_) => self.kill(&mut held, &directory).await,
        }
    }

    async fn reset(&self, id: Uuid, reboots: Reboots) -> Result<()> {
        let directory = self.directory(id);
        let mut held = self.hold(id).await;
        let live = self.running(&mut held, &directory).await?;
        if live.qmp.status().await? == "shutdown" {
            return Err(crate::not_running(id));
        }
        live.qmp.execute("system_reset", json!({})).await?;
        self.crash.pass("hypervisor.reset")?;
        match directory.record()? {
            Some(record) => directory.write_record(&Record { reboots, ..record }),
            None => Err(Error::internal(format!("guest {id} runs, but its guest.json is gone"))),
        }
    }

    async fn attach_disk(&self, id: Uuid, disk: &DiskPath) -> Result<()> {
        let mut held = self.hold(id).await;
        let live = self.running(&mut held, &self.directory(id)).await?;
        devices::own_disk(disk, self.settings.owner)?;
        devices::attach_disk(&live.qmp, disk, &self.crash).await
    }

    async fn detach_disk(&self, id: Uuid, disk: Uuid) -> Result<()> {
        let mut held = self.hold(id).await;
        let Some(live) = self.live(&mut held, &self.directory(id)).await? else { return Ok(()) };
        match devices::detach_disk(&live.qmp, disk, self.settings.release_limit, &self.crash).await {
            // A process that is gone has released everything.
            Err(_) if live.process.has_exited() => Ok(()),
            Ok(false) => Err(crate::not_released(id, &format!("disk {disk}"))),
            done => done.map(drop),
        }
    }

    async fn resize_disk(&self, id: Uuid, disk: Uuid, size_bytes: u64) -> Result<()> {
        let mut held = self.hold(id).await;
        match self.live(&mut held, &self.directory(id)).await? {
            None => Ok(()),
            Some(live) => devices::resize_disk(&live.qmp, disk, size_bytes).await,
        }
    }

    async fn attach_nic(&self, id: Uuid, nic: &Nic, net: &NetPlug) -> Result<()> {
        let tap = crate::tap_of(nic, net)?;
        let mut held = self.hold(id).await;
        let live = self.running(&mut held, &self.directory(id)).await?;
        let open = || tap::open(net.namespace.as_deref(), tap);
        devices::attach_nic(&live.qmp, nic, open, &self.crash).await
    }

    async fn detach_nic(&self, id: Uuid, port: Uuid) -> Result<()> {
        let mut held = self.hold(id).await;
        let Some(live) = self.live(&mut held, &self.directory(id)).await? else { return Ok(()) };
        match devices::detach_nic(&live.qmp, port, self.settings.release_limit, &self.crash).await {
            Err(_) if live.process.has_exited() => Ok(()),
            Ok(false) => Err(crate::not_released(id, &format!("NIC of port {port}"))),
            done => done.map(drop),
        }
    }

    async fn remove(&self, id: Uuid) -> Result<()> {
        let directory = self.directory(id);
        let mut held = self.hold(id).await;
        self.kill(&mut held, &directory).await?;
        self.crash.pass("hypervisor.killed")?;
        directory.remove()?;
        self.crash.pass("hypervisor.removed")?;
        Ok(())
    }

    async fn console(&self, id: Uuid, max_bytes: usize) -> Result<Vec<u8>> {
        let directory = self.directory(id);
        if !directory.exists() {
            return Err(Error::not_found("Guest", id));
        }
        let mut held = self.hold(id).await;
        if let Some(live) = self.live(&mut held, &directory).await?
            && let Err(error) = live.fetch_console().await
            && !live.process.has_exited()
        {
            return Err(error);
        }
        drop(held);
        console::tail(&directory.path, max_bytes)
    }

    fn events(&self) -> broadcast::Receiver<Uuid> {
        self.events.subscribe()
    }
}
