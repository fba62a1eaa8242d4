//! Guests: one look compares what is wanted with what runs, and moves it closer.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_core::{Context, Result, Uuid};
use hanse_crypto::secret_file;
use hanse_hypervisor::{Applied, Backing, DiskPath, Ended, NetPlug, Observed};
use hanse_node::documents::{Guest, Kind, Power};
use hanse_node::reports::State;

use super::Machine;

/// How long a guest may take to shut down for a soft reboot before it is reset.
const SOFT_REBOOT: Duration = Duration::from_secs(60);

impl Machine {
    pub(super) async fn guest(&self, id: Uuid, revision: i64, guest: &Guest) -> Result<State> {
        let observed = self.0.drivers.hypervisor.observe(id).await?;
        match (guest.power, observed) {
            (Power::Running, Observed::Running { applied, paused: None }) => {
                self.adjust(id, revision, guest, &applied).await
            }
            (Power::Running, Observed::Stopped { ended: Ended::ByGuest })
                if self.was_started_for(id, revision) =>
            {
                Ok(State::Stopped)
            }
            (Power::Running, _) => self.start(id, revision, guest).await,
            (Power::Stopped { grace_seconds }, Observed::Running { .. }) => {
                self.0.drivers.hypervisor.stop(id, Duration::from_secs(grace_seconds.into())).await?;
                self.0.crash.pass("agent.guest_stopped")?;
                Ok(State::Ready)
            }
            // So that the guest does not count as one that went down by itself when it is started again.
            (Power::Stopped { .. }, Observed::Stopped { ended }) if ended != Ended::Asked => {
                self.0.drivers.hypervisor.stop(id, Duration::ZERO).await?;
                Ok(State::Ready)
            }
            (Power::Stopped { .. }, _) => Ok(State::Ready),
        }
    }

    pub(super) async fn remove_guest(&self, id: Uuid) -> Result<State> {
        self.0.drivers.hypervisor.remove(id).await?;
        self.0.crash.pass("agent.guest_removed")?;
        match std::fs::remove_file(self.0.started.join(id.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot forget a guest")
            }
            _ => Ok(State::Gone),
        }
    }

    async fn start(&self, id: Uuid, revision: i64, guest: &Guest) -> Result<State> {
        if let Some(reason) = self.missing(guest) {
            return Ok(State::Pending { reason });
        }
        let mut disks = Vec::new();
        for disk in &guest.disks {
            disks.push(self.disk_path(disk.id, &disk.serial).await?);
        }
        self.0.drivers.hypervisor.start(id, guest, &disks, &self.plug(guest)).await?;
        self.0.crash.pass("agent.guest_started")?;
        self.note_start(id, revision)?;
        Ok(State::Ready)
    }

    /// What the guest needs and does not have yet.
    fn missing(&self, guest: &Guest) -> Option<String> {
        let disk = guest.disks.iter().find(|disk| !self.0.reports.is_ready(Kind::Disk, disk.id));
        if let Some(disk) = disk {
            return Some(format!("waiting for the disk {}", disk.id));
        }
        let nic = guest.nics.iter().find(|nic| !self.0.reports.is_ready(Kind::Port, nic.port_id));
        nic.map(|nic| format!("waiting for the port {}", nic.port_id))
    }

    /// Brings a running guest to what is wanted of it.
    async fn adjust(&self, id: Uuid, revision: i64, guest: &Guest, applied: &Applied) -> Result<State> {
        let hypervisor = &self.0.drivers.hypervisor;
        if applied.reboots.hard != guest.reboots.hard {
            hypervisor.reset(id, guest.reboots).await?;
            self.0.crash.pass("agent.guest_reset")?;
        } else if applied.reboots.soft != guest.reboots.soft {
            hypervisor.stop(id, SOFT_REBOOT).await?;
            self.0.crash.pass("agent.guest_stopped_to_reboot")?;
            return self.start(id, revision, guest).await;
        }
        for disk in &guest.disks {
            if !applied.disks.contains(&disk.id) {
                if !self.0.reports.is_ready(Kind::Disk, disk.id) {
                    return Ok(State::Pending { reason: format!("waiting for the disk {}", disk.id) });
                }
                hypervisor.attach_disk(id, &self.disk_path(disk.id, &disk.serial).await?).await?;
                self.0.crash.pass("agent.disk_attached")?;
            }
        }
        for disk in applied.disks.iter().filter(|disk| !guest.disks.iter().any(|wanted| wanted.id == **disk))
        {
            hypervisor.detach_disk(id, *disk).await?;
            self.0.crash.pass("agent.disk_detached")?;
            // A disk that is to be removed waits for this.
            self.poke(Kind::Disk, *disk);
        }
        let plug = self.plug(guest);
        for nic in guest.nics.iter().filter(|nic| !applied.nics.contains(&nic.port_id)) {
            if !self.0.reports.is_ready(Kind::Port, nic.port_id) {
                return Ok(State::Pending { reason: format!("waiting for the port {}", nic.port_id) });
            }
            hypervisor.attach_nic(id, nic, &plug).await?;
            self.0.crash.pass("agent.nic_attached")?;
        }
        for port in
            applied.nics.iter().filter(|port| !guest.nics.iter().any(|wanted| wanted.port_id == **port))
        {
            hypervisor.detach_nic(id, *port).await?;
            self.0.crash.pass("agent.nic_detached")?;
        }
        self.note_start(id, revision)?;
        Ok(State::Ready)
    }

    async fn disk_path(&self, id: Uuid, serial: &str) -> Result<DiskPath> {
        let file = self.disk_file(id).await?;
        let backing = file.backing.map(|backing| Backing { path: backing.path, format: backing.format });
        Ok(DiskPath { id, serial: serial.to_owned(), path: file.path, format: file.format, backing })
    }

    fn plug(&self, guest: &Guest) -> NetPlug {
        let network = &self.0.drivers.network;
        let taps: BTreeMap<Uuid, String> =
            guest.nics.iter().map(|nic| (nic.port_id, network.tap_name(nic.port_id))).collect();
        let namespace = if taps.is_empty() { None } else { network.namespace_path() };
        NetPlug { namespace, taps }
    }

    /// Whether the guest was started for this revision: then it powered itself off since, and stays off.
    fn was_started_for(&self, id: Uuid, revision: i64) -> bool {
        let noted = std::fs::read_to_string(self.0.started.join(id.to_string())).unwrap_or_default();
        noted.trim().parse() == Ok(revision)
    }

    fn note_start(&self, id: Uuid, revision: i64) -> Result<()> {
        if self.was_started_for(id, revision) {
            return Ok(());
        }
        secret_file::write(&self.0.started.join(id.to_string()), 0o600, revision.to_string().as_bytes())
    }
}
