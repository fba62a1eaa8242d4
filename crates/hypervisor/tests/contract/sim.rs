//! The simulator's part: the suite, failures on demand, and a world that outlives the process.

use std::path::PathBuf;
use std::sync::Arc;

use hanse_core::CrashPoints;
use hanse_core::Uuid;
use hanse_hypervisor::sim::{Sim, World};
use hanse_hypervisor::{DiskPath, Hypervisor, Observed};
use hanse_node::documents::DiskFormat;

use crate::boot::Behaviour;
use crate::suite::{self, Fixture};

struct Host(Arc<World>);

impl Fixture for Host {
    fn driver(&self) -> Box<dyn Hypervisor> {
        Box::new(Sim::new(Arc::clone(&self.0), CrashPoints::none()))
    }

    fn boot_disk(&self, _: Behaviour) -> DiskPath {
        self.empty_disk()
    }

    fn empty_disk(&self) -> DiskPath {
        let path = PathBuf::from("/nowhere");
        DiskPath {
            id: suite::new_id(),
            serial: "serial".to_owned(),
            path,
            format: DiskFormat::Raw,
            backing: None,
        }
    }

    fn play(&self, id: Uuid, behaviour: Behaviour) {
        match behaviour {
            Behaviour::PowersOff => self.0.power_off(id),
            Behaviour::Ignores => self.0.obey_acpi(id, false),
            Behaviour::Obeys | Behaviour::Floods => {}
        }
    }

    fn kill(&self, id: Uuid) {
        self.0.kill(id);
    }

    fn processes(&self, id: Uuid) -> usize {
        usize::from(self.0.is_running(id))
    }

    fn release_devices(&self, id: Uuid, releases: bool) {
        self.0.release_devices(id, releases);
    }
}

suite::contract!(Some(Host(World::new())));

#[tokio::test]
async fn an_operation_fails_once_for_each_failure_that_was_asked_for() {
    let host = Host(World::new());
    let (driver, id, disk) = (host.driver(), suite::new_id(), host.empty_disk());
    host.0.fail_next("start", "no luck today");
    let start = || async {
        driver.start(id, &suite::guest(), std::slice::from_ref(&disk), &Default::default()).await
    };
    assert_eq!(start().await.unwrap_err().message(), "no luck today");
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Absent);
    start().await.unwrap();
    assert_eq!(host.0.boots_and_resets(id), (1, 0));
}

#[tokio::test]
async fn a_journaled_world_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (running, removed) = (suite::new_id(), suite::new_id());
    {
        let host = Host(World::journaled(directory.path()).unwrap());
        let driver = host.driver();
        suite::start(&*driver, running, &host.empty_disk()).await;
        suite::start(&*driver, removed, &host.empty_disk()).await;
        host.0.print(running, b"still here");
        driver.remove(removed).await.unwrap();
    }
    let half = directory.path().join(format!("{removed}.json.new"));
    std::fs::write(&half, "{").unwrap();
    let driver = Host(World::journaled(directory.path()).unwrap()).driver();
    assert_eq!(driver.list().await.unwrap(), [running]);
    assert!(!half.exists());
    suite::applied(&*driver, running).await;
    assert_eq!(driver.console(running, 10).await.unwrap(), b"still here");
}
