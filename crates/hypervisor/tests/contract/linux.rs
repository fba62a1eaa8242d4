//! What needs a real operating system in the guest: its consent to the removal of a device.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hanse_hypervisor::{DiskPath, Ended, NetPlug, Observed};
use hanse_node::documents::DiskFormat;

use crate::qemu::{Host, can_run, processes};
use crate::suite::{self, Fixture, guest, new_id};

/// Names a qcow2 image with Linux that prints [`READY`] to its serial console and then heeds the power button:
/// the guest image that xtask builds.
const IMAGE: &str = "HANSE_GUEST_IMAGE";
const READY: &str = "hanse-guest: ready";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn linux_finds_its_disks_releases_them_and_shuts_down() {
    let image = std::env::var(IMAGE).unwrap_or_default();
    if !can_run("guest-image", Path::new(&image).is_file()) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let path = host.directory.path().join("root.qcow2");
    std::fs::copy(&image, &path).unwrap();
    let root =
        DiskPath { id: new_id(), serial: "root".to_owned(), path, format: DiskFormat::Qcow2, backing: None };
    let driver = host.driver();
    let id = new_id();
    let mut linux = guest();
    linux.memory_mib = 256;
    linux.identity.hostname = "hanse-linux".to_owned();
    driver.start(id, &linux, std::slice::from_ref(&root), &NetPlug::default()).await.unwrap();
    suite::eventually("Linux is up", || async {
        let console = driver.console(id, 1 << 20).await.unwrap();
        String::from_utf8_lossy(&console).contains(READY)
    })
    .await;

    let data = host.empty_disk();
    driver.attach_disk(id, &data).await.unwrap();
    // It may be busy with its boot; the request stands and is answered sooner or later.
    suite::eventually("Linux releases the disk", || async { driver.detach_disk(id, data.id).await.is_ok() })
        .await;
    assert_eq!(suite::applied(&*driver, id).await.disks, [root.id]);

    // Were it deaf, this would take the hour.
    let stop = driver.stop(id, Duration::from_secs(3600));
    tokio::time::timeout(Duration::from_secs(120), stop).await.expect("Linux obeys").unwrap();
    assert_eq!(driver.observe(id).await.unwrap(), Observed::Stopped { ended: Ended::Asked });
    assert!(processes(id).is_empty());
    let check = Command::new("qemu-img").args(["check", "-q"]).arg(&root.path).status();
    assert!(check.is_ok_and(|status| status.success()));
}
