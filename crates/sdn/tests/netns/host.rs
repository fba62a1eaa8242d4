//! A namespace that plays the host, and all that hangs on it, gone at the end of the test whatever happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hanse_core::CrashPoints;
use hanse_core::Uuid;
use hanse_node::documents::GuestIdentity;
use hanse_sdn::linux::{Config, ExternalConfig, Linux, TapOwner};
use hanse_sdn::{MetadataTree, Model, PublicRange, Sdn};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::workload::Workload;

/// A thread that is "on the host" gets this.
pub struct Host {
    pub cloud: String,
    pub sdn: Arc<Linux>,
    crash: CrashPoints,
    uplink: Option<String>,
}

/// Runs a test on a host of its own, or says why it cannot.
pub fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send + 'static) {
    on_host_with(None, test);
}

pub fn on_host_with<F: Future<Output = ()>>(
    uplink: Option<&'static str>,
    test: impl FnOnce(Host) -> F + Send + 'static,
) {
    if let Some(missing) = missing_prerequisite() {
        let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
        assert!(!required.split(',').any(|area| area == "netns"), "netns tests are required, but {missing}");
        eprintln!("SKIPPED: netns tests: {missing}");
        return;
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let cloud = format!("{:06x}{number:02x}", std::process::id());
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        let clean = Cleanup(cloud.clone());
        let host = Host::new(cloud, uplink.map(str::to_owned), CrashPoints::none());
        // Workers are born in the namespace of the thread that starts them.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(host))));
        runtime.shutdown_timeout(Duration::from_secs(5));
        let cloud = clean.0.clone();
        drop(clean);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert_eq!(namespaces_of(&cloud), BTreeSet::new());
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn missing_prerequisite() -> Option<&'static str> {
    let has = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    if !nix::unistd::geteuid().is_root() {
        Some("they need root")
    } else if !["ip", "nft", "ping", "busybox"].into_iter().all(has) {
        Some("ip, nft, ping and busybox must be installed")
    } else if !std::path::Path::new("/dev/net/tun").exists() {
        Some("there is no /dev/net/tun")
    } else {
        None
    }
}

struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for name in namespaces_of(&self.0) {
            let path = format!("/run/netns/{name}");
            while umount2(path.as_str(), MntFlags::MNT_DETACH).is_ok() {}
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The namespaces of this test's cloud and of its workloads.
pub fn namespaces_of(cloud: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.contains(cloud)).collect()
}

impl Host {
    fn new(cloud: String, uplink: Option<String>, crash: CrashPoints) -> Host {
        let range = PublicRange {
            cidr: "172.24.4.0/24".parse().unwrap(),
            host_address: "172.24.4.1".parse().unwrap(),
        };
        let config = Config {
            cloud: cloud.clone(),
            external: ExternalConfig { range, uplink: uplink.clone() },
            tap_owner: TapOwner { uid: 65534, gid: 65534 },
            domain: "cloud.internal".to_owned(),
            metadata: metadata(),
            crash: crash.clone(),
        };
        Host { cloud, sdn: Arc::new(Linux::new(config).unwrap()), crash, uplink }
    }

    /// Another process for the same cloud, as after a restart, that calls `crash` between its steps.
    pub fn restarted(&self, crash: Option<CrashPoints>) -> Host {
        Host::new(self.cloud.clone(), self.uplink.clone(), crash.unwrap_or_else(|| self.crash.clone()))
    }

    /// Everything must be ready.
    pub async fn apply(&self, model: &Model) {
        let applied = self.sdn.apply(model).await.unwrap();
        assert!(applied.is_complete(), "{applied:?}");
    }

    pub fn namespace(&self) -> String {
        format!("hanse-{}", self.cloud)
    }

    /// Puts a workload where the guest of this port would be: the engine takes an interface of the tap's name
    /// as it finds it. The cloud's namespace must be there.
    pub fn plug(&self, model: &Model, port_id: Uuid) -> Workload {
        let port = &model.ports[&port_id];
        let address = port.addresses.first().map(|it| it.address);
        let tap = self.sdn.tap_name(port_id);
        Workload::plug(&self.cloud, &self.namespace(), &tap, port.mac, address)
    }

    /// Applies an empty model, plugs a workload into each port and applies the model.
    pub async fn start<const N: usize>(&self, model: &Model, ports: [Uuid; N]) -> [Workload; N] {
        self.apply(&Model::default()).await;
        let workloads = ports.map(|port| self.plug(model, port));
        self.apply(model).await;
        workloads
    }
}

/// A tree of two pages that show whose they are.
fn metadata() -> MetadataTree {
    Arc::new(|id: Uuid, guest: &GuestIdentity, path: &str| match path {
        "/openstack/latest/meta_data.json" => Some(format!("{{\"uuid\":\"{id}\"}}").into_bytes()),
        "/latest/user-data" => guest.user_data.as_ref().map(|data| data.expose().clone()),
        _ => None,
    })
}

/// Runs a command line in the calling thread's namespace; it must succeed.
pub fn run(line: &str) -> String {
    let output = start(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same where failure is an answer, too.
pub fn try_run(line: &str) -> (bool, String) {
    let output = start(line);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn start(line: &str) -> Output {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

/// Runs on a thread inside a named namespace; sockets that it returns stay there.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        inside.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Asks until it is so; the bound is for the slowest machine.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it never came about that {what}");
}
