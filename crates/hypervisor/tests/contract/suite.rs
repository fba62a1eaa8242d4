//! What every hypervisor must do. Each case gets a host of its own.

use std::time::Duration;

use hanse_core::{Kind, Uuid};
use hanse_hypervisor::{Applied, DiskPath, Ended, Hypervisor, NetPlug, Observed};
use hanse_node::documents::{Guest, GuestIdentity, Power, Reboots};

use crate::boot::{Behaviour, GREETING};

/// A host, and what a test does to it behind the driver's back.
pub trait Fixture: Send + Sync {
    /// A driver as a newly started agent makes it.
    fn driver(&self) -> Box<dyn Hypervisor>;
    /// A disk with an operating system of that behaviour.
    fn boot_disk(&self, behaviour: Behaviour) -> DiskPath;
    fn empty_disk(&self) -> DiskPath;
    /// Called once the guest runs, for guests that cannot behave by themselves.
    fn play(&self, id: Uuid, behaviour: Behaviour);
    /// Kills the guest's process.
    fn kill(&self, id: Uuid);
    /// How many processes of the guest live.
    fn processes(&self, id: Uuid) -> usize;
    /// Whether the guest's operating system hears requests to release a device.
    fn release_devices(&self, id: Uuid, releases: bool);
}

pub fn guest() -> Guest {
    Guest {
        power: Power::Running,
        reboots: Reboots { soft: 1, hard: 2 },
        vcpus: 1,
        memory_mib: 32,
        disks: Vec::new(),
        nics: Vec::new(),
        identity: GuestIdentity {
            name: "a guest".to_owned(),
            hostname: GREETING.to_owned(),
            project_id: "project".to_owned(),
            availability_zone: "nova".to_owned(),
            flavor: "tiny".to_owned(),
            public_keys: Default::default(),
            metadata: Default::default(),
            user_data: None,
            network_data: "{}".to_owned(),
        },
    }
}

pub fn new_id() -> Uuid {
    hanse_core::Cx::system().uuid()
}

pub async fn start(driver: &dyn Hypervisor, id: Uuid, disk: &DiskPath) {
    driver.start(id, &guest(), std::slice::from_ref(disk), &NetPlug::default()).await.unwrap();
}

pub async fn applied(driver: &dyn Hypervisor, id: Uuid) -> Applied {
    match driver.observe(id).await.unwrap() {
        Observed::Running { applied, .. } => applied,
        other => panic!("the guest does not run: {other:?}"),
    }
}

/// Asks again until the answer is yes; the bound is generous, because the machine may be busy.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    for _ in 0..600 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

pub async fn has_printed(driver: &dyn Hypervisor, id: Uuid, times: usize) {
    eventually("the guest prints its greeting", || async {
        let console = driver.console(id, 1 << 20).await.unwrap();
        String::from_utf8_lossy(&console).matches(GREETING).count() >= times
    })
    .await;
}

pub async fn a_guest_lives_from_start_to_removal(host: &dyn Fixture) {
    let driver = host.driver();
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Absent);
    assert_eq!(driver.console(id, 10).await.unwrap_err().kind(), Kind::NotFound);
    driver.stop(id, Duration::ZERO).await.unwrap();

    start(&*driver, id, &disk).await;
    let seen = applied(&*driver, id).await;
    assert_eq!((seen.vcpus, seen.memory_mib, seen.reboots), (1, 32, guest().reboots));
    assert_eq!((seen.disks, seen.nics), (vec![disk.id], Vec::new()));
    assert_eq!(driver.list().await.unwrap(), [id]);
    has_printed(&*driver, id, 1).await;
    assert!(driver.console(id, 5).await.unwrap().len() <= 5);

    start(&*driver, id, &disk).await;
    assert_eq!(host.processes(id), 1, "a running guest is started once");

    let reboots = Reboots { soft: 1, hard: 3 };
    driver.reset(id, reboots).await.unwrap();
    assert_eq!(applied(&*driver, id).await.reboots, reboots);

    driver.remove(id).await.unwrap();
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Absent);
    assert_eq!((driver.list().await.unwrap(), host.processes(id)), (Vec::new(), 0));
    driver.remove(id).await.unwrap();
    driver.stop(id, Duration::ZERO).await.unwrap();
    assert_eq!(driver.reset(id, reboots).await.unwrap_err().kind(), Kind::Conflict);
}

pub async fn an_obedient_guest_shuts_down_and_starts_again(host: &dyn Fixture) {
    let driver = host.driver();
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Obeys));
    start(&*driver, id, &disk).await;
    has_printed(&*driver, id, 1).await;
    // Were the guest deaf, this would take the hour.
    let stop = driver.stop(id, Duration::from_secs(3600));
    tokio::time::timeout(Duration::from_secs(120), stop).await.expect("the guest obeys").unwrap();
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Stopped { ended: Ended::Asked });
    driver.stop(id, Duration::from_secs(3600)).await.unwrap();
    assert_eq!(host.processes(id), 0);
    start(&*driver, id, &disk).await;
    has_printed(&*driver, id, 2).await;
}

pub async fn a_deaf_guest_loses_its_power_after_the_grace(host: &dyn Fixture) {
    let driver = host.driver();
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    start(&*driver, id, &disk).await;
    host.play(id, Behaviour::Ignores);
    driver.stop(id, Duration::from_millis(500)).await.unwrap();
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Stopped { ended: Ended::Asked });
    assert_eq!(host.processes(id), 0);
}

pub async fn a_guest_that_powers_itself_off_is_told_from_one_that_was_stopped(host: &dyn Fixture) {
    let driver = host.driver();
    let mut events = driver.events();
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::PowersOff));
    start(&*driver, id, &disk).await;
    host.play(id, Behaviour::PowersOff);
    while !matches!(driver.observe(id).await.unwrap(), Observed::Stopped { .. }) {
        let event = tokio::time::timeout(Duration::from_secs(120), events.recv()).await;
        assert_eq!(event.expect("the driver tells").unwrap(), id);
    }
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Stopped { ended: Ended::ByGuest });
    assert_eq!(host.processes(id), 0);
    has_printed(&*driver, id, 1).await;
}

pub async fn a_killed_guest_is_noticed_and_can_start_again(host: &dyn Fixture) {
    let driver = host.driver();
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    start(&*driver, id, &disk).await;
    has_printed(&*driver, id, 1).await;
    let mut events = driver.events();
    host.kill(id);
    loop {
        let event = tokio::time::timeout(Duration::from_secs(120), events.recv()).await;
        assert_eq!(event.expect("the driver tells").unwrap(), id);
        if driver.observe(id).await.unwrap() == (Observed::Stopped { ended: Ended::Lost }) {
            break;
        }
    }
    start(&*driver, id, &disk).await;
    assert_eq!(host.processes(id), 1);
}

pub async fn a_new_driver_takes_over_what_runs(host: &dyn Fixture) {
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    let before = {
        let driver = host.driver();
        start(&*driver, id, &disk).await;
        applied(&*driver, id).await
    };
    assert_eq!(host.processes(id), 1, "a guest outlives its driver");
    let driver = host.driver();
    assert_eq!(driver.list().await.unwrap(), [id]);
    assert_eq!(applied(&*driver, id).await, before);
    start(&*driver, id, &disk).await;
    assert_eq!(host.processes(id), 1);
    has_printed(&*driver, id, 1).await;
    driver.remove(id).await.unwrap();
    assert_eq!(host.processes(id), 0);
}

pub async fn a_disk_is_attached_and_detached_while_the_guest_runs(host: &dyn Fixture) {
    let driver = host.driver();
    let (id, root, data) = (new_id(), host.boot_disk(Behaviour::Ignores), host.empty_disk());
    assert_eq!(driver.attach_disk(id, &data).await.unwrap_err().kind(), Kind::Conflict);
    driver.detach_disk(id, data.id).await.unwrap();
    start(&*driver, id, &root).await;
    has_printed(&*driver, id, 1).await;
    host.release_devices(id, false);

    driver.attach_disk(id, &data).await.unwrap();
    driver.attach_disk(id, &data).await.unwrap();
    let disks = applied(&*driver, id).await.disks;
    assert_eq!((disks.len(), disks.contains(&data.id)), (2, true));

    for _ in 0..2 {
        let error = driver.detach_disk(id, data.id).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains("does not release"), "{error}");
    }
    assert!(applied(&*driver, id).await.disks.contains(&data.id));

    let size = 2 << 20;
    driver.resize_disk(id, data.id, size).await.unwrap();
    driver.resize_disk(id, data.id, size).await.unwrap();
    driver.resize_disk(id, new_id(), size).await.unwrap();

    // A reset takes the place of an operating system that agrees.
    host.release_devices(id, true);
    driver.reset(id, guest().reboots).await.unwrap();
    driver.detach_disk(id, data.id).await.unwrap();
    driver.detach_disk(id, data.id).await.unwrap();
    assert_eq!(applied(&*driver, id).await.disks, [root.id]);
    driver.attach_disk(id, &data).await.unwrap();
    assert_eq!(applied(&*driver, id).await.disks.len(), 2);
}

pub async fn a_start_that_cannot_work_says_why(host: &dyn Fixture) {
    let driver = host.driver();
    let mut impossible = guest();
    impossible.vcpus = 0;
    let error = driver.start(new_id(), &impossible, &[], &NetPlug::default()).await.unwrap_err();
    assert!(error.message().contains("vCPUs"), "{error}");
    assert!(driver.list().await.unwrap().is_empty());
}

/// Makes a module of tests that run the suite on hosts of one kind.
macro_rules! contract {
    ($host:expr; $($case:ident,)*) => {
        mod contract {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(host) = $host {
                        crate::suite::$case(&host).await;
                    }
                }
            )*
        }
    };
    ($host:expr) => {
        crate::suite::contract! {
            $host;
            a_guest_lives_from_start_to_removal,
            an_obedient_guest_shuts_down_and_starts_again,
            a_deaf_guest_loses_its_power_after_the_grace,
            a_guest_that_powers_itself_off_is_told_from_one_that_was_stopped,
            a_killed_guest_is_noticed_and_can_start_again,
            a_new_driver_takes_over_what_runs,
            a_disk_is_attached_and_detached_while_the_guest_runs,
            a_start_that_cannot_work_says_why,
        }
    };
}
pub(crate) use contract;
