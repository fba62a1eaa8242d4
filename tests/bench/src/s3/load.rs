//! Requests of one kind, from so many clients at once for a while.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::client::{Connection, Payload, Target};
use crate::figures::quantile;
use crate::process::cpu;

/// How long each kind of request is made in each round.
pub const SECONDS: f64 = 2.0;
pub const KIB: usize = 1024;
pub const LARGE: usize = 64 * KIB * KIB;

/// What one kind of request took in one round.
pub struct Round {
    /// Requests in a second.
    pub rate: f64,
    /// Processor time of the server for one request.
    pub cpu: Duration,
    pub latencies: Vec<Duration>,
}

impl Round {
    pub fn quantile(&self, share: f64) -> Duration {
        quantile(&self.latencies, share)
    }
}

/// Makes requests from so many threads until the time is over. `work` gets the number of the request.
fn load(
    target: &Target,
    clients: usize,
    work: impl Fn(&mut Connection<'_>, u64) -> Result<Duration> + Sync,
) -> Result<Round> {
    let number = AtomicU64::new(0);
    let spent = || target.processes.iter().map(|pid| cpu(*pid)).sum::<Result<Duration>>();
    let before = spent()?;
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(SECONDS);
    let results: Vec<Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let client = || -> Result<Vec<Duration>> {
            let mut connection = Connection::open(target)?;
            let mut latencies = Vec::new();
            while Instant::now() < end {
                latencies.push(work(&mut connection, number.fetch_add(1, Relaxed))?);
            }
            Ok(latencies)
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
            .collect()
    });
    let took = started.elapsed();
    let mut latencies = Vec::new();
    for of_client in results {
        latencies.extend(of_client?);
    }
    let done = latencies.len();
    let cpu = spent()?.saturating_sub(before).div_f64(done.max(1) as f64);
    Ok(Round { rate: done as f64 / took.as_secs_f64(), cpu, latencies })
}

/// Objects of one size in the bucket `bench`.
pub struct Objects {
    pub size: usize,
    payloads: Vec<Payload>,
    /// How many are written before the first is written again.
    written: u64,
    /// How many are read, one after the other.
    read: u64,
}

impl Objects {
    pub fn small(size: usize) -> Result<Objects> {
        let payloads = (0..64).map(|number| Payload::of(size, number)).collect::<Result<_>>()?;
        Ok(Objects { size, payloads, written: u64::MAX, read: 50 })
    }

    pub fn large() -> Result<Objects> {
        let payloads = vec![Payload::of(LARGE, 1)?, Payload::of(LARGE, 2)?];
        Ok(Objects { size: LARGE, payloads, written: 8, read: 1 })
    }

    /// Writes, and then reads what the same round wrote.
    pub fn put_and_get(&self, target: &Target, clients: usize, round: usize) -> Result<(Round, Round)> {
        let key = |number: u64| format!("/bench/{}/{clients}/{round}/{number:09}", self.size);
        let puts = load(target, clients, |connection, number| {
            let payload = self.payloads.get(number as usize % self.payloads.len()).context("a payload")?;
            Ok(connection.send("PUT", &key(number % self.written), "", payload)?.0)
        })?;
        let there = self.read.min(puts.latencies.len() as u64).max(1);
        let gets = load(target, clients, |connection, number| {
            Ok(connection.ask("GET", &key(number % there), "")?.0)
        })?;
        Ok((puts, gets))
    }
}

/// A bucket that is listed, with so many empty objects.
pub struct Listed {
    bucket: String,
    size: u64,
}

impl Listed {
    pub fn fill(target: &Target, size: u64) -> Result<Listed> {
        let bucket = format!("/list-{size}");
        Connection::open(target)?.ask("PUT", &bucket, "")?;
        let (next, failed) = (AtomicU64::new(0), std::sync::Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let fill = || -> Result<()> {
                        let mut connection = Connection::open(target)?;
                        loop {
                            let number = next.fetch_add(1, Relaxed);
                            if number >= size {
                                return Ok(());
                            }
                            connection.ask("PUT", &format!("{bucket}/key-{number:09}"), "")?;
                        }
                    };
                    if let (Err(error), Ok(mut failed)) = (fill(), failed.lock()) {
                        *failed = Some(error);
                    }
                });
            }
        });
        match failed.into_inner() {
            Ok(Some(error)) => Err(error.context("filling a bucket")),
            _ => Ok(Listed { bucket, size }),
        }
    }

    /// One client asks for a thousand keys from the middle.
    pub fn list(&self, target: &Target) -> Result<Round> {
        let query = match self.size {
            1000 => "list-type=2&max-keys=1000".to_owned(),
            size => format!("list-type=2&max-keys=1000&start-after=key-{:09}", size / 2),
        };
        load(target, 1, |connection, _| Ok(connection.ask("GET", &self.bucket, &query)?.0))
    }
}
