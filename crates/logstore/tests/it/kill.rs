//! A real process on a real disk, killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hanse_core::Cx;
use hanse_logstore::{Options, Real, Store};

use crate::oracle::Dice;
use crate::scratch::{bytes, delete, options, put, read};

const ROUNDS: u64 = 12;

fn settings() -> Options {
    let mut options = Options { checkpoint_bytes: 300_000, ..options(Arc::new(Real)) };
    options.upkeep.live_ratio = 0.8;
    options
}

fn size(n: u64) -> usize {
    match n % 10 {
        0 => 100_000,
        n => n as usize * 700,
    }
}

#[test]
fn what_was_answered_survives_the_death_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(11);
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::the_writer_that_dies", "--ignored", "--nocapture"])
            .env("HANSE_TEST_STORE", directory.path())
            .env("HANSE_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let after = 20 + dice.roll(400);
        let mut seen = 0;
        for line in lines {
            let Ok(line) = line else { break };
            // Killed, it may leave half a line.
            let words: Vec<&str> = line.split(' ').collect();
            if let ["answered", n, "."] = words[..] {
                answered.push(n.parse::<u64>().unwrap());
                seen += 1;
            }
            if seen == after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen > 0, "the child has written nothing");
        let store = Store::open(&Cx::system(), directory.path(), settings()).unwrap();
        assert_eq!(store.damaged().unwrap(), []);
        let check = async {
            let view = store.view().unwrap();
            for n in &answered {
                let found = read(&view, &n.to_string()).await.unwrap();
                assert!(found.is_some_and(|found| found == bytes(*n, size(*n))), "round {round}: {n}");
            }
            // A number that was answered was deleted from here before.
            for item in view.scan_prefix(b"x/").unwrap() {
                let key = String::from_utf8(item.unwrap().0).unwrap();
                let n: u64 = key.rsplit('/').next().unwrap().parse().unwrap();
                assert!(!answered.contains(&n), "round {round}: {key} is there again");
            }
            drop(view);
            store.close().await;
        };
        tokio::runtime::Runtime::new().unwrap().block_on(check);
    }
    println!("{} answers in {ROUNDS} rounds", answered.len());
}

#[test]
#[ignore = "it is run by the test before, in a process of its own, and killed"]
fn the_writer_that_dies() {
    let Some(directory) = std::env::var_os("HANSE_TEST_STORE") else { return };
    let round: u64 = std::env::var("HANSE_TEST_ROUND").unwrap().parse().unwrap();
    let store = Store::open(&Cx::system(), Path::new(&directory), settings()).unwrap();
    let next = Arc::new(AtomicU64::new(round * 1_000_000));
    let work = async move {
        let upkeep = {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    store.compact().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (store, next) = (store.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        // Something for compaction to throw away.
                        put(&store, &format!("y/{writer}"), "", bytes(n, 12_000)).await.unwrap();
                        put(&store, &format!("x/{writer}/{n}"), "", bytes(n, 12_000)).await.unwrap();
                        delete(&store, &format!("x/{writer}/{n}")).await.unwrap();
                        put(&store, &n.to_string(), "", bytes(n, size(n))).await.unwrap();
                        let mut out = std::io::stdout().lock();
                        writeln!(out, "answered {n} .").unwrap();
                        out.flush().unwrap();
                    }
                })
            })
            .collect();
        // None of them ends before the process does.
        futures_util::future::join_all(writers).await;
        upkeep.await.unwrap();
    };
    tokio::runtime::Runtime::new().unwrap().block_on(work);
}
