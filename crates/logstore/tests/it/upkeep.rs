//! Compaction and the scrub.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hanse_core::{Cx, ManualClock, SeededRandom};
use hanse_logstore::{DAMAGED, Disk, Options, Sim, Store};

use crate::basic::eventually;
use crate::scratch::{bytes, delete, options, put, read};

fn segments(sim: &Sim) -> Vec<u64> {
    let names = sim.list(Path::new("/store/log")).unwrap();
    let mut numbers: Vec<u64> =
        names.iter().map(|name| u64::from_str_radix(name.split('.').next().unwrap(), 16).unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn open_by_hand(sim: &Sim) -> Store {
    let mut options = Options { checkpoint_bytes: 100_000, ..options(Arc::new(sim.clone())) };
    options.upkeep.automatic = false;
    Store::open(&Cx::system(), Path::new("/store"), options).unwrap()
}

#[tokio::test]
async fn compaction_gives_room_back_and_loses_nothing() {
    let sim = Sim::new();
    let store = open_by_hand(&sim);
    for n in 0..200 {
        put(&store, &format!("k/{n}"), "value", bytes(n, 8000)).await.unwrap();
    }
    put(&store, "large", "value", bytes(7, 100_000)).await.unwrap();
    let before = segments(&sim).len();
    for n in (0..200).filter(|n| n % 8 != 0) {
        delete(&store, &format!("k/{n}")).await.unwrap();
    }
    let gone = store.compact().await.unwrap();
    assert!(gone >= 4, "{gone} segments of {before}");
    assert!(segments(&sim).len() + 3 < before, "{:?}", segments(&sim));
    let view = store.view().unwrap();
    assert_eq!(view.scan(..).unwrap().count(), 26);
    for n in (0..200).step_by(8) {
        assert!(read(&view, &format!("k/{n}")).await.unwrap().unwrap() == bytes(n, 8000), "{n}");
    }
    assert!(read(&view, "large").await.unwrap().unwrap() == bytes(7, 100_000));
    drop(view);
    assert_eq!(store.scrub().await.unwrap(), 0);
    store.close().await;
    sim.remove(Path::new("/store/index")).unwrap();
    let store = open_by_hand(&sim);
    let view = store.view().unwrap();
    assert_eq!(view.scan(..).unwrap().count(), 26);
    assert!(read(&view, "k/8").await.unwrap().unwrap() == bytes(8, 8000));
    assert_eq!(store.damaged().unwrap(), []);
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_when_its_deletion_is_compacted() {
    let sim = Sim::new();
    let store = open_by_hand(&sim);
    put(&store, "old", "value", bytes(1, 100)).await.unwrap();
    // Keeps the first segment alive.
    for n in 0..15 {
        put(&store, &format!("keep/{n}"), "value", bytes(n, 15_000)).await.unwrap();
    }
    for round in 0..40 {
        put(&store, "churn", "value", bytes(round, 15_000)).await.unwrap();
        if round == 20 {
            delete(&store, "old").await.unwrap();
        }
    }
    assert!(store.compact().await.unwrap() > 0);
    assert!(segments(&sim).contains(&1), "the first segment lives");
    store.close().await;
    sim.remove(Path::new("/store/index")).unwrap();
    let store = open_by_hand(&sim);
    assert!(store.view().unwrap().get(b"old").unwrap().is_none());
    assert_eq!(store.view().unwrap().scan(..).unwrap().count(), 16);
}

#[tokio::test]
async fn readers_read_on_while_their_segment_is_compacted() {
    let sim = Sim::new();
    let store = open_by_hand(&sim);
    for n in 0..60 {
        put(&store, &format!("{n:02}"), "value", bytes(n, 10_000)).await.unwrap();
    }
    let view = store.view().unwrap();
    for n in 0..60 {
        delete(&store, &format!("{n:02}")).await.unwrap();
    }
    let id = view.get(b"05").unwrap().unwrap().payloads[0];
    let mut started = view.read(id, 0..10_000);
    assert!(store.compact().await.unwrap() > 0);
    assert!(segments(&sim).contains(&1), "somebody may still read it");
    for n in 0..60 {
        assert!(read(&view, &format!("{n:02}")).await.unwrap().unwrap() == bytes(n, 10_000));
    }
    drop(view);
    assert!(started.next().await.unwrap().unwrap() == bytes(5, 10_000));
    drop(started);
    eventually(|| !segments(&sim).contains(&1)).await;
}

#[tokio::test]
async fn the_scrub_finds_what_nobody_has_read_yet() {
    let sim = Sim::new();
    let store = open_by_hand(&sim);
    put(&store, "a", "value", bytes(1, 10_000)).await.unwrap();
    put(&store, "b", "value", bytes(2, 200_000)).await.unwrap();
    put(&store, "c", "value", bytes(3, 10_000)).await.unwrap();
    assert_eq!(store.scrub().await.unwrap(), 0);
    let extent = sim.files().into_iter().find(|(name, _)| name.starts_with("/store/extents")).unwrap().0;
    sim.flip(&extent, 150_000, 1);
    sim.flip(Path::new("/store/log/0000000000000001.segment"), 4096 + 2000, 1);
    assert_eq!(store.scrub().await.unwrap(), 2);
    let view = store.view().unwrap();
    let named: Vec<_> = store.damaged().unwrap().into_iter().filter_map(|damage| damage.payload).collect();
    for (key, damaged) in [("a", true), ("b", true), ("c", false)] {
        let id = view.get(key.as_bytes()).unwrap().unwrap().payloads[0];
        assert_eq!(named.contains(&id), damaged, "{key}");
        match read(&view, key).await {
            Ok(_) => assert!(!damaged),
            Err(error) => assert_eq!((damaged, error.name()), (true, Some(DAMAGED))),
        }
    }
    drop(view);
    // What is damaged can be deleted, and is not reported any more.
    delete(&store, "a").await.unwrap();
    delete(&store, "b").await.unwrap();
    assert_eq!(store.scrub().await.unwrap(), 0);
}

/// A process that is started every day has to scrub once a week, too.
#[tokio::test]
async fn the_scrub_comes_when_its_time_has_come_whichever_process_that_is() {
    let (sim, day) = (Sim::new(), Duration::from_secs(24 * 3600));
    let clock = Arc::new(ManualClock::at(Cx::system().now()));
    let cx = Cx::new(clock.clone(), Arc::new(SeededRandom::new(1)));
    let open = || {
        let mut options = options(Arc::new(sim.clone()));
        options.upkeep.scrub_every = 7 * day;
        Store::open(&cx, Path::new("/store"), options).unwrap()
    };
    let store = open();
    put(&store, "b", "value", bytes(2, 200_000)).await.unwrap();
    let extent = sim.files().into_iter().find(|(name, _)| name.starts_with("/store/extents")).unwrap().0;
    sim.flip(&extent, 150_000, 1);
    store.close().await;
    for _ in 0..6 {
        clock.advance(day);
        let store = open();
        assert_eq!(store.damaged().unwrap().len(), 0);
        store.close().await;
    }
    clock.advance(day);
    let store = open();
    eventually(|| !store.damaged().unwrap().is_empty()).await;
    store.close().await;
}
