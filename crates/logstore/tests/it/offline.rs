//! The check, the repair, copies and putting them back.

use std::path::Path;
use std::sync::Arc;

use hanse_core::{Cx, Kind};
use hanse_logstore::{DAMAGED, Disk, Repair, Sim, Store, check, restore};

use crate::scratch::{bytes, delete, open, options, put, read};

const ROOT: &str = "/store";

fn examine(sim: &Sim, repair: Repair) -> hanse_logstore::Report {
    check(Path::new(ROOT), &options(Arc::new(sim.clone())), repair).unwrap()
}

async fn filled(sim: &Sim) -> Store {
    let store = open(Arc::new(sim.clone()));
    for n in 0..60 {
        put(&store, &format!("{n:02}"), "value", bytes(n, 9000)).await.unwrap();
    }
    put(&store, "large", "value", bytes(99, 200_000)).await.unwrap();
    for n in 0..20 {
        delete(&store, &format!("{n:02}")).await.unwrap();
    }
    store
}

#[tokio::test]
async fn a_sound_store_is_found_sound_and_an_open_one_is_left_alone() {
    let sim = Sim::new();
    let store = filled(&sim).await;
    let refused = check(Path::new(ROOT), &options(Arc::new(sim.clone())), Repair::default());
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    store.close().await;
    for repair in [Repair::default(), Repair { rebuild_index: true, ..Repair::default() }, Repair::default()]
    {
        let report = examine(&sim, repair);
        assert!(report.is_sound(), "{report:?}");
        assert_eq!((report.records, report.payloads, report.orphans.len()), (41, 41, 0));
    }
    let store = open(Arc::new(sim));
    assert!(read(&store.view().unwrap(), "59").await.unwrap().unwrap() == bytes(59, 9000));
}

#[tokio::test]
async fn the_check_names_what_is_damaged_and_what_nobody_needs() {
    let sim = Sim::new();
    let store = filled(&sim).await;
    let stray = store.view().unwrap().get(b"large").unwrap().unwrap().payloads[0];
    store.close().await;
    // A payload that nobody named, as a crash leaves it.
    let mut id = *stray.as_bytes();
    id[0] ^= 1;
    let id = hanse_logstore::PayloadId::from_bytes(id);
    let directory = Path::new(ROOT).join("extents").join(format!("{:02x}", id.as_bytes()[15]));
    sim.open(&directory.join(id.to_string()), hanse_logstore::Access::Create).unwrap();
    let large = directory.join(stray.to_string());
    sim.flip(&large, 100_000, 0);
    let report = examine(&sim, Repair { remove_orphans: true, ..Repair::default() });
    assert_eq!(report.orphans, [id]);
    assert_eq!(report.damages.iter().filter_map(|damage| damage.payload).collect::<Vec<_>>(), [stray]);
    assert!(examine(&sim, Repair::default()).orphans.is_empty());
}

#[tokio::test]
async fn a_lost_part_of_the_log_stops_writes_until_the_loss_is_accepted() {
    let sim = Sim::new();
    let store = open(Arc::new(sim.clone()));
    for n in 0..10 {
        put(&store, &format!("{n}"), "old", bytes(n, 100)).await.unwrap();
    }
    // Nothing of this is in the index on the disk.
    sim.crash_after(0);
    drop(store);
    let sim = sim.reboot(|_| 0);
    let log = Path::new("/store/log/0000000000000001.segment");
    let mut content = vec![0; 16_384];
    sim.open(log, hanse_logstore::Access::Read).unwrap().read_at(0, &mut content).unwrap();
    let frames: Vec<usize> =
        (4096..16_000).step_by(8).filter(|at| content[*at..].starts_with(b"HLF1")).collect();
    assert_eq!(frames.len(), 10);
    // The header of the frame of "4" is unreadable; that of "5" tells whose it was.
    sim.flip(log, frames[4] as u64 + 20, 0);

    let store = open(Arc::new(sim.clone()));
    let view = store.view().unwrap();
    assert_eq!(view.get(b"4").unwrap_err().name(), Some(DAMAGED));
    for n in [0, 3, 5, 9] {
        assert!(read(&view, &n.to_string()).await.unwrap().unwrap() == bytes(n, 100));
    }
    assert!(view.get(b"never").unwrap().is_none());
    assert_eq!(
        view.scan(..).unwrap().filter(Result::is_err).count(),
        1,
        "the listing says that it may lack something"
    );
    assert_eq!(put(&store, "x", "", bytes(1, 1)).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(store.damaged().unwrap().len(), 1);
    drop(view);
    store.close().await;

    assert!(!examine(&sim, Repair::default()).is_sound());
    assert!(!examine(&sim, Repair { accept_loss: true, ..Repair::default() }).is_sound());
    let store = open(Arc::new(sim));
    let view = store.view().unwrap();
    assert!(view.get(b"4").unwrap().is_none());
    assert_eq!(view.scan(..).unwrap().count(), 9);
    put(&store, "4", "new", bytes(44, 100)).await.unwrap();
    assert!(read(&store.view().unwrap(), "4").await.unwrap().unwrap() == bytes(44, 100));
}

#[tokio::test]
async fn a_damaged_index_is_made_again() {
    let sim = Sim::new();
    filled(&sim).await.close().await;
    let size = sim.files().iter().find(|(name, _)| name.ends_with("index")).unwrap().1;
    for offset in (4096..size).step_by(1024) {
        sim.flip(Path::new("/store/index"), offset, 0);
    }
    let store = open(Arc::new(sim));
    let view = store.view().unwrap();
    assert_eq!(view.scan(..).unwrap().map(Result::unwrap).count(), 41);
    assert!(read(&view, "large").await.unwrap().unwrap() == bytes(99, 200_000));
    assert_eq!(store.damaged().unwrap().len(), 1);
}

#[tokio::test]
async fn a_copy_is_of_one_moment_while_writing_goes_on() {
    let sim = Sim::new();
    let store = filled(&sim).await;
    let target = Path::new("/copies/1");
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                // Both or neither.
                let staged = crate::scratch::stage(&store, bytes(n, 5000)).await.unwrap();
                store
                    .write(move |change| {
                        let id = change.attach(staged);
                        change.put(b"twin/a", n.to_string(), &[id])?;
                        change.put(b"twin/b", n.to_string(), &[id])
                    })
                    .await
                    .unwrap();
                delete(&store, &format!("{:02}", 20 + n % 20)).await.unwrap();
                store.compact().await.unwrap();
            }
        })
    };
    while store.view().unwrap().get(b"twin/a").unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let copied = store.backup(target).await.unwrap();
    assert_eq!(copied.extents, 1);
    assert_eq!(store.backup(target).await.unwrap_err().kind(), Kind::Conflict);
    writing.await.unwrap();
    store.close().await;

    let back = Path::new("/back");
    let options = options(Arc::new(sim.clone()));
    let report = restore(target, back, &options).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let store = Store::open(&Cx::system(), back, options.clone()).unwrap();
    let view = store.view().unwrap();
    let twins = [b"twin/a", b"twin/b"].map(|key| view.get(key).unwrap().unwrap().value);
    assert_eq!(twins[0], twins[1]);
    let n: u64 = std::str::from_utf8(&twins[0]).unwrap().parse().unwrap();
    assert!(read(&view, "twin/a").await.unwrap().unwrap() == bytes(n, 5000));
    assert!(read(&view, "large").await.unwrap().unwrap() == bytes(99, 200_000));
    assert!(read(&view, "59").await.unwrap().unwrap() == bytes(59, 9000));
    put(&store, "on", "", bytes(1, 10)).await.unwrap();

    // A copy that was cut off is none.
    sim.remove(&target.join("complete")).unwrap();
    assert_eq!(restore(target, Path::new("/other"), &options).unwrap_err().kind(), Kind::Conflict);
}
