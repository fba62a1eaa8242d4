//! The crash oracle: whatever the disk does with what was not synced, nothing that was answered is lost or torn; whatever
//! bits it flips, no read gives other bytes than were written, and what cannot be read is said to be damaged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use hanse_core::{Cx, Error, Result};
use hanse_logstore::{DAMAGED, Disk, Options, Sim, Store};

use crate::scratch::{bytes, delete, options, put, read};

/// Repeatable dice.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    /// A number below this.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below.max(1)
    }
}

/// What a key may hold: the last answered state, or that of any change since whose answer was an error.
#[derive(Clone, Debug, Default)]
struct Expected(Vec<Option<u64>>);

#[derive(Default)]
struct Model(BTreeMap<String, Expected>);

/// The content of a payload is made from its number.
fn content(number: u64) -> Bytes {
    let mut dice = Dice::new(number);
    let len = match dice.roll(8) {
        0 => 0,
        1..5 => dice.roll(3000),
        5..7 => dice.roll(30_000),
        _ => 60_000 + dice.roll(90_000),
    };
    bytes(number, len as usize)
}

fn settings(sim: &Sim, dice: &mut Dice) -> Options {
    let mut options = options(Arc::new(sim.clone()));
    // Often enough to have a checkpoint in the middle of most cycles.
    options.checkpoint_bytes = 1 << (12 + dice.roll(8));
    options.index_cache = 1 << 20;
    options.upkeep.live_ratio = 0.8;
    options
}

async fn open(sim: &Sim, dice: &mut Dice) -> Result<Store> {
    let (sim, options) = (sim.clone(), settings(sim, dice));
    let opened = tokio::task::spawn_blocking(move || {
        let _keep = &sim;
        Store::open(&Cx::system(), Path::new("/store"), options)
    });
    opened.await.unwrap()
}

impl Model {
    /// Several changes at once, each of keys of its own.
    async fn change(&mut self, store: &Store, dice: &mut Dice, number: &mut u64) {
        let mut jobs = Vec::new();
        for writer in 0..1 + dice.roll(6) {
            let key = format!("{writer}/{}", dice.roll(4));
            *number += 1;
            let state = (dice.roll(4) != 0).then_some(*number);
            let store = store.clone();
            jobs.push(async move {
                let done = match state {
                    Some(number) => put(&store, &key, &number.to_string(), content(number)).await.map(|_| ()),
                    None => delete(&store, &key).await,
                };
                (key, state, done)
            });
        }
        for (key, state, done) in join_all(jobs).await {
            let expected = self.0.entry(key).or_insert_with(|| Expected(vec![None]));
            if done.is_ok() {
                expected.0.clear();
            }
            expected.0.push(state);
        }
    }

    /// Checks all keys; what is there is what must be there from now on.
    async fn check(&mut self, store: &Store, context: &str) {
        let view = store.view().unwrap();
        let mut listed = BTreeMap::new();
        for item in view.scan(..).unwrap() {
            let (key, record) = item.unwrap();
            let number: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
            listed.insert(String::from_utf8(key).unwrap(), number);
        }
        for (key, expected) in &mut self.0 {
            let found = listed.remove(key);
            assert!(
                expected.0.contains(&found),
                "{context}: {key} is {found:?}, not one of {:?}",
                expected.0
            );
            if let Some(number) = found {
                let read = read(&view, key).await;
                assert!(read.unwrap().unwrap() == content(number), "{context}: {key} has other bytes");
            }
            expected.0 = vec![found];
        }
        assert!(listed.is_empty(), "{context}: nobody wrote {listed:?}");
        assert_eq!(store.damaged().unwrap(), [], "{context}");
    }

    /// Checks all keys where damage is allowed. Gives how many could not be told.
    async fn check_damaged(&self, store: &Store, context: &str) -> usize {
        let told = |error: &Error| assert_eq!(error.name(), Some(DAMAGED), "{context}: {error:?}");
        let view = match store.view() {
            Ok(view) => view,
            Err(error) => {
                told(&error);
                return self.0.len();
            }
        };
        let mut damaged = 0;
        let mut listed = BTreeMap::new();
        let mut complete = true;
        match view.scan(..) {
            Ok(scan) => {
                for item in scan {
                    match item {
                        Ok((key, record)) => {
                            listed.insert(String::from_utf8(key).unwrap(), record.value);
                        }
                        Err(error) => {
                            told(&error);
                            complete = false;
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                told(&error);
                complete = false;
            }
        }
        for (key, expected) in &self.0 {
            let record = match view.get(key.as_bytes()) {
                Ok(record) => record,
                Err(error) => {
                    told(&error);
                    damaged += 1;
                    continue;
                }
            };
            let number =
                record.map(|record| std::str::from_utf8(&record.value).unwrap().parse::<u64>().unwrap());
            assert!(
                expected.0.contains(&number),
                "{context}: {key} is {number:?}, not one of {:?}",
                expected.0
            );
            assert!(
                !complete || listed.contains_key(key) == number.is_some(),
                "{context}: {key} is not listed"
            );
            let Some(number) = number else { continue };
            match read(&view, key).await {
                Ok(read) => assert!(read.unwrap() == content(number), "{context}: {key} has other bytes"),
                Err(error) => {
                    told(&error);
                    damaged += 1;
                }
            }
        }
        damaged
    }
}

async fn crashes(seed: u64, cycles: usize) {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new();
    let mut model = Model::default();
    let mut number = 0;
    let (mut torn, mut interrupted, mut compacted) = (0, 0, 0);
    for cycle in 0..cycles {
        let context = format!("seed {seed}, cycle {cycle}");
        if cycle % 25 == 24 {
            (sim, model) = (Sim::new(), Model::default());
        }
        let steps = sim.steps() + dice.roll(220);
        sim.crash_after(steps - sim.steps());
        match open(&sim, &mut dice).await {
            Ok(store) => {
                while !sim.is_dead() && dice.roll(60) != 0 {
                    let busy = dice.roll(20) == 0;
                    let other = store.clone();
                    let compacting = busy.then(|| tokio::spawn(async move { other.compact().await }));
                    model.change(&store, &mut dice, &mut number).await;
                    if let Some(Ok(Ok(count))) = finished(compacting).await {
                        compacted += count;
                    }
                }
                if dice.roll(4) == 0 {
                    store.close().await;
                }
                torn += usize::from(sim.is_dead());
            }
            Err(error) => {
                assert!(sim.is_dead(), "{context}: {error:?}");
                interrupted += 1;
            }
        }
        sim = sim.reboot(|below| dice.roll(below));
        let store = open(&sim, &mut dice).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        model.check(&store, &context).await;
        store.close().await;
        if dice.roll(4) == 0 {
            // The log alone tells everything.
            sim.remove(Path::new("/store/index")).unwrap();
            let store = open(&sim, &mut dice).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            model.check(&store, &format!("{context}, from the log")).await;
            let count = store.scrub().await.unwrap();
            assert_eq!(count, 0, "{context}: {:?}", store.damaged());
            store.close().await;
        }
        if dice.roll(2) == 0 {
            sim = sim.reboot(|below| dice.roll(below));
        }
    }
    println!(
        "{cycles} cycles: {torn} crashes at work, {interrupted} while opening, {compacted} segments compacted"
    );
    assert!(torn > cycles / 3);
}

async fn finished<T>(task: Option<tokio::task::JoinHandle<T>>) -> Option<Result<T, tokio::task::JoinError>> {
    Some(task?.await)
}

async fn flips(seed: u64, cycles: usize) {
    let mut dice = Dice::new(seed);
    let (mut damaged, mut reported) = (0, 0);
    for cycle in 0..cycles {
        let context = format!("seed {seed}, cycle {cycle}");
        let mut sim = Sim::new();
        let mut model = Model::default();
        let mut number = 0;
        let mut flipped = Vec::new();
        let store = open(&sim, &mut dice).await.unwrap();
        for _ in 0..dice.roll(12) {
            model.change(&store, &mut dice, &mut number).await;
        }
        if dice.roll(2) == 0 {
            store.close().await;
        } else {
            // The very last batch cannot be told from a torn one, so it is not one that matters.
            put(&store, "seal", "0", content(0)).await.unwrap();
            sim.crash_after(0);
            drop(store);
            sim = sim.reboot(|_| 0);
        }
        let files: Vec<(PathBuf, u64)> = sim.files().into_iter().filter(|(_, size)| *size > 0).collect();
        let seal_at = last_frame(&sim);
        for _ in 0..1 + dice.roll(3) {
            let (path, size) = &files[dice.roll(files.len() as u64) as usize];
            // The end of a segment is blank; most flips should hit something.
            let reach = if path.extension().is_some() { seal_at.min(*size) } else { *size };
            let offset = if dice.roll(2) == 0 { dice.roll(reach) } else { dice.roll(reach.min(20_000)) };
            flipped.push((path.clone(), offset));
            sim.flip(path, offset, dice.roll(8) as u8);
        }
        match open(&sim, &mut dice).await {
            Ok(store) => {
                model.0.entry("seal".to_owned()).or_default().0.extend([None, Some(0)]);
                let context = format!("{context}, flipped {flipped:?}");
                let errors = model.check_damaged(&store, &context).await;
                damaged += errors;
                reported += store.damaged().map_or(1, |list| list.len());
            }
            Err(error) => assert_eq!(error.name(), Some(DAMAGED), "{context}: {error:?}"),
        }
    }
    println!("{cycles} cycles with flipped bits: {damaged} records could not be told, {reported} reports");
    assert!(damaged > 0 && reported > 0);
}

/// Where the last frame of the newest segment that was written to begins.
fn last_frame(sim: &Sim) -> u64 {
    use hanse_logstore::Access;
    let mut end = 4096;
    for (path, size) in sim.files() {
        if path.extension().is_none() {
            continue;
        }
        let mut content = vec![0; size as usize];
        sim.open(&path, Access::Read).unwrap().read_at(0, &mut content).unwrap();
        let frame = |at: &usize| content[*at..].starts_with(b"HLF1");
        if let Some(at) = (4096..content.len()).step_by(8).rfind(frame) {
            end = at as u64;
        }
    }
    end
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work);
}

/// More with `LOGSTORE_CYCLES`.
fn cycles(usual: usize) -> usize {
    std::env::var("LOGSTORE_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Others with `LOGSTORE_SEED`.
fn seed(usual: u64) -> u64 {
    std::env::var("LOGSTORE_SEED").ok().and_then(|n| n.parse::<u64>().ok()).map_or(usual, |n| 3 * n + usual)
}

#[test]
fn nothing_that_was_answered_is_lost_in_a_crash() {
    run(crashes(seed(1), cycles(500)));
}

#[test]
fn nothing_that_was_answered_is_lost_in_another_crash() {
    run(crashes(seed(2), cycles(500)));
}

#[test]
fn flipped_bits_are_reported_and_never_read() {
    run(flips(seed(3), cycles(400)));
}
