//! What the real storage does when something else is at its end: space, time, patience, rights.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hanse_core::Kind;
use hanse_node::documents::DiskFormat::{Qcow2, Raw};
use hanse_storage::{Files, Owner, Storage};

use crate::durability::child_command;
use crate::forge::Forged;
use crate::scratch::{MIB, Scratch, disk, has, id, is_root, put, refused, run, tree};

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_no_litter() {
    if !has("mount", &["unshare", "mount", "qemu-img"]) || !is_root("mount") {
        return;
    }
    let scratch = Scratch::new();
    let small = scratch.path().join("small");
    std::fs::create_dir(&small).unwrap();
    // The mount is in a namespace of the child's and goes away with it.
    let mount = format!("mount -t tmpfs -o size=4m none '{}' && exec \"$@\"", small.display());
    let through = ["unshare", "--mount", "sh", "-c", &mount, "sh"];
    let output = child_command(&through, "fill", &small.join("storage")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs in the child, on a file system of 4 MiB.
pub async fn fill(storage: &dyn Storage) {
    let root = std::path::PathBuf::from(std::env::var_os("HANSE_STORAGE_ROOT").unwrap());
    refused(put(storage, id(1), Raw, vec![1; 6 << 20]).await, Kind::Unavailable, "free some by deleting");
    assert_eq!(tree(&root), ["disks", "images", "lock"]);

    put(storage, id(1), Raw, vec![1; 2 << 20]).await.unwrap();
    let before = tree(&root);
    let filler = root.with_file_name("filler");
    let free = storage.usage().await.unwrap().free_bytes;
    assert!(free < 2 << 20);
    // All but what directories and the start of a qcow2 take.
    std::fs::write(&filler, vec![1; free as usize - 16_384]).unwrap();
    refused(storage.ensure_disk(id(2), &disk(MIB, None)).await, Kind::Unavailable, "No space left");
    assert_eq!(tree(&root), before);

    std::fs::remove_file(filler).unwrap();
    storage.ensure_disk(id(2), &disk(MIB, None)).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_stalls_is_given_up() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.stall_limit = Duration::from_millis(10);
    let storage = Files::open(options).await.unwrap();
    let (_open_but_silent, receiver) = tokio::io::duplex(16);
    let put = storage.put_image(id(1), Raw, Box::new(receiver), MIB).await;
    refused(put, Kind::Timeout, "stalled");
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}

#[tokio::test]
async fn an_upload_whose_caller_goes_away_leaves_nothing() {
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    let (sender, receiver) = tokio::io::duplex(16);
    let upload = storage.clone();
    let put = tokio::spawn(async move { upload.put_image(id(1), Raw, Box::new(receiver), MIB).await });
    while scratch.tree().len() < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    drop(sender);
    // The thread that writes notices by itself; the id is free once it has cleaned up.
    for _ in 0..10_000 {
        if scratch.tree().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}

#[tokio::test]
async fn a_qemu_img_that_hangs_is_ended() {
    let scratch = Scratch::new();
    let program = scratch.path().join("hangs");
    std::fs::write(&program, "#!/bin/sh\necho tables >&2\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = scratch.options();
    options.qemu_img = program;
    options.qemu_img_limit = Duration::from_millis(100);
    let storage = Files::open(options).await.unwrap();
    let image = put(&storage, id(1), Qcow2, Forged::empty(MIB).0).await;
    refused(image, Kind::BadRequest, "more time or memory");
    refused(storage.ensure_disk(id(2), &disk(MIB, None)).await, Kind::Internal, "took longer");
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}

#[tokio::test]
async fn qemu_img_runs_without_environment_and_within_limits_and_its_complaints_are_told() {
    let scratch = Scratch::new();
    let program = scratch.path().join("complains");
    let script = "#!/bin/sh\n{ env; ulimit -v; ulimit -c; ulimit -n; } | tr '\\n' ' ' >&2\n\
                  yes padding | head -c 300000 >&2\nexit 1\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = scratch.options();
    options.qemu_img = program;
    let storage = Files::open(options).await.unwrap();
    let error = storage.ensure_disk(id(2), &disk(MIB, None)).await.unwrap_err();
    assert!(error.detail().contains("1048576 0 64 padding"), "{error}");
    assert!(!error.detail().contains("HOME=") && !error.detail().contains("CARGO"), "{error}");
    assert!(error.detail().len() < 5000 && !error.message().contains("padding"));
}

#[tokio::test]
async fn a_missing_qemu_img_is_told() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.qemu_img = scratch.path().join("absent");
    let storage = Files::open(options).await.unwrap();
    refused(storage.ensure_disk(id(2), &disk(MIB, None)).await, Kind::Unavailable, "is it installed");
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}

#[tokio::test]
async fn a_disk_that_a_guest_runs_on_is_not_resized_behind_its_back() {
    if !has("qemu-img", &["qemu-img", "qemu-io"]) {
        return;
    }
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    let made = storage.ensure_disk(id(1), &disk(MIB, None)).await.unwrap();
    let mut child = Command::new("stdbuf")
        .args(["-oL", "qemu-io", "-f", "qcow2"])
        .arg(&made.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write;
    child.stdin.as_mut().unwrap().write_all(b"read 0 512\n").unwrap();
    let stdout = child.stdout.take().unwrap();
    let _guest = Running(child);
    // Once it has answered, it holds its lock.
    assert!(BufReader::new(stdout).lines().any(|line| line.unwrap().contains("512")));
    refused(storage.resize_disk(id(1), 2 * MIB).await, Kind::Conflict, "A guest is running");
    refused(storage.ensure_disk(id(1), &disk(2 * MIB, None)).await, Kind::Conflict, "A guest is running");
    storage.ensure_disk(id(1), &disk(MIB, None)).await.unwrap();
}

#[tokio::test]
async fn qemus_user_writes_disks_reads_images_and_lists_neither() {
    if !has("qemu-img", &["qemu-img", "qemu-io", "setpriv"]) || !is_root("root") {
        return;
    }
    let scratch = Scratch::new();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let owner = Owner { uid: 54_321, gid: 54_322 };
    let mut options = scratch.options();
    options.owner = Some(owner);
    let storage = Files::open(options).await.unwrap();
    put(&storage, id(1), Qcow2, Forged::with_data(MIB, 7).0).await.unwrap();
    let wanted = disk(MIB, Some((id(1), Qcow2)));
    let made = storage.ensure_disk(id(2), &wanted).await.unwrap();
    storage.resize_disk(id(2), 2 * MIB).await.unwrap();

    let access = |path: &std::path::Path| {
        let data = std::fs::metadata(path).unwrap();
        (data.uid(), data.gid(), data.mode() & 0o7777)
    };
    let base = made.backing.unwrap().path;
    assert_eq!(access(&made.path), (owner.uid, owner.gid, 0o600));
    assert_eq!(access(&base), (0, owner.gid, 0o440));
    let root = scratch.options().root;
    for directory in [&root, &root.join("images"), &root.join("disks"), base.parent().unwrap()] {
        assert_eq!(access(directory), (0, owner.gid, 0o710));
    }
    assert_eq!(access(&root.join(format!("images/{}/image.json", id(1)))), (0, 0, 0o600));

    let ids = ["--reuid=54321", "--regid=54322", "--clear-groups"];
    let as_qemu = |arguments: &[&str]| run("setpriv", scratch.path(), &[&ids[..], arguments].concat());
    let path = made.path.to_str().unwrap();
    let io = as_qemu(&["qemu-io", "-f", "qcow2", "-c", "read -P 7 0 64k", "-c", "write 0 64k", path]);
    assert!(io.contains("wrote 65536/65536") && !io.contains("verification failed"), "{io}");
    let (dir, base) = (base.parent().unwrap().display(), base.display());
    let denied = format!("! ls {dir} && ! touch {dir}/new && ! rm -f {base} && ! sh -c ': >> {base}'");
    as_qemu(&["sh", "-c", &format!("exec 2>/dev/null; {denied}")]);
}

#[tokio::test]
async fn an_image_larger_than_all_buffers_streams_through() {
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    use tokio::io::AsyncReadExt;
    let bytes = tokio::io::repeat(7).take(40 * MIB);
    let image = storage.put_image(id(1), Raw, Box::new(bytes), 64 * MIB).await.unwrap();
    assert_eq!(image.size_bytes, 40 * MIB);
    refused(
        storage.put_image(id(2), Raw, Box::new(tokio::io::repeat(7)), 8 * MIB).await,
        Kind::TooLarge,
        "8388608",
    );
    // A writer in small pieces is taken in whole chunks all the same.
    let (mut sender, receiver) = tokio::io::duplex(7);
    let write = async {
        use tokio::io::AsyncWriteExt;
        sender.write_all(b"in many small pieces").await.unwrap();
        drop(sender);
    };
    let (put, ()) = tokio::join!(storage.put_image(id(3), Raw, Box::new(receiver), MIB), write);
    assert_eq!(put.unwrap().size_bytes, 20);
}
