//! The real driver: the suite under TCG, and what only real processes can show.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hanse_core::CrashPoints;
use hanse_core::Uuid;
use hanse_hypervisor::qemu::{Choice, Qemu, Settings};
use hanse_hypervisor::{Accelerator, DiskPath, Hypervisor, NetPlug, Observed, Owner};
use hanse_node::documents::{DiskFormat, MacAddress, Nic};

use crate::boot::{self, Behaviour};
use crate::suite::{self, Fixture, guest, new_id};

const BINARY: &str = "/usr/bin/qemu-system-x86_64";

/// Whether a test of this area can run; a missing prerequisite is an error where the area is required.
pub fn can_run(area: &str, prerequisite: bool) -> bool {
    if !prerequisite {
        let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name.trim() == area),
            "{area} is required but cannot run here"
        );
        eprintln!("SKIPPED: this needs {area}");
    }
    prerequisite
}

fn is_root() -> bool {
    // SAFETY: it only returns a number.
    unsafe { libc::geteuid() == 0 }
}

/// A host with a directory of its own; whatever runs in it is gone when it is dropped.
pub struct Host {
    pub directory: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Option<Host> {
        can_run("qemu", Path::new(BINARY).exists() && is_root()).then(|| {
            let directory = tempfile::tempdir().unwrap();
            // QEMU's user passes through it to the disks.
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o711)).unwrap();
            Host { directory }
        })
    }

    pub fn base(&self) -> PathBuf {
        self.directory.path().join("guests")
    }

    pub fn settings(base: PathBuf) -> Settings {
        Settings {
            accelerator: Choice::Tcg,
            owner: Some(Owner { uid: 65534, gid: 65534 }),
            release_limit: Duration::from_millis(500),
            ..Settings::new(base)
        }
    }

    pub fn qemu(&self, crash: CrashPoints) -> Qemu {
        Qemu::new(Host::settings(self.base()), crash).unwrap()
    }

    fn disk(&self, content: &[u8]) -> DiskPath {
        let id = new_id();
        let path = self.directory.path().join(format!("{id}.raw"));
        std::fs::write(&path, content).unwrap();
        DiskPath { id, serial: id.to_string(), path, format: DiskFormat::Raw, backing: None }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let guests = std::fs::read_dir(self.base()).into_iter().flatten();
        for id in guests.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
            for _ in 0..1000 {
                let alive = processes(id);
                if alive.is_empty() {
                    break;
                }
                alive.into_iter().for_each(kill);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Fixture for Host {
    fn driver(&self) -> Box<dyn Hypervisor> {
        Box::new(self.qemu(CrashPoints::none()))
    }

    fn boot_disk(&self, behaviour: Behaviour) -> DiskPath {
        self.disk(&boot::disk(behaviour))
    }

    fn empty_disk(&self) -> DiskPath {
        self.disk(&[0; 64 << 10])
    }

    fn play(&self, _: Uuid, _: Behaviour) {}

    fn kill(&self, id: Uuid) {
        processes(id).into_iter().for_each(kill);
    }

    fn processes(&self, id: Uuid) -> usize {
        processes(id).len()
    }

    fn release_devices(&self, _: Uuid, _: bool) {}
}

/// All processes with the guest's id on their command line, but for those that are dead and not reaped.
pub fn processes(id: Uuid) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        // That of a dead process is empty.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("-uuid\0{id}"))
    })
    .collect()
}

fn kill(pid: i32) {
    // SAFETY: the pid was just read from a process that carries a random id of this test.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

suite::contract!(Host::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_disk_is_named_in_qemus_own_words() {
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let (id, mut disk) = (new_id(), host.empty_disk());
    disk.path = host.directory.path().join("nowhere.raw");
    let error = driver.start(id, &guest(), &[disk], &NetPlug::default()).await.unwrap_err();
    assert!(error.detail().contains("nowhere.raw': No such file or directory"), "{}", error.detail());
    assert!(matches!(driver.observe(id).await.unwrap(), Observed::Stopped { .. }));
    assert!(processes(id).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qemu_is_unprivileged_inherits_nothing_and_sees_nobodys_files() {
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let ours = File::open("/proc/version").unwrap();
    // SAFETY: the descriptor is open; it shall be one that a careless spawn would pass on.
    unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_SETFD, 0) };
    let id = new_id();
    suite::start(&*driver, id, &host.boot_disk(Behaviour::Ignores)).await;
    let [pid] = processes(id)[..] else { panic!("one process") };

    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(line("Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!(line("Gid:"), "65534\t65534\t65534\t65534");
    assert_eq!(
        (line("CapEff:"), line("NoNewPrivs:"), line("Seccomp:")),
        ("0".repeat(16), "1".into(), "2".into())
    );
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect();
    assert!(open.contains(&host.base().join(format!("{id}/lock"))), "{open:?}");
    assert!(!open.contains(&PathBuf::from("/proc/version")), "{open:?}");

    for entry in std::fs::read_dir(host.base().join(id.to_string())).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name();
        assert!(mode & 0o077 == 0 || name == "qmp.sock", "{name:?} has mode {mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_starts_at_once_one_process_comes() {
    let Some(host) = Host::new() else { return };
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    let start = |driver: Box<dyn Hypervisor>| {
        let disk = disk.clone();
        // The driver is dropped with the task, which frees the monitor for the other one.
        tokio::spawn(async move { driver.start(id, &guest(), &[disk], &NetPlug::default()).await })
    };
    let (one, other) = (start(host.driver()), start(host.driver()));
    one.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
    assert_eq!(processes(id).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_cannot_fill_the_disk_with_its_console() {
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let id = new_id();
    suite::start(&*driver, id, &host.boot_disk(Behaviour::Floods)).await;
    let directory = host.base().join(id.to_string());
    suite::eventually("the log is rotated", || async {
        let end = driver.console(id, 1000).await.unwrap();
        let sizes = std::fs::read_dir(&directory).unwrap().filter_map(|entry| {
            let entry = entry.unwrap();
            let is_log = entry.file_name().to_str().unwrap().starts_with("console.log");
            is_log.then(|| entry.metadata().unwrap().len())
        });
        assert!(sizes.sum::<u64>() < 2 << 20);
        directory.join("console.log.1").exists() && end == vec![b'x'; 1000]
    })
    .await;
    // While no driver is there, it prints on, and nothing grows.
    drop(driver);
    let size = || std::fs::metadata(directory.join("console.log")).map_or(0, |metadata| metadata.len());
    let before = size();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((size(), processes(id).len()), (before, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_config_drive_is_attached_and_belongs_to_the_guests_user() {
    use std::os::unix::fs::MetadataExt;
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let id = new_id();
    suite::start(&*driver, id, &host.boot_disk(Behaviour::Ignores)).await;
    let path = host.base().join(format!("{id}/config-drive.img"));
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o600, 65534));
    let [pid] = processes(id)[..] else { panic!("one process") };
    let is_open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .any(|entry| std::fs::read_link(entry.unwrap().path()).is_ok_and(|target| target == path));
    assert!(is_open);
    // What other people's readers make of it.
    let read = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(&path).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    match read("blkid", &["-p", "-s", "LABEL", "-o", "value"]) {
        Some(label) => assert_eq!(label.trim(), "config-2"),
        None => eprintln!("SKIPPED: the label is not checked without blkid"),
    }
    match read("isoinfo", &["-J", "-x", "/openstack/latest/meta_data.json;1", "-i"]) {
        Some(text) => assert!(text.contains(&id.to_string()), "{text}"),
        None => eprintln!("SKIPPED: the content is not checked without isoinfo"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_guest_is_seen_as_such_and_resumed_by_a_start() {
    use std::io::{BufRead, BufReader, Write};
    let Some(host) = Host::new() else { return };
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    suite::start(&*host.driver(), id, &disk).await;
    // As QEMU does by itself when the host's disk is full.
    tokio::task::block_in_place(|| {
        let path = host.base().join(format!("{id}/qmp.sock"));
        let mut monitor = std::os::unix::net::UnixStream::connect(path).unwrap();
        let mut lines = BufReader::new(monitor.try_clone().unwrap()).lines();
        lines.next().unwrap().unwrap();
        for command in ["qmp_capabilities", "stop"] {
            monitor.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).unwrap();
            while !lines.next().unwrap().unwrap().contains("return") {}
        }
    });
    let driver = host.driver();
    let paused = |seen| match seen {
        Observed::Running { paused, .. } => paused,
        other => panic!("the guest does not run: {other:?}"),
    };
    assert_eq!(paused(driver.observe(id).await.unwrap()).as_deref(), Some("paused"));
    suite::start(&*driver, id, &disk).await;
    assert_eq!(paused(driver.observe(id).await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_boots_with_as_many_disks_as_it_may_have_and_takes_eight_more_devices() {
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let id = new_id();
    let mut disks = vec![host.boot_disk(Behaviour::Ignores)];
    disks.extend((1..26).map(|_| host.empty_disk()));
    driver.start(id, &guest(), &disks, &NetPlug::default()).await.unwrap();
    suite::has_printed(&*driver, id, 1).await;
    for _ in 0..8 {
        driver.attach_disk(id, &host.empty_disk()).await.unwrap();
    }
    assert_eq!(suite::applied(&*driver, id).await.disks.len(), 34);
    let error = driver.attach_disk(id, &host.empty_disk()).await.unwrap_err();
    assert!(error.message().contains("no free slot"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accelerator_is_found_out_by_booting_and_remembered() {
    let Some(host) = Host::new() else { return };
    let settings = Settings { accelerator: Choice::Auto, owner: None, ..Host::settings(host.base()) };
    let driver = Qemu::new(settings.clone(), CrashPoints::none()).unwrap();
    let verdict = driver.probe().await.unwrap();
    assert!(matches!(verdict, Accelerator::Kvm | Accelerator::Tcg));
    let file = host.base().join("accelerator.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(verdict.as_str()), "{kept}");

    // What is kept is believed; for another kernel it is not.
    let (kvm, tcg) = ("\"accelerator\": \"kvm\"", "\"accelerator\": \"tcg\"");
    let other = match verdict {
        Accelerator::Kvm => kept.replace(kvm, tcg),
        _ => kept.replace(tcg, kvm),
    };
    std::fs::write(&file, other).unwrap();
    let driver = Qemu::new(settings, CrashPoints::none()).unwrap();
    assert_ne!(driver.probe().await.unwrap(), verdict);
}

/// A network namespace with taps, taken away again when it is dropped.
struct Namespace(String);

impl Namespace {
    fn new(taps: &[&str]) -> Option<Namespace> {
        let name = format!("hv-{}", &new_id().simple().to_string()[..8]);
        let ready = is_root() && Path::new("/dev/net/tun").exists() && ip(&["netns", "add", &name]);
        can_run("netns", ready).then(|| {
            let namespace = Namespace(name);
            for tap in taps {
                assert!(ip(&["-n", &namespace.0, "tuntap", "add", tap, "mode", "tap"]));
                assert!(ip(&["-n", &namespace.0, "link", "set", tap, "up"]));
            }
            namespace
        })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    fn has_carrier(&self, tap: &str) -> bool {
        let output = Command::new("ip").args(["-n", &self.0, "link", "show", tap]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("LOWER_UP")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nics_are_plugged_into_taps_of_the_clouds_namespace() {
    use std::os::unix::fs::MetadataExt;
    let Some(namespace) = Namespace::new(&["tap0", "tap1"]) else { return };
    let Some(host) = Host::new() else { return };
    let driver = host.driver();
    let nic = |last| Nic { port_id: new_id(), mac: MacAddress([0xfa, 0x16, 0x3e, 0, 0, last]), mtu: 1450 };
    let (first, second) = (nic(1), nic(2));
    let mut net = NetPlug { namespace: Some(namespace.path()), ..NetPlug::default() };
    let mut with_nic = guest();
    with_nic.nics = vec![first.clone()];
    let (id, disk) = (new_id(), host.boot_disk(Behaviour::Ignores));
    let start = async |net: &NetPlug| driver.start(id, &with_nic, std::slice::from_ref(&disk), net).await;

    let error = start(&net).await.unwrap_err();
    assert!(error.message().contains("no tap on this host yet"), "{error}");
    net.taps.insert(first.port_id, "nosuchtap".to_owned());
    let error = start(&net).await.unwrap_err();
    assert!(error.message().contains("cannot open tap nosuchtap"), "{error}");
    net.taps.insert(first.port_id, "tap0".to_owned());
    start(&net).await.unwrap();

    let [pid] = processes(id)[..] else { panic!("one process") };
    let inside = std::fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    assert_eq!(inside, std::fs::metadata(namespace.path()).unwrap().ino());
    assert_eq!(suite::applied(&*driver, id).await.nics, [first.port_id]);
    assert!(namespace.has_carrier("tap0") && !namespace.has_carrier("tap1"));
    suite::has_printed(&*driver, id, 1).await;

    net.taps.insert(second.port_id, "tap1".to_owned());
    driver.attach_nic(id, &second, &net).await.unwrap();
    driver.attach_nic(id, &second, &net).await.unwrap();
    assert_eq!(suite::applied(&*driver, id).await.nics.len(), 2);
    assert!(namespace.has_carrier("tap1"));

    driver.detach_nic(id, second.port_id).await.unwrap_err();
    driver.reset(id, with_nic.reboots).await.unwrap();
    driver.detach_nic(id, second.port_id).await.unwrap();
    assert_eq!(suite::applied(&*driver, id).await.nics, [first.port_id]);
    assert!(!namespace.has_carrier("tap1"));
    driver.attach_nic(id, &second, &net).await.unwrap();
    assert!(namespace.has_carrier("tap1"));
}
