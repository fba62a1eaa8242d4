//! Durable puts beside a bare group-commit log on the same disk, listings, opening and memory.
//!
//! `cargo run --release -p hanse-logstore --example bench -- DIRECTORY [SECONDS] [RECORDS]`; the directory is made and
//! removed.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanse_core::{Cx, Result};
use hanse_logstore::{AsIs, Options, Store};

/// Metadata of a usual object.
const VALUE: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().map_or("target/logstore-bench", String::as_str).to_owned();
    let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let records: u64 = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let directory = Path::new(&directory);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "| durable puts | bare log /s (p99 ms) | store /s (p99 ms) | ratio |\n| --- | --- | --- | --- |"
    );
    for size in [4 << 10, 64 << 10] {
        for writers in writers() {
            let bare = bare(directory, size, writers, seconds);
            let store = runtime.block_on(puts(directory, size, writers, seconds));
            println!(
                "| {} KiB, {writers} writers | {:.0} ({:.2}) | {:.0} ({:.2}) | {:.2} |",
                size >> 10,
                bare.0,
                bare.1,
                store.0,
                store.1,
                store.0 / bare.0
            );
        }
    }
    runtime.block_on(listings(directory, records)).unwrap();
    let _ = std::fs::remove_dir_all(directory);
}

/// Operations in a second, and the 99th percentile of their times in milliseconds.
fn rates(mut times: Vec<Duration>, seconds: f64) -> (f64, f64) {
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    (times.len() as f64 / seconds, p99.as_secs_f64() * 1000.0)
}

/// A log with group commit and nothing else: one thread writes what waits and syncs.
struct Bare {
    waiting: Mutex<(Vec<u8>, u64)>,
    arrived: Condvar,
    durable: Mutex<u64>,
    synced: Condvar,
}

fn bare(directory: &Path, size: usize, writers: usize, seconds: f64) -> (f64, f64) {
    std::fs::create_dir_all(directory).unwrap();
    let path = directory.join("bare");
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..512).for_each(|n| file.write_all_at(&zeros, n << 20).unwrap());
    file.sync_all().unwrap();
    let log = Arc::new(Bare {
        waiting: Mutex::default(),
        arrived: Condvar::new(),
        durable: Mutex::default(),
        synced: Condvar::new(),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (log, stop) = (log.clone(), stop.clone());
        std::thread::spawn(move || write_bare(&log, &stop, &file))
    };
    let started = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let (log, stop) = (log.clone(), stop.clone());
            let payload = vec![7; size + VALUE];
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let mut waiting = log.waiting.lock().unwrap();
                    waiting.0.extend_from_slice(&payload);
                    waiting.1 += 1;
                    let mine = waiting.1;
                    drop(waiting);
                    log.arrived.notify_one();
                    let mut durable = log.durable.lock().unwrap();
                    while *durable < mine {
                        durable = log.synced.wait(durable).unwrap();
                    }
                    drop(durable);
                    times.push(start.elapsed());
                }
                times
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    stop.store(true, Ordering::Relaxed);
    let times = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let took = started.elapsed().as_secs_f64();
    log.arrived.notify_one();
    writer.join().unwrap();
    std::fs::remove_file(path).unwrap();
    rates(times, took)
}

fn write_bare(log: &Bare, stop: &AtomicBool, file: &File) {
    let mut offset = 0;
    loop {
        let mut waiting = log.waiting.lock().unwrap();
        while waiting.0.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            waiting = log.arrived.wait_timeout(waiting, Duration::from_millis(50)).unwrap().0;
        }
        let (bytes, last) = (std::mem::take(&mut waiting.0), waiting.1);
        drop(waiting);
        if offset + bytes.len() as u64 > 512 << 20 {
            offset = 0;
        }
        file.write_all_at(&bytes, offset).unwrap();
        file.sync_data().unwrap();
        offset += bytes.len() as u64;
        *log.durable.lock().unwrap() = last;
        log.synced.notify_all();
    }
}

fn open(directory: &Path) -> Store {
    Store::open(&Cx::system(), &directory.join("store"), Options::default()).unwrap()
}

async fn put(store: &Store, key: String, content: Bytes) -> Result<()> {
    let mut staging = store.stage(AsIs::default());
    staging.write(content).await?;
    let staged = staging.finish().await?;
    store
        .write(move |change| {
            let id = change.attach(staged);
            change.put(key.as_bytes(), vec![1; VALUE], &[id])
        })
        .await
}

async fn puts(directory: &Path, size: usize, writers: usize, seconds: f64) -> (f64, f64) {
    let store = open(directory);
    // Let the first whole segment be made ready.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let number = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let (store, number) = (store.clone(), number.clone());
        let content = Bytes::from(vec![writer as u8; size]);
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while started.elapsed().as_secs_f64() < seconds {
                let start = Instant::now();
                let n = number.fetch_add(1, Ordering::Relaxed);
                let key = format!("o/bucket/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                put(&store, key, content.clone()).await.unwrap();
                times.push(start.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = started.elapsed().as_secs_f64();
    store.close().await;
    std::fs::remove_dir_all(directory.join("store")).unwrap();
    rates(times, took)
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn listings(directory: &Path, records: u64) -> Result<()> {
    let mut store = open(directory);
    let mut there = 0;
    let mut next = 1000;
    println!(
        "\n| records | list 1,000 keys µs | get µs | open ms | memory MiB |\n| --- | --- | --- | --- | --- |"
    );
    while next <= records {
        while there < next {
            let count = (next - there).min(1000);
            store
                .write(move |change| {
                    for n in there..there + count {
                        let key = format!("o/bucket/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        change.put(key.as_bytes(), vec![1; VALUE], &[])?;
                    }
                    Ok(())
                })
                .await?;
            there += count;
        }
        store.close().await;
        let start = Instant::now();
        store = open(directory);
        let opened = start.elapsed();
        let mut lists = Vec::new();
        let mut gets = Vec::new();
        let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_u64);
        for round in 0..rounds {
            let from = format!("o/bucket/{:016x}", (round + 1).wrapping_mul(0x1234_5678_9abc_def1) >> 1);
            let start = Instant::now();
            let mut scan = store.view()?.scan_prefix(b"o/bucket/")?;
            scan.seek(from.as_bytes())?;
            let listed = scan
                .take(1000)
                .filter(|item| item.as_ref().is_ok_and(|(_, r)| r.value.len() == VALUE))
                .count();
            if listed >= 450 {
                lists.push(start.elapsed() * 1000 / listed as u32);
            }
            let key = format!("o/bucket/{:016x}", (round % there).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let start = Instant::now();
            assert!(store.view()?.get(key.as_bytes())?.is_some());
            gets.push(start.elapsed());
        }
        lists.sort_unstable();
        gets.sort_unstable();
        let median = |times: &[Duration]| times.get(times.len() / 2).map_or(0, Duration::as_micros);
        println!(
            "| {there} | {} | {} | {:.0} | {} |",
            median(&lists),
            median(&gets),
            opened.as_secs_f64() * 1000.0,
            memory()
        );
        next *= 10;
    }
    // What a killed process leaves: everything that was written, and an index that lacks the newest of it.
    for n in 0..20_u64 {
        let change = move |change: &mut hanse_logstore::Change<'_>| {
            (0..1000).try_for_each(|key| change.put(format!("n/{n}/{key}").as_bytes(), vec![1; VALUE], &[]))
        };
        store.write(change).await?;
    }
    let killed = directory.join("killed");
    let copied =
        std::process::Command::new("cp").arg("-r").arg(directory.join("store")).arg(&killed).status();
    assert!(copied.unwrap().success());
    store.close().await;
    let start = Instant::now();
    let store = Store::open(&Cx::system(), &killed, Options::default())?;
    let opened = start.elapsed();
    assert_eq!(store.view()?.scan_prefix(b"n/")?.count(), 20_000);
    println!(
        "\nOpened after a kill, with {there} records and 20,000 newer ones: {:.0} ms",
        opened.as_secs_f64() * 1000.0
    );
    store.close().await;
    Ok(())
}

/// How many write at once; `WRITERS` names other numbers.
fn writers() -> Vec<usize> {
    let named = std::env::var("WRITERS").unwrap_or_else(|_| "1,8,32".to_owned());
    named.split(',').filter_map(|text| text.parse().ok()).collect()
}
