//! A full disk: nothing that was answered is lost, deleting goes on, and so does writing once there is room.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanse_core::{Cx, Kind};
use hanse_logstore::{Disk, FULL, Options, Real, Sim, Store};

use crate::scratch::{bytes, delete, is_root, put, read};

fn options(disk: Arc<dyn Disk>) -> Options {
    Options {
        segment_bytes: 1 << 20,
        inline_limit: 64 << 10,
        reserve_bytes: 8 << 20,
        checkpoint_bytes: 1 << 20,
        index_cache: 4 << 20,
        disk,
        ..Options::default()
    }
}

/// Fills the store, finds it full, makes room, and goes on.
async fn fill(directory: &Path, disk: Arc<dyn Disk>, size: usize) {
    let store = Store::open(&Cx::system(), directory, options(disk.clone())).unwrap();
    let mut there = Vec::new();
    let error = loop {
        let n = there.len() as u64;
        match put(&store, &format!("{n:05}"), "value", bytes(n, size)).await {
            Ok(_) => there.push(n),
            Err(error) => break error,
        }
        assert!(there.len() < 5000, "it is never full");
    };
    assert_eq!((error.kind(), error.name()), (Kind::Unavailable, Some(FULL)), "{error:?}");
    assert!(store.failure().is_none());
    let view = store.view().unwrap();
    for n in &there {
        assert!(read(&view, &format!("{n:05}")).await.unwrap().unwrap() == bytes(*n, size));
    }
    drop(view);
    // Deleting goes on, and after a while there is room again.
    let kept = there.split_off(there.len() / 3 * 2);
    for n in &there {
        delete(&store, &format!("{n:05}")).await.unwrap();
    }
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(error) = put(&store, "again", "value", bytes(1, size)).await {
        assert_eq!(error.name(), Some(FULL), "{error:?}");
        assert!(Instant::now() < until, "there is no room after two thirds were deleted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().await;
    let store = Store::open(&Cx::system(), directory, options(disk)).unwrap();
    let view = store.view().unwrap();
    assert_eq!(view.scan(..).unwrap().count(), kept.len() + 1);
    for n in kept {
        assert!(read(&view, &format!("{n:05}")).await.unwrap().unwrap() == bytes(n, size));
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

#[test]
fn a_full_disk_takes_deletions_and_goes_on_when_there_is_room() {
    for size in [20_000, 200_000] {
        let sim = Sim::new();
        sim.set_capacity(Some(32 << 20));
        run(fill(Path::new("/store"), Arc::new(sim), size));
    }
}

/// The same on a real file system that is that small, which a child mounts for itself.
#[test]
fn a_full_file_system_takes_deletions_and_goes_on_when_there_is_room() {
    if !is_root("mount") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=32m none '{}' && exec \"$@\"", directory.path().display());
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &mount, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full::the_store_on_a_small_file_system", "--ignored", "--nocapture"])
        .env("HANSE_TEST_SMALL", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "it is run by the test before, in a mount namespace of its own"]
fn the_store_on_a_small_file_system() {
    let Some(directory) = std::env::var_os("HANSE_TEST_SMALL") else { return };
    for size in [20_000, 200_000] {
        let store = Path::new(&directory).join(size.to_string());
        run(fill(&store, Arc::new(Real), size));
        std::fs::remove_dir_all(store).unwrap();
    }
}
