//! Crashes at every point of the real storage and of the journal of the simulated one, and the order in which things reach the disk.
//!
//! The test binary runs itself again as a child that does one operation and dies on the way, or is watched.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use hanse_core::CrashPoints;
use hanse_core::Kind;
use hanse_node::documents::DiskFormat::Qcow2;
use hanse_storage::{Files, Options, Sim, Storage};

use crate::forge::Forged;
use crate::scratch::{MIB, Scratch, content, disk, has, id, put};

const OPERATION: &str = "HANSE_STORAGE_OPERATION";
const ROOT: &str = "HANSE_STORAGE_ROOT";
const CRASH_AT: &str = "HANSE_STORAGE_CRASH_AT";
const DRIVER: &str = "HANSE_STORAGE_DRIVER";

const OPERATIONS: [&str; 6] =
    ["put_image", "delete_image", "ensure_disk", "ensure_larger", "resize_disk", "remove_disk"];

fn image() -> Vec<u8> {
    Forged::with_data(MIB, 7).0
}

/// Opens `root` with the driver of that name.
async fn open(driver: &str, root: &Path, crash: CrashPoints) -> Box<dyn Storage> {
    match driver {
        "files" => Box::new(Files::open(Options { crash, ..Options::new(root) }).await.unwrap()),
        "sim" => Box::new(Sim::journaled(root, 1 << 30, crash).unwrap()),
        other => panic!("{other}"),
    }
}

/// What is there before the operation.
async fn prepare(storage: &dyn Storage, operation: &str) {
    if operation != "put_image" {
        put(storage, id(1), Qcow2, image()).await.unwrap();
    }
    if !["put_image", "delete_image", "ensure_disk"].contains(&operation) {
        storage.ensure_disk(id(2), &disk(MIB, Some((id(1), Qcow2)))).await.unwrap();
    }
}

async fn perform(storage: &dyn Storage, operation: &str) {
    let wanted = |size| disk(size, Some((id(1), Qcow2)));
    match operation {
        // What a caller does who does not know how far the last attempt got.
        "put_image" => match put(storage, id(1), Qcow2, image()).await {
            Err(error) if error.kind() == Kind::Conflict => _ = storage.show_image(id(1)).await.unwrap(),
            put => _ = put.unwrap(),
        },
        "delete_image" => storage.delete_image(id(1)).await.unwrap(),
        "ensure_disk" => _ = storage.ensure_disk(id(2), &wanted(MIB)).await.unwrap(),
        "ensure_larger" => _ = storage.ensure_disk(id(2), &wanted(2 * MIB)).await.unwrap(),
        "resize_disk" => storage.resize_disk(id(2), 2 * MIB).await.unwrap(),
        "remove_disk" => storage.remove_disk(id(2)).await.unwrap(),
        other => panic!("{other}"),
    }
}

/// Not a test of its own: what the child does when there is an operation for it.
#[tokio::test]
async fn child() {
    let Ok(operation) = std::env::var(OPERATION) else { return };
    let root = std::env::var_os(ROOT).unwrap();
    let root = Path::new(&root);
    let crash = match std::env::var(CRASH_AT) {
        Ok(point) => CrashPoints::new(move |name| {
            if name == point {
                std::process::abort();
            }
            Ok(())
        }),
        Err(_) => CrashPoints::none(),
    };
    let driver = std::env::var(DRIVER).unwrap_or_else(|_| "files".to_owned());
    let storage = open(&driver, root, crash).await;
    if operation == "fill" {
        return crate::limits::fill(storage.as_ref()).await;
    }
    perform(storage.as_ref(), &operation).await;
    // Seen by who watches the system calls.
    std::fs::write(root.with_file_name("answered"), "").unwrap();
}

/// The child, started by way of `through` (a program and its arguments).
pub fn child_command(through: &[&str], operation: &str, root: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words: Vec<_> = through.iter().map(std::ffi::OsString::from).collect();
    words.push(this.into());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(["--exact", "durability::child", "--nocapture"])
        .env(OPERATION, operation)
        .env(ROOT, root)
        .stdin(Stdio::null());
    command
}

/// Kills a child at every point that an operation passes and does the same again. Answers which points there are.
async fn crash_everywhere(driver: &str) -> Vec<&'static str> {
    let mut all = std::collections::BTreeSet::new();
    for operation in OPERATIONS {
        // Undisturbed: which points it passes, and what it leaves.
        let scratch = Scratch::new();
        let root = scratch.options().root;
        let passed = Arc::new(Mutex::new(Vec::new()));
        prepare(open(driver, &root, CrashPoints::none()).await.as_ref(), operation).await;
        let recorder = passed.clone();
        let crash = CrashPoints::new(move |name| {
            recorder.lock().unwrap().push(name);
            Ok(())
        });
        perform(open(driver, &root, crash).await.as_ref(), operation).await;
        let (expected, points) = (scratch.tree(), passed.lock().unwrap().clone());
        assert!(!points.is_empty(), "{operation}");

        for point in points {
            all.insert(point);
            let scratch = Scratch::new();
            let root = scratch.options().root;
            prepare(open(driver, &root, CrashPoints::none()).await.as_ref(), operation).await;
            let mut child = child_command(&[], operation, &root);
            let output = child.env(CRASH_AT, point).env(DRIVER, driver).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{operation} at {point}: {stderr}");

            let storage = open(driver, &root, CrashPoints::none()).await;
            let storage = storage.as_ref();
            let tree = scratch.tree();
            assert!(
                !tree.iter().any(|path| path.contains("partial") || path.contains("removed")),
                "{tree:?}"
            );
            // What is reported is whole, whatever the crash.
            for image in storage.list_images().await.unwrap() {
                assert_eq!(content(storage, image.id).await, self::image(), "{operation} at {point}");
            }
            perform(storage, operation).await;
            assert_eq!(scratch.tree(), expected, "{operation} at {point}");
            perform(storage, operation).await;
            assert_eq!(scratch.tree(), expected, "{operation} at {point}, again");
            if driver == "files" && ["ensure_larger", "resize_disk"].contains(&operation) {
                let path = root.join(format!("disks/{}/disk.qcow2", id(2)));
                assert_eq!(crate::scratch::info(&path, "qcow2")["virtual-size"], 2 * MIB);
            }
        }
    }
    all.into_iter().collect()
}

#[tokio::test]
async fn after_a_crash_at_any_point_the_same_operation_converges_and_leaves_no_litter() {
    if !has("qemu-img", &["qemu-img"]) {
        return;
    }
    let all = crash_everywhere("files").await;
    assert_eq!(
        all,
        [
            "storage.disk_created",
            "storage.disk_given",
            "storage.disk_linked",
            "storage.disk_resized",
            "storage.disk_started",
            "storage.disk_synced",
            "storage.entry_committed",
            "storage.entry_hidden",
            "storage.entry_removed",
            "storage.entry_renamed",
            "storage.entry_synced",
            "storage.image_checked",
            "storage.image_received",
            "storage.image_recorded",
            "storage.image_started",
            "storage.image_synced",
        ]
    );
}

#[tokio::test]
async fn the_journal_of_the_simulated_storage_outlives_a_crash_at_any_point() {
    let all = crash_everywhere("sim").await;
    assert_eq!(
        all,
        [
            "storage.disk_resized",
            "storage.disk_started",
            "storage.disk_synced",
            "storage.entry_committed",
            "storage.entry_hidden",
            "storage.entry_removed",
            "storage.entry_renamed",
            "storage.entry_synced",
            "storage.image_recorded",
            "storage.image_started",
            "storage.image_synced",
        ]
    );
    // What was grown stays grown.
    let scratch = Scratch::new();
    let root = scratch.options().root;
    prepare(open("sim", &root, CrashPoints::none()).await.as_ref(), "resize_disk").await;
    open("sim", &root, CrashPoints::none()).await.resize_disk(id(2), 2 * MIB).await.unwrap();
    let storage = open("sim", &root, CrashPoints::none()).await;
    let shrunk = storage.resize_disk(id(2), MIB).await;
    crate::scratch::refused(shrunk, Kind::BadRequest, "cannot shrink");
    assert_eq!(storage.list_disks().await.unwrap(), [id(2)]);
}

#[tokio::test]
async fn an_operation_that_panics_between_two_effects_leaves_no_litter() {
    if !has("qemu-img", &["qemu-img"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.crash = CrashPoints::new(|name| {
        assert!(name != "storage.image_checked" && name != "storage.disk_created");
        Ok(())
    });
    let storage = Files::open(options).await.unwrap();
    crate::scratch::refused(put(&storage, id(1), Qcow2, image()).await, Kind::Internal, "broke off");
    crate::scratch::refused(storage.ensure_disk(id(2), &disk(MIB, None)).await, Kind::Internal, "broke off");
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}

/// The system calls of a child that performs the operation, in the order in which they returned: name and rest.
fn watch(scratch: &Scratch, operation: &str) -> Vec<(String, String)> {
    let log = scratch.path().join("strace");
    let calls = "--trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,openat";
    let through = ["strace", "-f", "-y", "-s", "8", calls, "-o", log.to_str().unwrap()];
    let output = child_command(&through, operation, &scratch.options().root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut begun = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(pid.to_owned(), start.to_owned());
            continue;
        }
        let whole = match call.split_once(" resumed>") {
            Some((_, end)) => begun.remove(pid).unwrap_or_default() + end,
            None => call.to_owned(),
        };
        if let Some((name, rest)) = whole.split_once('(') {
            calls.push((name.to_owned(), rest.to_owned()));
        }
    }
    calls
}

/// Where the last call of one of these names is whose arguments match, and that it succeeded.
#[track_caller]
fn last(calls: &[(String, String)], names: &[&str], arguments: impl Fn(&str) -> bool) -> usize {
    let at = calls.iter().rposition(|(name, rest)| names.contains(&name.as_str()) && arguments(rest));
    let at = at.unwrap_or_else(|| panic!("no {names:?} in {calls:#?}"));
    assert!(!calls[at].1.contains("= -1"), "{:?}", calls[at]);
    at
}

#[tokio::test]
async fn files_reach_the_disk_before_their_name_and_their_name_before_the_answer() {
    if !has("qemu-img", &["qemu-img"]) || !has("strace", &["strace"]) {
        return;
    }
    let cases = [
        ("put_image", "images", id(1), &["image.qcow2", "image.json"][..]),
        ("ensure_disk", "disks", id(2), &["disk.qcow2"][..]),
    ];
    for (operation, shelf, id, files) in cases {
        let scratch = Scratch::new();
        prepare(&scratch.open().await, operation).await;
        let calls = watch(&scratch, operation);
        let shelf = scratch.options().root.join(shelf);
        let (partial, entry) = (shelf.join(format!("{id}.partial")), shelf.join(id.to_string()));
        let synced = |path: &Path| {
            let path = format!("<{}>)", path.display());
            // Not fdatasync, which qemu-img does by itself: owner and mode are to be kept, too.
            last(&calls, &["fsync"], |rest| rest.contains(&path))
        };
        let renamed = last(&calls, &["rename", "renameat", "renameat2"], |rest| {
            rest.contains(&format!("\"{}\"", partial.display()))
                && rest.contains(&format!("\"{}\"", entry.display()))
        });
        for file in files {
            let path = partial.join(file);
            let open = format!("<{}>,", path.display());
            let written = last(&calls, &["write", "pwrite64"], |rest| rest.contains(&open));
            assert!(written < synced(&path), "{operation}: {file} is synced after its last byte");
            assert!(synced(&path) < synced(&partial), "{operation}: {file} before its directory");
        }
        let answered = last(&calls, &["openat"], |rest| rest.contains("/answered\""));
        assert!(synced(&partial) < renamed, "{operation}: the entry is synced before it gets its name");
        assert!(renamed < synced(&shelf), "{operation}: its name is synced");
        assert!(synced(&shelf) < answered, "{operation}: and only then it is answered");
    }
}

#[tokio::test]
async fn two_processes_never_work_on_one_directory() {
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    let second = Files::open(scratch.options()).await.map(|_| ());
    crate::scratch::refused(second, Kind::Unavailable, "Another process");
    drop(storage);
    scratch.open().await;
}

#[tokio::test]
async fn opening_sweeps_its_own_litter_and_nothing_else() {
    let scratch = Scratch::new();
    drop(scratch.open().await);
    let root = scratch.options().root;
    for name in ["partial", "removed"] {
        std::fs::create_dir_all(root.join(format!("images/{}.{name}/deep", id(1)))).unwrap();
        std::fs::create_dir_all(root.join(format!("disks/{}.{name}", id(1)))).unwrap();
    }
    std::fs::create_dir(root.join("images/lost+found")).unwrap();
    std::fs::create_dir(root.join("disks/mine.partial")).unwrap();
    let storage = scratch.open().await;
    assert_eq!(scratch.tree(), ["disks", "disks/mine.partial", "images", "images/lost+found", "lock"]);
    assert!(storage.list_images().await.unwrap().is_empty());
    assert!(storage.list_disks().await.unwrap().is_empty());
}
