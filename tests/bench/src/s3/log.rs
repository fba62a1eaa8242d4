//! The least that durable small writes can cost: a log that many append to and one of them syncs, for all that have
//! come meanwhile. No HTTP, no signature, no index.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Records that were handed in, and those that are on the disk.
    begun: u64,
    done: u64,
    offset: u64,
    is_syncing: bool,
}

/// How many records of `size` bytes reach the disk in a second, from so many writers at once.
pub fn rate(path: &Path, size: usize, writers: usize, seconds: f64) -> Result<f64> {
    let file = File::create(path)?;
    // Room that is there already: what is measured is data reaching the disk, not a file that grows.
    let blank = vec![0; 1 << 20];
    for number in 0..256 {
        file.write_all_at(&blank, number << 20)?;
    }
    file.sync_all()?;
    let (state, wake) = (Mutex::new(State::default()), Condvar::new());
    let record = vec![7; size];
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                scope.spawn(|| -> Result<u64> {
                    let mut count = 0;
                    while Instant::now() < end {
                        append(&file, &state, &wake, &record)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))))
            .collect()
    });
    let took = started.elapsed().as_secs_f64();
    let mut all = 0;
    for count in counts {
        all += count.context("a writer of the bare log")?;
    }
    std::fs::remove_file(path)?;
    Ok(all as f64 / took)
}

fn append(file: &File, state: &Mutex<State>, wake: &Condvar, record: &[u8]) -> Result<()> {
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    guard.waiting.extend_from_slice(record);
    guard.begun += 1;
    let mine = guard.begun;
    while guard.done < mine {
        if guard.is_syncing {
            guard = wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        guard.is_syncing = true;
        let (batch, upto) = (std::mem::take(&mut guard.waiting), guard.begun);
        if guard.offset + batch.len() as u64 > 256 << 20 {
            guard.offset = 0;
        }
        let offset = guard.offset;
        guard.offset += batch.len() as u64;
        drop(guard);
        let written = file.write_all_at(&batch, offset).and_then(|()| file.sync_data());
        guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        guard.is_syncing = false;
        guard.done = upto;
        wake.notify_all();
        written?;
    }
    Ok(())
}
