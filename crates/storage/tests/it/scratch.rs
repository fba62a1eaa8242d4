//! A directory for one test, with the storage in it.

use std::collections::BTreeMap;
use std::path::Path;

use hanse_core::{Kind, Result, Uuid};
use hanse_node::documents::{Disk, DiskFormat, ImageRef};
use hanse_storage::{ByteStream, Files, Options, Storage, StoredImage};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

pub const MIB: u64 = 1 << 20;

/// Whether the programs are there; without them the test is skipped, unless the area is required.
pub fn has(area: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<_> = programs
        .iter()
        .filter(|name| !std::env::split_paths(&path).any(|dir| dir.join(name).exists()))
        .collect();
    if missing.is_empty() {
        return true;
    }
    skip(area, &format!("{missing:?} not found"))
}

/// For tests that change owners or mount something.
pub fn is_root(area: &str) -> bool {
    nix::unistd::Uid::effective().is_root() || skip(area, "not root")
}

fn skip(area: &str, why: &str) -> bool {
    let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == area), "{area} is required, but {why}");
    eprintln!("SKIPPED: {area}: {why}");
    false
}

/// Goes away with its content.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch { directory: tempfile::Builder::new().prefix("hanse-storage-").tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn options(&self) -> Options {
        Options::new(self.path().join("storage"))
    }

    pub async fn open(&self) -> Files {
        Files::open(self.options()).await.unwrap()
    }

    /// Every file and directory in the storage.
    pub fn tree(&self) -> Vec<String> {
        tree(&self.path().join("storage"))
    }
}

pub fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

/// An id that tells itself from others.
pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 + n)
}

pub fn stream(bytes: impl Into<Vec<u8>>) -> ByteStream {
    Box::new(std::io::Cursor::new(bytes.into()))
}

pub async fn put(
    storage: &dyn Storage,
    id: Uuid,
    format: DiskFormat,
    bytes: impl Into<Vec<u8>>,
) -> Result<StoredImage> {
    storage.put_image(id, format, stream(bytes), 64 * MIB).await
}

pub async fn content(storage: &dyn Storage, id: Uuid) -> Vec<u8> {
    let (size, mut bytes) = storage.read_image(id).await.unwrap();
    let mut content = Vec::new();
    bytes.read_to_end(&mut content).await.unwrap();
    assert_eq!(size, content.len() as u64);
    content
}

pub fn disk(size_bytes: u64, image: Option<(Uuid, DiskFormat)>) -> Disk {
    Disk { size_bytes, image: image.map(|(id, format)| ImageRef { id, format }) }
}

#[track_caller]
pub fn refused<T>(result: Result<T>, kind: Kind, says: &str) {
    match result {
        Ok(_) => panic!("accepted what should be refused: {says}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.detail().contains(says), "'{error}' does not say '{says}'");
        }
    }
}

/// What QEMU itself says about a file, with its format stated.
pub fn info(path: &Path, format: &str) -> BTreeMap<String, serde_json::Value> {
    let output = std::process::Command::new("qemu-img")
        .args(["info", "--output=json", "-f", format])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a program of QEMU's to its end and panics with its complaints if it fails.
pub fn run(program: &str, directory: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {} {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
