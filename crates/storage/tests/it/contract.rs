//! What every storage promises; run on the simulated one (in memory and with a journal) and on the real one.

use std::sync::Arc;

use hanse_core::{CrashPoints, Kind};
use hanse_node::documents::DiskFormat::{Qcow2, Raw};
use hanse_storage::{Sim, Storage};
use tokio::io::AsyncReadExt;

use crate::forge::Forged;
use crate::scratch::{MIB, Scratch, content, disk, has, id, put, refused, stream};

/// One `#[tokio::test]` on each storage for every function.
macro_rules! on_all {
    ($($name:ident)*) => {
        mod sim {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(&Sim::default()).await; })*
        }
        mod journaled_sim {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let scratch = Scratch::new();
                let root = scratch.options().root;
                super::$name(&Sim::journaled(&root, 1 << 30, CrashPoints::none()).unwrap()).await;
                let tree = scratch.tree();
                assert!(!tree.iter().any(|path| path.contains("partial") || path.contains("removed")), "{tree:?}");
            })*
        }
        mod files {
            use super::*;
            $(#[tokio::test] async fn $name() {
                if has("qemu-img", &["qemu-img"]) {
                    let scratch = Scratch::new();
                    super::$name(&scratch.open().await).await;
                    let tree = scratch.tree();
                    assert!(!tree.iter().any(|path| path.contains("partial") || path.contains("removed")), "{tree:?}");
                }
            })*
        }
    };
}

on_all! {
    an_image_comes_back_as_it_was_put
    an_image_is_put_once
    an_image_over_the_limit_is_refused_and_leaves_nothing
    an_image_of_another_format_than_declared_is_refused
    an_upload_that_breaks_off_leaves_nothing
    of_two_uploads_of_one_image_at_once_one_is_refused
    a_deleted_image_is_gone_and_deleting_it_again_is_fine
    an_empty_disk_is_made_once_however_often_it_is_ensured
    a_disk_is_made_over_its_image
    a_disk_smaller_than_its_image_is_refused_with_both_sizes
    a_disk_grows_and_never_shrinks
    a_disk_of_an_impossible_size_is_refused
    a_disk_outlives_its_image
    a_disk_is_not_made_twice_from_different_images
    a_removed_disk_is_gone_and_removing_it_again_is_fine
    many_disks_are_made_from_one_image_at_once
    usage_is_told
}

async fn an_image_comes_back_as_it_was_put(storage: &dyn Storage) {
    // Longer than a chunk, and no multiple of one.
    let raw: Vec<u8> = (0..5_000_001u32).map(|n| (n % 251) as u8).collect();
    let image = put(storage, id(2), Raw, raw.clone()).await.unwrap();
    assert_eq!((image.size_bytes, image.virtual_size_bytes), (5_000_001, 5_000_192));
    assert_eq!(content(storage, id(2)).await, raw);

    let qcow2 = Forged::empty(100 * MIB).0;
    let image = put(storage, id(1), Qcow2, qcow2.clone()).await.unwrap();
    assert_eq!((image.size_bytes, image.virtual_size_bytes), (262_144, 100 * MIB));
    assert_eq!(content(storage, id(1)).await, qcow2);
    assert_eq!(storage.show_image(id(1)).await.unwrap(), image);
    assert_eq!(
        storage.list_images().await.unwrap().iter().map(|image| image.id).collect::<Vec<_>>(),
        [id(1), id(2)]
    );

    let abc = put(storage, id(3), Raw, *b"abc").await.unwrap();
    assert_eq!(abc.md5, "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(
        abc.sha512,
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    );
}

async fn an_image_is_put_once(storage: &dyn Storage) {
    let first = put(storage, id(1), Raw, *b"first").await.unwrap();
    refused(put(storage, id(1), Raw, *b"second").await, Kind::Conflict, "has its data already");
    assert_eq!(storage.show_image(id(1)).await.unwrap(), first);
    assert_eq!(content(storage, id(1)).await, b"first");
}

async fn an_image_over_the_limit_is_refused_and_leaves_nothing(storage: &dyn Storage) {
    let put = |n, bytes: u64, limit| storage.put_image(id(n), Raw, stream(vec![7; bytes as usize]), limit);
    refused(put(1, 1001, 1000).await, Kind::TooLarge, "1000 bytes");
    refused(put(1, 5 * MIB, 4 * MIB).await, Kind::TooLarge, "4194304 bytes");
    refused(storage.show_image(id(1)).await, Kind::NotFound, "Image");
    refused(storage.read_image(id(1)).await.map(|_| ()), Kind::NotFound, "Image");
    assert!(storage.list_images().await.unwrap().is_empty());
    assert_eq!(put(1, 1000, 1000).await.unwrap().size_bytes, 1000);
}

async fn an_image_of_another_format_than_declared_is_refused(storage: &dyn Storage) {
    let qcow2 = Forged::empty(MIB).0;
    refused(put(storage, id(1), Raw, qcow2).await, Kind::BadRequest, "its data is qcow or qcow2");
    refused(put(storage, id(1), Qcow2, vec![0; 4096]).await, Kind::BadRequest, "declared as qcow2");
    refused(put(storage, id(1), Qcow2, *b"QFI").await, Kind::BadRequest, "declared as qcow2");
    refused(put(storage, id(1), Raw, *b"").await, Kind::BadRequest, "empty");
    refused(put(storage, id(1), Qcow2, *b"").await, Kind::BadRequest, "empty");
    assert!(storage.list_images().await.unwrap().is_empty());
}

async fn an_upload_that_breaks_off_leaves_nothing(storage: &dyn Storage) {
    let broken = tokio_stream_of(vec![1; 3_000_000]);
    refused(storage.put_image(id(1), Raw, broken, 64 * MIB).await, Kind::BadRequest, "broke off");
    assert!(storage.list_images().await.unwrap().is_empty());
    put(storage, id(1), Raw, *b"whole").await.unwrap();
}

/// These bytes, and then an error.
fn tokio_stream_of(bytes: Vec<u8>) -> hanse_storage::ByteStream {
    Box::new(std::io::Cursor::new(bytes).chain(Broken))
}

struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
    }
}

async fn of_two_uploads_of_one_image_at_once_one_is_refused(storage: &dyn Storage) {
    let (sender, receiver) = tokio::io::duplex(1024);
    let first = storage.put_image(id(1), Raw, Box::new(receiver), MIB);
    let second = async {
        use tokio::io::AsyncWriteExt;
        let mut sender = sender;
        // More than the pipe holds, so the first upload has begun when this is through.
        sender.write_all(&[5; 4096]).await.unwrap();
        refused(put(storage, id(1), Raw, *b"second").await, Kind::Conflict, "is being uploaded");
        refused(storage.delete_image(id(1)).await, Kind::Conflict, "is being uploaded");
        refused(storage.show_image(id(1)).await, Kind::NotFound, "Image");
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.unwrap().size_bytes, 4096);
}

async fn a_deleted_image_is_gone_and_deleting_it_again_is_fine(storage: &dyn Storage) {
    put(storage, id(1), Raw, *b"first").await.unwrap();
    storage.delete_image(id(1)).await.unwrap();
    storage.delete_image(id(1)).await.unwrap();
    refused(storage.show_image(id(1)).await, Kind::NotFound, "Image");
    put(storage, id(1), Raw, *b"second").await.unwrap();
    assert_eq!(content(storage, id(1)).await, b"second");
}

async fn an_empty_disk_is_made_once_however_often_it_is_ensured(storage: &dyn Storage) {
    let first = storage.ensure_disk(id(2), &disk(MIB, None)).await.unwrap();
    assert_eq!((first.format, &first.backing), (Qcow2, &None));
    assert_eq!(storage.ensure_disk(id(2), &disk(MIB, None)).await.unwrap(), first);
    storage.ensure_disk(id(1), &disk(MIB, None)).await.unwrap();
    assert_eq!(storage.list_disks().await.unwrap(), [id(1), id(2)]);
}

async fn a_disk_is_made_over_its_image(storage: &dyn Storage) {
    put(storage, id(1), Qcow2, Forged::empty(MIB).0).await.unwrap();
    put(storage, id(2), Raw, vec![9; 1000]).await.unwrap();
    for (n, format) in [(1, Qcow2), (2, Raw)] {
        let made = storage.ensure_disk(id(n), &disk(2 * MIB, Some((id(n), format)))).await.unwrap();
        assert_eq!(made.backing.unwrap().format, format);
    }
    let wrong = disk(2 * MIB, Some((id(1), Raw)));
    refused(storage.ensure_disk(id(3), &wrong).await, Kind::BadRequest, "is qcow2");
    let absent = disk(2 * MIB, Some((id(9), Raw)));
    refused(storage.ensure_disk(id(3), &absent).await, Kind::NotFound, "Image");
    assert_eq!(storage.list_disks().await.unwrap(), [id(1), id(2)]);
}

async fn a_disk_smaller_than_its_image_is_refused_with_both_sizes(storage: &dyn Storage) {
    put(storage, id(1), Qcow2, Forged::empty(2 * MIB).0).await.unwrap();
    let small = disk(MIB, Some((id(1), Qcow2)));
    refused(storage.ensure_disk(id(1), &small).await, Kind::BadRequest, "1048576 bytes is too small");
    refused(storage.ensure_disk(id(1), &small).await, Kind::BadRequest, "2097152 bytes");
    assert!(storage.list_disks().await.unwrap().is_empty());
    storage.ensure_disk(id(1), &disk(2 * MIB, Some((id(1), Qcow2)))).await.unwrap();
}

async fn a_disk_grows_and_never_shrinks(storage: &dyn Storage) {
    refused(storage.resize_disk(id(1), MIB).await, Kind::NotFound, "Disk");
    storage.ensure_disk(id(1), &disk(2 * MIB, None)).await.unwrap();
    storage.resize_disk(id(1), 3 * MIB).await.unwrap();
    storage.resize_disk(id(1), 3 * MIB).await.unwrap();
    storage.ensure_disk(id(1), &disk(4 * MIB, None)).await.unwrap();
    refused(storage.resize_disk(id(1), 3 * MIB).await, Kind::BadRequest, "only grows");
    refused(storage.ensure_disk(id(1), &disk(MIB, None)).await, Kind::BadRequest, "4194304 bytes");
}

async fn a_disk_of_an_impossible_size_is_refused(storage: &dyn Storage) {
    for size in [0, 1, MIB + 1, (16 << 40) + 512, u64::MAX, u64::MAX - 511] {
        refused(storage.ensure_disk(id(1), &disk(size, None)).await, Kind::BadRequest, &size.to_string());
        refused(storage.resize_disk(id(1), size).await, Kind::BadRequest, &size.to_string());
    }
    storage.ensure_disk(id(1), &disk(16 << 40, None)).await.unwrap();
}

async fn a_disk_outlives_its_image(storage: &dyn Storage) {
    put(storage, id(1), Raw, vec![9; 1024]).await.unwrap();
    let wanted = disk(MIB, Some((id(1), Raw)));
    let made = storage.ensure_disk(id(2), &wanted).await.unwrap();
    storage.delete_image(id(1)).await.unwrap();
    assert_eq!(storage.ensure_disk(id(2), &wanted).await.unwrap(), made);
    storage.resize_disk(id(2), 2 * MIB).await.unwrap();
    refused(storage.ensure_disk(id(3), &wanted).await, Kind::NotFound, "Image");
}

async fn a_disk_is_not_made_twice_from_different_images(storage: &dyn Storage) {
    put(storage, id(1), Raw, vec![1; 1024]).await.unwrap();
    put(storage, id(2), Raw, vec![2; 1024]).await.unwrap();
    storage.ensure_disk(id(3), &disk(MIB, Some((id(1), Raw)))).await.unwrap();
    for other in [Some((id(2), Raw)), None] {
        refused(storage.ensure_disk(id(3), &disk(MIB, other)).await, Kind::Conflict, "another image");
    }
}

async fn a_removed_disk_is_gone_and_removing_it_again_is_fine(storage: &dyn Storage) {
    storage.ensure_disk(id(1), &disk(2 * MIB, None)).await.unwrap();
    storage.remove_disk(id(1)).await.unwrap();
    storage.remove_disk(id(1)).await.unwrap();
    assert!(storage.list_disks().await.unwrap().is_empty());
    storage.ensure_disk(id(1), &disk(MIB, None)).await.unwrap();
}

async fn many_disks_are_made_from_one_image_at_once(storage: &dyn Storage) {
    put(storage, id(1), Qcow2, Forged::empty(MIB).0).await.unwrap();
    let wanted = Arc::new(disk(MIB, Some((id(1), Qcow2))));
    // Each twice at once: the second finds what the first has made.
    let make = |n| {
        let wanted = wanted.clone();
        async move { storage.ensure_disk(id(n), &wanted).await.unwrap() }
    };
    let (a, b, c, d, e, f) = tokio::join!(make(1), make(1), make(2), make(2), make(3), make(3));
    assert!(a == b && c == d && e == f && a != c && c != e);
    assert_eq!(storage.list_disks().await.unwrap(), [id(1), id(2), id(3)]);
}

async fn usage_is_told(storage: &dyn Storage) {
    let usage = storage.usage().await.unwrap();
    assert!(usage.total_bytes > 0 && usage.free_bytes <= usage.total_bytes);
}

#[tokio::test]
async fn a_simulated_storage_fails_when_told_and_is_full_when_it_is() {
    let storage = Sim::with_capacity(1000);
    storage.fail_next(hanse_core::Error::unavailable("the disk is on fire"));
    refused(storage.list_disks().await, Kind::Unavailable, "on fire");
    assert!(storage.list_disks().await.unwrap().is_empty());
    put(&storage, id(1), Raw, vec![1; 600]).await.unwrap();
    refused(put(&storage, id(2), Raw, vec![1; 600]).await, Kind::Unavailable, "No space left");
    assert_eq!(storage.usage().await.unwrap().free_bytes, 400);
}
