//! What the public face promises.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use hanse_core::{Cx, Error, Kind};
use hanse_logstore::{Access, AsIs, Buffer, Disk, Options, PayloadId, Real, Sim, Store};

use crate::scratch::{bytes, delete, open, options, put, read, stage};

#[tokio::test]
async fn what_was_written_is_read_also_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = || options(Arc::new(Real));
    let store = Store::open(&Cx::system(), directory.path(), options()).unwrap();
    let sizes = [0, 1, 4096, 16 << 10, (16 << 10) + 1, 65_536, 200_000, 3_000_000];
    for (n, size) in sizes.into_iter().enumerate() {
        put(&store, &format!("o/{n}"), "meta", bytes(n as u64, size)).await.unwrap();
    }
    let store = {
        store.close().await;
        Store::open(&Cx::system(), directory.path(), options()).unwrap()
    };
    let view = store.view().unwrap();
    for (n, size) in sizes.into_iter().enumerate() {
        assert!(read(&view, &format!("o/{n}")).await.unwrap().unwrap() == bytes(n as u64, size), "{size}");
    }
    let id = view.get(b"o/7").unwrap().unwrap().payloads[0];
    for range in [0..1, 65_535..65_537, 100_000..2_500_000, 2_999_999..3_000_000, 5..5] {
        let pieces: Vec<Bytes> = view.read(id, range.clone()).try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= 256 << 10));
        assert!(pieces.concat() == bytes(7, 3_000_000)[range.start as usize..range.end as usize]);
    }
    let beyond: Result<Vec<Bytes>, Error> = view.read(id, 0..3_000_001).try_collect().await;
    assert_eq!(beyond.unwrap_err().kind(), Kind::BadRequest);
}

#[tokio::test]
async fn what_is_read_is_worked_on_piece_after_piece_until_the_work_fails() {
    let store = open(Arc::new(Sim::new()));
    let id = put(&store, "large", "", bytes(1, 1_000_000)).await.unwrap();
    let view = store.view().unwrap();
    let mut seen = 0;
    let mut reading = view.read_with(id, 10..1_000_000, move |mut piece| {
        seen += piece.len();
        piece.reverse();
        if seen > 600_000 { Err(Error::conflict("enough")) } else { Ok((seen, Bytes::from(piece))) }
    });
    let mut at = 10;
    while let Some(Ok((seen, piece))) = reading.next().await {
        let piece: Vec<u8> = piece.iter().rev().copied().collect();
        assert!(piece == bytes(1, 1_000_000)[at..at + piece.len()]);
        at += piece.len();
        assert_eq!(seen, at - 10);
    }
    assert!((300_000..600_010).contains(&at), "{at}");
    assert!(reading.next().await.is_none(), "it ends with the first error");
    let mut reading = view.read_with(id, 0..1_000_000, |_| -> Result<(), Error> { panic!("planned") });
    assert_eq!(reading.next().await.unwrap().unwrap_err().kind(), Kind::Internal);
    assert!(reading.next().await.is_none(), "nor is it begun again");
}

/// Where one thread does what takes its time, one thing after the other.
fn with_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(test);
}

#[test]
fn who_reads_slowly_keeps_neither_a_thread_nor_much_memory() {
    with_one_thread(async {
        let store = open(Arc::new(Sim::new()));
        let slow = put(&store, "slow", "", bytes(1, 4_000_000)).await.unwrap();
        put(&store, "fast", "", bytes(2, 4_000_000)).await.unwrap();
        let view = store.view().unwrap();
        let read_of_slow = Arc::new(AtomicUsize::new(0));
        let mut reading = view.read_with(slow, 0..4_000_000, counted(&read_of_slow));
        let first = reading.next().await.unwrap().unwrap();
        // The thread is free.
        assert!(read(&view, "fast").await.unwrap().unwrap() == bytes(2, 4_000_000));
        let read_ahead = read_of_slow.load(Relaxed) - 1;
        assert!((3..=4).contains(&read_ahead), "{read_ahead}: four before the first was taken, or since");
        let rest: Vec<Bytes> = reading.try_collect().await.unwrap();
        assert!([&[first], &rest[..]].concat().concat() == bytes(1, 4_000_000));
        assert_eq!(read_of_slow.load(Relaxed), 1 + rest.len(), "each is read once");
    });
}

#[test]
fn many_who_read_slowly_share_the_memory_for_reading_ahead() {
    with_one_thread(async {
        let options = Options { read_ahead: 1 << 20, ..options(Arc::new(Sim::new())) };
        let store = Store::open(&Cx::system(), Path::new("/store"), options).unwrap();
        let id = put(&store, "large", "", bytes(1, 4_000_000)).await.unwrap();
        let view = store.view().unwrap();
        let read = Arc::new(AtomicUsize::new(0));
        let readings: Vec<_> =
            (0..10).map(|_| view.read_with(id, 0..4_000_000, counted(&read)).boxed()).collect();
        // Whoever waited for the thread before has had it.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(
            read.load(Relaxed),
            4 + 9,
            "the first has four pieces of 256 KiB, and the others one each"
        );
        for reading in readings {
            let pieces: Vec<Bytes> = reading.try_collect().await.unwrap();
            assert!(pieces.concat() == bytes(1, 4_000_000));
        }
    });
}

#[test]
fn what_is_given_up_before_its_file_is_made_leaves_none() {
    with_one_thread(async {
        let disk = Sim::new();
        let store = open(Arc::new(disk.clone()));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || held.recv());
        let mut staging = store.stage(AsIs::default());
        staging.write(bytes(1, 2_000_000)).await.unwrap();
        drop(staging);
        // Were the file removed with what was dropped, that would have been done by now.
        tokio::time::sleep(Duration::from_millis(100)).await;
        release.send(()).unwrap();
        holder.await.unwrap().unwrap();
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        let is_there = || disk.files().iter().any(|(path, _)| path.starts_with("/store/extents"));
        let gone = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the file stays");
    });
}

/// Leaves pieces as they are, and counts them.
fn counted(read: &Arc<AtomicUsize>) -> impl FnMut(Buffer) -> Result<Bytes, Error> + Send + use<> {
    let read = read.clone();
    move |piece| {
        read.fetch_add(1, Relaxed);
        Ok(Bytes::from(piece))
    }
}

#[tokio::test]
async fn a_change_that_fails_or_panics_leaves_nothing() {
    let store = open(Arc::new(Sim::new()));
    put(&store, "a", "1", bytes(1, 10)).await.unwrap();
    let staged = stage(&store, bytes(2, 100_000)).await.unwrap();
    let failed = store
        .write(move |change| {
            let id = change.attach(staged);
            change.put(b"b", "2", &[id])?;
            change.delete(b"a")?;
            assert!(change.get(b"a")?.is_none());
            Err::<(), _>(Error::conflict("no"))
        })
        .await;
    assert_eq!(failed.unwrap_err().kind(), Kind::Conflict);
    let panicked = store
        .write(|change| {
            change.delete(b"a")?;
            if change.get(b"a")?.is_none() {
                panic!("planned");
            }
            Ok(())
        })
        .await;
    assert_eq!(panicked.unwrap_err().kind(), Kind::Internal);
    let view = store.view().unwrap();
    assert!(view.get(b"b").unwrap().is_none());
    assert!(read(&view, "a").await.unwrap().unwrap() == bytes(1, 10));
}

#[tokio::test]
async fn a_change_sees_itself_over_what_is_there() {
    let store = open(Arc::new(Sim::new()));
    for key in ["a", "c", "e"] {
        put(&store, key, "old", bytes(1, 3)).await.unwrap();
    }
    let seen = store
        .write(|change| {
            change.put(b"b", "new", &[])?;
            change.put(b"c", "new", &[])?;
            change.delete(b"e")?;
            change.delete(b"nothing")?;
            change.put(b"d", "new", &[])?;
            let all: Vec<_> = change.scan(..)?.collect::<Result<_, _>>()?;
            let part: Vec<_> = change
                .scan((Bound::Included(&b"b"[..]), Bound::Excluded(&b"d"[..])))?
                .collect::<Result<_, _>>()?;
            Ok((all, part))
        })
        .await
        .unwrap();
    let names = |list: &[(Vec<u8>, hanse_logstore::Record)]| {
        list.iter()
            .map(|(key, r)| format!("{}={}", key.escape_ascii(), r.value.escape_ascii()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&seen.0), ["a=old", "b=new", "c=new", "d=new"]);
    assert_eq!(names(&seen.1), ["b=new", "c=new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_has_what_was_answered_before_it_while_others_ask_for_views_all_the_time() {
    let store = open(Arc::new(Sim::new()));
    let done = Arc::new(AtomicUsize::new(0));
    let askers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done) = (store.clone(), done.clone());
            std::thread::spawn(move || {
                while done.load(Relaxed) < 300 {
                    let answered = done.load(Relaxed);
                    let found = store.view().unwrap().get(b"n").unwrap();
                    let there = found.map_or(0, |record| {
                        std::str::from_utf8(&record.value).unwrap().parse::<usize>().unwrap()
                    });
                    assert!(there >= answered, "{answered} was answered and {there} is there");
                }
            })
        })
        .collect();
    for n in 1..=300 {
        let value = n.to_string();
        store.write(move |change| change.put(b"n", value.clone(), &[])).await.unwrap();
        done.store(n, Relaxed);
    }
    askers.into_iter().for_each(|asker| asker.join().unwrap());
}

/// How it is told that no record names a payload.
fn gone(store: &Store, id: PayloadId) -> Kind {
    store.view().unwrap().payload_len(id).unwrap_err().kind()
}

#[tokio::test]
async fn a_view_stays_as_it_was_and_reads_what_was_deleted_since() {
    let sim = Sim::new();
    let store = open(Arc::new(sim.clone()));
    put(&store, "large", "", bytes(1, 300_000)).await.unwrap();
    put(&store, "small", "", bytes(2, 300)).await.unwrap();
    let view = store.view().unwrap();
    delete(&store, "large").await.unwrap();
    put(&store, "small", "", bytes(3, 300)).await.unwrap();
    assert!(read(&view, "large").await.unwrap().unwrap() == bytes(1, 300_000));
    assert!(read(&view, "small").await.unwrap().unwrap() == bytes(2, 300));
    let id = view.get(b"large").unwrap().unwrap().payloads[0];
    assert_eq!(gone(&store, id), Kind::NotFound);
    let extents = || sim.files().iter().filter(|(name, _)| name.starts_with("/store/extents")).count();
    assert_eq!(extents(), 1);
    drop(view);
    eventually(|| extents() == 0).await;
}

#[tokio::test]
async fn a_payload_lives_as_long_as_a_record_names_it() {
    let sim = Sim::new();
    let store = open(Arc::new(sim.clone()));
    let mut parts = Vec::new();
    for n in 0..3 {
        parts.push(put(&store, &format!("p/{n}"), "", bytes(n, 50_000)).await.unwrap());
    }
    // As completing a multipart upload does.
    let named = parts.clone();
    store
        .write(move |change| {
            for n in 0..3 {
                change.delete(format!("p/{n}").as_bytes())?;
            }
            change.put(b"o", "", &named[..2])
        })
        .await
        .unwrap();
    let extents = || sim.files().iter().filter(|(name, _)| name.starts_with("/store/extents")).count();
    eventually(|| extents() == 2).await;
    assert_eq!(gone(&store, parts[2]), Kind::NotFound);
    let lost = parts[2];
    assert!(store.write(move |change| change.put(b"x", "", &[lost])).await.is_err());
    // What was staged and never attached goes too.
    drop(stage(&store, bytes(9, 50_000)).await.unwrap());
    let staged = stage(&store, bytes(9, 50_000)).await.unwrap();
    store.write(move |change| Ok(change.attach(staged))).await.unwrap();
    eventually(|| extents() == 2).await;
    let view = store.view().unwrap();
    assert!(read(&view, "o").await.unwrap().unwrap() == bytes(0, 50_000));
}

#[tokio::test]
async fn a_scan_can_skip_what_has_a_common_prefix() {
    let store = open(Arc::new(Sim::new()));
    store
        .write(|change| {
            for n in 0..1000 {
                change.put(format!("a/{n:04}").as_bytes(), "", &[])?;
            }
            change.put(b"b", "", &[])?;
            change.put(b"c", "", &[])
        })
        .await
        .unwrap();
    let view = store.view().unwrap();
    let mut scan = view.scan((Bound::Included(&b"a"[..]), Bound::Excluded(&b"c"[..]))).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().0, b"a/0000");
    scan.seek(b"a0").unwrap();
    assert_eq!(scan.next().unwrap().unwrap().0, b"b");
    assert!(scan.next().is_none());
    assert_eq!(view.scan(..).unwrap().count(), 1002);
    // From the end as well, and until both ends meet.
    let mut scan = view.scan((Bound::Included(&b"a/0998"[..]), Bound::Excluded(&b"c"[..]))).unwrap();
    assert_eq!(scan.next_back().unwrap().unwrap().0, b"b");
    assert_eq!(scan.next().unwrap().unwrap().0, b"a/0998");
    assert_eq!(scan.next_back().unwrap().unwrap().0, b"a/0999");
    assert!(scan.next_back().is_none() && scan.next().is_none());
}

#[tokio::test]
async fn a_failed_sync_refuses_writes_until_the_store_is_opened_again() {
    let sim = Sim::new();
    let store = open(Arc::new(sim.clone()));
    put(&store, "a", "", bytes(1, 10)).await.unwrap();
    sim.fail_syncs(true);
    let error = put(&store, "b", "", bytes(2, 10)).await.unwrap_err();
    assert_eq!((error.kind(), error.name()), (Kind::Unavailable, Some(hanse_logstore::FAILED)));
    sim.fail_syncs(false);
    assert_eq!(put(&store, "c", "", bytes(3, 10)).await.unwrap_err().name(), Some(hanse_logstore::FAILED));
    assert!(read(&store.view().unwrap(), "a").await.unwrap().unwrap() == bytes(1, 10));
    store.close().await;
    let store = open(Arc::new(sim));
    put(&store, "c", "", bytes(3, 10)).await.unwrap();
    assert!(read(&store.view().unwrap(), "a").await.unwrap().unwrap() == bytes(1, 10));
}

#[tokio::test]
async fn a_store_is_open_once() {
    let sim = Sim::new();
    let store = open(Arc::new(sim.clone()));
    let again = Store::open(&Cx::system(), "/store".as_ref(), options(Arc::new(sim.clone())));
    assert_eq!(again.err().unwrap().kind(), Kind::Unavailable);
    drop(store);
    open(Arc::new(sim));
}

#[tokio::test]
async fn staged_bytes_in_memory_have_a_cap_that_nobody_waits_behind_for_ever() {
    let sim = Sim::new();
    let options = Options { memory: 20_000, ..options(Arc::new(sim.clone())) };
    let store = Store::open(&Cx::system(), "/store".as_ref(), options).unwrap();
    let mut held = Vec::new();
    for n in 0..10 {
        held.push((n, stage(&store, bytes(n, 9_000)).await.unwrap()));
    }
    // Two fit into the memory, the others are on the disk.
    let extents = sim.files().iter().filter(|(name, _)| name.starts_with("/store/extents")).count();
    assert_eq!(extents, 8);
    for (n, staged) in held {
        let key = format!("{n}").into_bytes();
        store
            .write(move |change| {
                let id = change.attach(staged);
                change.put(&key, "", &[id])
            })
            .await
            .unwrap();
    }
    let view = store.view().unwrap();
    for n in 0..10 {
        assert!(read(&view, &n.to_string()).await.unwrap().unwrap() == bytes(n, 9_000));
    }
}

pub async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(holds(), "it never came to hold");
}

#[tokio::test]
async fn a_first_segment_that_was_only_begun_is_made_again() {
    let sim = Sim::new();
    let log = Path::new("/store/log");
    sim.create_directory(log).unwrap();
    // As it is found when the process was killed before anything of it was on the disk.
    sim.open(&log.join("0000000000000001.segment"), Access::Create).unwrap();
    let store = open(Arc::new(sim.clone()));
    put(&store, "a", "1", bytes(1, 1000)).await.unwrap();
    store.close().await;
    sim.remove(Path::new("/store/index")).unwrap();
    let store = open(Arc::new(sim));
    assert!(read(&store.view().unwrap(), "a").await.unwrap().unwrap() == bytes(1, 1000));
    assert_eq!(store.scrub().await.unwrap(), 0, "{:?}", store.damaged());
}
