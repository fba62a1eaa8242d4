//! The driver is killed at every one of its crash points: never two QEMUs, never one that nobody knows of.
//!
//! The killed driver is this test binary run again; [`the_driver_that_dies`] is what it does then.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanse_core::CrashPoints;
use hanse_core::Uuid;
use hanse_hypervisor::qemu::Qemu;
use hanse_hypervisor::{DiskPath, Ended, Hypervisor, NetPlug, Observed};
use hanse_node::documents::{DiskFormat, Reboots};

use crate::boot::Behaviour;
use crate::qemu::{Host, processes};
use crate::suite::{self, Fixture, guest, new_id};

/// What the driver is doing when it dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Start,
    Attach,
    Detach,
    Reset,
    /// It sees that the guest has powered itself off.
    Collect,
    Stop,
    Remove,
}

const ACTS: [Act; 7] =
    [Act::Start, Act::Attach, Act::Detach, Act::Reset, Act::Collect, Act::Stop, Act::Remove];
const REBOOTS: Reboots = Reboots { soft: 1, hard: 7 };

/// What the dying driver works on; it travels in the environment.
struct Scene {
    base: PathBuf,
    id: Uuid,
    root: PathBuf,
    data: PathBuf,
}

impl Scene {
    fn disk(path: &std::path::Path) -> DiskPath {
        let id = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        DiskPath {
            id,
            serial: "serial".to_owned(),
            path: path.to_owned(),
            format: DiskFormat::Raw,
            backing: None,
        }
    }

    async fn perform(&self, driver: &dyn Hypervisor, act: Act) -> hanse_core::Result<()> {
        match act {
            Act::Start => {
                let root = Scene::disk(&self.root);
                driver.start(self.id, &guest(), &[root], &NetPlug::default()).await
            }
            Act::Detach => driver.detach_disk(self.id, Scene::disk(&self.data).id).await,
            Act::Reset => driver.reset(self.id, REBOOTS).await,
            Act::Collect => {
                suite::eventually("the guest is off", || async {
                    matches!(driver.observe(self.id).await.unwrap(), Observed::Stopped { .. })
                })
                .await;
                Ok(())
            }
            Act::Stop => driver.stop(self.id, Duration::from_millis(1)).await,
            Act::Attach => driver.attach_disk(self.id, &Scene::disk(&self.data)).await,
            Act::Remove => driver.remove(self.id).await,
        }
    }

    /// Brings the guest to where the act begins.
    async fn prepare(&self, driver: &dyn Hypervisor, act: Act) {
        if act != Act::Start {
            Box::pin(self.perform(driver, Act::Start)).await.unwrap();
        }
        if act == Act::Detach {
            self.perform(driver, Act::Attach).await.unwrap();
            // The guest does not hear of it; a reset lets go of what was asked for.
            self.perform(driver, Act::Detach).await.unwrap_err();
            driver.reset(self.id, REBOOTS).await.unwrap();
        }
    }

    /// Performs the act in a process of its own that kills itself at the point.
    async fn die_at(&self, act: Act, point: &str) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crash::the_driver_that_dies", "--ignored", "--nocapture"])
            .env("HANSE_TEST_ACT", format!("{act:?}"))
            .env("HANSE_TEST_POINT", point)
            .env("HANSE_TEST_BASE", &self.base)
            .env("HANSE_TEST_GUEST", self.id.to_string())
            .env("HANSE_TEST_ROOT", &self.root)
            .env("HANSE_TEST_DATA", &self.data);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        use std::os::unix::process::ExitStatusExt;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{act:?} at {point}: {said}");
    }
}

#[test]
#[ignore = "it is run by the crash test, in a process of its own, and kills it"]
fn the_driver_that_dies() {
    let Ok(point) = std::env::var("HANSE_TEST_POINT") else { return };
    let value = |name: &str| std::env::var(name).unwrap();
    let act = ACTS.into_iter().find(|act| format!("{act:?}") == value("HANSE_TEST_ACT")).unwrap();
    let scene = Scene {
        base: value("HANSE_TEST_BASE").into(),
        id: value("HANSE_TEST_GUEST").parse().unwrap(),
        root: value("HANSE_TEST_ROOT").into(),
        data: value("HANSE_TEST_DATA").into(),
    };
    let crash = CrashPoints::new(move |name| {
        if name == point {
            // SAFETY: it ends this process, as the kernel's out-of-memory killer would.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        Ok(())
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let driver = Qemu::new(Host::settings(scene.base.clone()), crash).unwrap();
        scene.perform(&driver, act).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_killed_at_any_point_leaves_nothing_that_the_next_one_does_not_know() {
    let Some(host) = Host::new() else { return };
    let (deaf, brief) = (host.boot_disk(Behaviour::Ignores).path, host.boot_disk(Behaviour::PowersOff).path);
    let data = host.empty_disk().path;
    let scene = |act| {
        let root = if act == Act::Collect { brief.clone() } else { deaf.clone() };
        Scene { base: host.base(), id: new_id(), root, data: data.clone() }
    };

    // A life without a crash says where the points are.
    let passed = Arc::new(Mutex::new(Vec::new()));
    let mut points = Vec::new();
    {
        let record = Arc::clone(&passed);
        let driver = host.qemu(CrashPoints::new(move |name| {
            record.lock().unwrap().push(name);
            Ok(())
        }));
        for act in ACTS {
            let scene = scene(act);
            scene.prepare(&driver, act).await;
            passed.lock().unwrap().clear();
            scene.perform(&driver, act).await.unwrap();
            points.extend(passed.lock().unwrap().drain(..).map(|point| (act, point)));
            driver.remove(scene.id).await.unwrap();
        }
    }
    for act in ACTS {
        assert!(points.iter().any(|(of, _)| *of == act), "{act:?} has no crash point: {points:?}");
    }
    eprintln!("{} crash points: {points:?}", points.len());

    for (act, point) in points {
        let scene = scene(act);
        scene.prepare(&*host.driver(), act).await;
        scene.die_at(act, point).await;
        let alive = processes(scene.id).len();
        assert!(alive <= 1, "{alive} processes after {act:?} at {point}");

        // The next agent lists it, sees what it is, and does the same again.
        let driver = host.driver();
        let listed = driver.list().await.unwrap().contains(&scene.id);
        let seen = driver.observe(scene.id).await.unwrap();
        let alive = processes(scene.id).len();
        let context = format!("{act:?} at {point}: listed {listed}, {alive} processes, {seen:?}");
        assert_eq!(listed, seen != Observed::Absent, "{context}");
        assert_eq!(alive == 1, matches!(seen, Observed::Running { .. }), "{context}");
        scene.perform(&*driver, act).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        match act {
            Act::Start | Act::Attach | Act::Detach | Act::Reset => {
                let applied = suite::applied(&*driver, scene.id).await;
                assert_eq!(applied.disks.len(), if act == Act::Attach { 2 } else { 1 }, "{context}");
                assert!(act != Act::Reset || applied.reboots == REBOOTS, "{context}");
                assert_eq!(processes(scene.id).len(), 1, "{context}");
            }
            Act::Collect => {
                let ended = driver.observe(scene.id).await.unwrap();
                assert_eq!(ended, Observed::Stopped { ended: Ended::ByGuest }, "{context}");
                assert!(processes(scene.id).is_empty(), "{context}");
            }
            Act::Stop | Act::Remove => assert!(processes(scene.id).is_empty(), "{context}"),
        }
        driver.remove(scene.id).await.unwrap();
        assert!(processes(scene.id).is_empty(), "{context}");
        assert!(driver.list().await.unwrap().is_empty(), "{context}");
    }
}
