//! Images made to harm: refused with a reason, before any other program reads them.

use hanse_core::Kind;
use hanse_node::documents::DiskFormat::{Qcow2, Raw};
use hanse_storage::{MAX_VIRTUAL_BYTES, Sim, inspect};
use proptest::prelude::*;

use crate::forge::{CLUSTER, Forged};
use crate::scratch::{MIB, Scratch, has, id, info, put, refused, run};

const SIZE: u64 = 100 * MIB;

fn check(bytes: &[u8]) -> hanse_core::Result<u64> {
    let head = &bytes[..bytes.len().min(inspect::HEAD_BYTES)];
    let tail = &bytes[bytes.len().saturating_sub(inspect::TAIL_BYTES)..];
    inspect::check_image(Qcow2, head, tail, bytes.len() as u64)
}

/// Each a change to a sound image, and what the refusal says.
fn hostile() -> Vec<(&'static str, Forged)> {
    let mut images = Vec::new();
    let mut add = |says, change: &dyn Fn(&mut Forged)| {
        let mut forged = Forged::empty(SIZE);
        change(&mut forged);
        images.push((says, forged));
    };
    let name = 8 * 25;
    add("backing file", &|f| _ = f.be64(8, name).be32(16, 11).text(name as usize, b"/etc/passwd"));
    add("backing file", &|f| _ = f.be64(8, name));
    add("backing file", &|f| _ = f.be32(16, 11));
    add("backing file", &|f| _ = f.be64(8, u64::MAX).be32(16, u32::MAX));
    add("data in another file", &|f| _ = f.be64(72, 1 << 2).extension(0x4441_5441, b"/etc/passwd"));
    add("external data file", &|f| _ = f.extension(0x4441_5441, b"/etc/passwd"));
    add("data in another file", &|f| _ = f.be64(88, 1 << 1));
    add("encrypted", &|f| _ = f.be32(32, 1));
    add("encrypted", &|f| _ = f.be32(32, 2));
    add("encrypted with LUKS", &|f| _ = f.extension(0x0537_be77, &[0; 16]));
    add("damaged or still open", &|f| _ = f.be64(72, 1 << 0));
    add("damaged or still open", &|f| _ = f.be64(72, 1 << 1));
    add("not known here", &|f| _ = f.be64(72, 1 << 5));
    add("not known here", &|f| _ = f.be64(72, 1 << 63));
    add("compression method", &|f| _ = f.be64(72, 1 << 3));
    add("compression method", &|f| {
        f.be32(100, 112).0[104] = 1;
    });
    add("compression method", &|f| {
        f.be64(72, 1 << 3).be32(100, 112).0[104] = 2;
    });
    add("its version is 1,", &|f| _ = f.be32(4, 1));
    add("its version is 4,", &|f| _ = f.be32(4, 4));
    for bits in [0, 8, 22, 32, 64, u32::MAX] {
        add("its clusters have", &|f| _ = f.be32(20, bits));
    }
    for length in [0, 72, 103, 105, CLUSTER as u32 + 8, u32::MAX] {
        add("claims a length", &|f| _ = f.be32(100, length));
    }
    add("reference counts have 2^7", &|f| _ = f.be32(96, 7));
    add("extended L2", &|f| _ = f.be64(72, 1 << 4).be32(20, 13));
    for size in [0, 511, MAX_VIRTUAL_BYTES + 512, u64::MAX, u64::MAX - 511] {
        add("virtual size", &|f| _ = f.be64(24, size));
    }
    // 16 TiB behind one entry, and a table of 32 GiB.
    add("L1 table has 1 entries", &|f| _ = f.be64(24, MAX_VIRTUAL_BYTES));
    add("L1 table has 4294967295", &|f| _ = f.be32(36, u32::MAX));
    add("L1 table does not start", &|f| _ = f.be64(40, 0));
    add("L1 table does not start", &|f| _ = f.be64(40, 3 * CLUSTER as u64 + 1));
    add("L1 table lies beyond", &|f| _ = f.be64(40, 4 * CLUSTER as u64));
    add("L1 table lies beyond", &|f| _ = f.be64(40, u64::MAX - CLUSTER as u64 + 1));
    add("table of reference counts has 0", &|f| _ = f.be32(56, 0));
    add("table of reference counts has", &|f| _ = f.be32(56, u32::MAX));
    add("table of reference counts does not", &|f| _ = f.be64(48, 7));
    add("table of reference counts lies", &|f| _ = f.be64(48, 1 << 40));
    add("table of snapshots", &|f| _ = f.be32(60, u32::MAX));
    add("table of snapshots", &|f| _ = f.be32(60, 1).be64(64, 7));
    add("table of snapshots lies", &|f| _ = f.be32(60, 1).be64(64, 1 << 40));
    add("longer than its cluster", &|f| _ = f.extension(0x1234_5678, &[]).be32(108, u32::MAX));
    add("more than 64", &|f| {
        for n in 0..100 {
            f.be32(104 + 8 * n, 0x1234_5678);
        }
    });
    // A LUKS extension behind a harmless one whose padding must be counted right.
    add("encrypted with LUKS", &|f| {
        _ = f.extension(0x1234_5678, b"abc").be32(120, 0x0537_be77).be32(124, 16);
    });
    images
}

#[test]
fn every_hostile_header_is_refused_with_its_reason() {
    for (says, forged) in hostile() {
        refused(check(&forged.0), Kind::BadRequest, says);
    }
}

#[test]
fn sound_headers_of_both_versions_are_accepted() {
    assert_eq!(check(&Forged::empty(SIZE).0).unwrap(), SIZE);
    assert_eq!(check(&Forged::version_2(SIZE).0).unwrap(), SIZE);
    assert_eq!(check(&Forged::with_data(SIZE, 7).0).unwrap(), SIZE);
    assert_eq!(check(&Forged::empty(SIZE).extension(0x1234_5678, b"harmless").0).unwrap(), SIZE);
}

#[test]
fn a_header_cut_short_anywhere_is_refused() {
    let whole = Forged::empty(SIZE).0;
    for length in (0..200).chain([CLUSTER, 2 * CLUSTER - 1, 3 * CLUSTER, 3 * CLUSTER + 7]) {
        assert_eq!(check(&whole[..length]).unwrap_err().kind(), Kind::BadRequest, "{length}");
    }
}

#[test]
fn data_that_some_program_takes_for_a_disk_format_is_not_raw() {
    let magics: &[(usize, &[u8])] = &[
        (0, b"QFI\xfb\0\0\0\x01"),
        (0, b"QFI\xfb\0\0\0\x03"),
        (0, b"QED\0"),
        (0, b"LUKS\xba\xbe\0\x01"),
        (0, b"KDMV\x01"),
        (0, b"COWD"),
        (0, b"# Disk DescriptorFile\nversion=1\n"),
        (0, b"conectix"),
        (0, b"vhdxfile"),
        (64, b"\x7f\x10\xda\xbe"),
        (0, b"WithoutFreeSpace"),
        (0, b"WithouFreSpacExt"),
        (4096 - 512, b"conectix"),
        (4096 - 512, b"koly"),
    ];
    let check = |bytes: &[u8]| {
        inspect::check_image(Raw, bytes, &bytes[bytes.len().saturating_sub(512)..], bytes.len() as u64)
    };
    for (at, magic) in magics {
        let mut bytes = vec![0; 4096];
        bytes[*at..at + magic.len()].copy_from_slice(magic);
        refused(check(&bytes), Kind::BadRequest, "declared as raw");
        // Anywhere else it is data like any other.
        bytes.rotate_right(100);
        check(&bytes).unwrap();
    }
    assert_eq!(check(b"x").unwrap(), 512);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (check(&bytes), inspect::check_head(Raw, &bytes));
        let mut with_magic = b"QFI\xfb\0\0\0\x03".to_vec();
        with_magic.extend(bytes);
        let _ = check(&with_magic);
    }

    #[test]
    fn a_changed_header_is_refused_or_still_harmless(
        changes in proptest::collection::vec((0usize..200, any::<u8>()), 1..6)
    ) {
        let mut forged = Forged::empty(SIZE);
        for (at, byte) in changes {
            forged.0[at] = byte;
        }
        if let Ok(size) = check(&forged.0) {
            let bytes = &forged.0;
            prop_assert!(size > 0 && size <= MAX_VIRTUAL_BYTES && size % 512 == 0);
            prop_assert!(bytes[8..20].iter().all(|byte| *byte == 0), "a backing file");
            prop_assert!(bytes[32..36].iter().all(|byte| *byte == 0), "encrypted");
            if bytes[7] == 3 {
                prop_assert!(bytes[72..79].iter().all(|byte| *byte == 0) && bytes[79] & !0b11000 == 0);
            }
        }
    }
}

#[tokio::test]
async fn a_hostile_image_is_refused_by_the_whole_upload() {
    let storage = Sim::default();
    for (says, forged) in hostile() {
        refused(put(&storage, id(1), Qcow2, forged.0).await, Kind::BadRequest, says);
    }
    if has("qemu-img", &["qemu-img"]) {
        let scratch = Scratch::new();
        let storage = scratch.open().await;
        for (says, forged) in hostile() {
            refused(put(&storage, id(1), Qcow2, forged.0).await, Kind::BadRequest, says);
        }
        assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
    }
}

#[tokio::test]
async fn damage_behind_a_sound_header_is_found_by_qemu() {
    if !has("qemu-img", &["qemu-img"]) {
        return;
    }
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    let whole = Forged::with_data(SIZE, 7);
    put(&storage, id(1), Qcow2, whole.0.clone()).await.unwrap();

    // The cluster with the data is missing: cut off where it would begin.
    let cut = whole.0[..4 * CLUSTER + 8].to_vec();
    refused(put(&storage, id(2), Qcow2, cut).await, Kind::BadRequest, "damaged or it was cut short");
    // The data is far beyond the end, the L2 table is the header, and two clusters are one.
    let far = whole.clone().be64(4 * CLUSTER, 1 << 63 | 1 << 45).0.clone();
    let header = whole.clone().be64(3 * CLUSTER, 1 << 63).be64(4 * CLUSTER, 1 << 63 | 512).0.clone();
    let twice = whole.clone().be64(4 * CLUSTER + 8, 1 << 63 | (5 * CLUSTER) as u64).0.clone();
    for bytes in [far, header, twice] {
        refused(put(&storage, id(2), Qcow2, bytes).await, Kind::BadRequest, "declared as qcow2");
    }
    assert_eq!(scratch.tree().len(), 6, "one image: {:?}", scratch.tree());
}

#[tokio::test]
async fn what_qemu_makes_is_accepted_unless_it_needs_more_than_itself() {
    if !has("qemu-img", &["qemu-img"]) {
        return;
    }
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    std::fs::write(scratch.path().join("full.raw"), vec![7; 3 << 20]).unwrap();
    let make = |options: &[&str]| {
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options);
        arguments.extend(["full.raw", "image"]);
        run("qemu-img", scratch.path(), &arguments);
        std::fs::read(scratch.path().join("image")).unwrap()
    };
    let sound: &[&[&str]] = &[
        &[],
        &["-c"],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M"],
        &["-o", "extended_l2=on"],
        &["-o", "lazy_refcounts=on,refcount_bits=64"],
        &["-o", "preallocation=metadata"],
        &["-c", "-o", "compression_type=zstd"],
    ];
    for (n, options) in sound.iter().enumerate() {
        let image = put(&storage, id(n as u128), Qcow2, make(options)).await.unwrap();
        assert_eq!(image.virtual_size_bytes, 3 << 20, "{options:?}");
    }

    let create = |options: &[&str]| {
        let mut arguments = vec!["create", "-q", "-f", "qcow2"];
        arguments.extend(options);
        arguments.extend(["image", "1M"]);
        run("qemu-img", scratch.path(), &arguments);
        std::fs::read(scratch.path().join("image")).unwrap()
    };
    let needy: &[(&str, &[&str])] = &[
        ("backing file", &["-F", "raw", "-b", "full.raw"]),
        ("another file", &["-o", "data_file=data"]),
        ("another file", &["-o", "data_file=data,data_file_raw=on"]),
    ];
    for (says, options) in needy {
        refused(put(&storage, id(99), Qcow2, create(options)).await, Kind::BadRequest, says);
    }
}

#[tokio::test]
async fn a_disk_shows_its_image_and_stands_on_nothing_but_its_own_directory() {
    if !has("qemu-img", &["qemu-img", "qemu-io"]) {
        return;
    }
    use hanse_storage::Storage;
    let scratch = Scratch::new();
    let storage = scratch.open().await;
    put(&storage, id(1), Qcow2, Forged::with_data(MIB, 7).0).await.unwrap();
    let wanted = crate::scratch::disk(2 * MIB, Some((id(1), Qcow2)));
    let made = storage.ensure_disk(id(2), &wanted).await.unwrap();
    storage.delete_image(id(1)).await.unwrap();
    storage.resize_disk(id(2), 3 * MIB).await.unwrap();

    let info = info(&made.path, "qcow2");
    assert_eq!(info["virtual-size"], 3 * MIB);
    assert_eq!(info["backing-filename"], format!("base-{}.qcow2", id(1)));
    assert_eq!(info["backing-filename-format"], "qcow2");
    let directory = made.path.parent().unwrap();
    assert_eq!(made.backing.unwrap().path.parent().unwrap(), directory);
    let read = run(
        "qemu-io",
        directory,
        &["-r", "-f", "qcow2", "-c", "read -P 7 0 64k", "-c", "read -P 0 64k 2M", "disk.qcow2"],
    );
    assert!(!read.contains("verification failed"), "{read}");
    storage.remove_disk(id(2)).await.unwrap();
    assert_eq!(scratch.tree(), ["disks", "images", "lock"]);
}
