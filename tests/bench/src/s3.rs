//! Object storage: small and large objects and lists, each write durable, beside what the disk alone can do. Over plain
//! HTTP on loopback, with signed payloads whose hashes were computed beforehand.

mod client;
mod log;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hanse_e2e::Cloud;
use serde_json::Value;

use self::client::{Connection, Payload, Target};
use crate::client::Api;
use crate::figures::{Amount, Line, quantile};
use crate::process::{cpu, settled_pss};
use crate::{Options, ROUNDS, start};

const CLIENTS: [usize; 3] = [1, 8, 32];
/// Of each cell in each round.
const SECONDS: f64 = 2.0;
const KIB: usize = 1024;
const LARGE: usize = 64 * KIB * KIB;
const SETTINGS: &str = "\n[objectstore]\nlisten = \"127.0.0.1:8444\"\ntls = false\n";

/// What one kind of request took, over all rounds.
#[derive(Default)]
struct Cost {
    rates: Vec<f64>,
    /// Processor time of the server for one request, in each round.
    cpu: Vec<Duration>,
    latencies: Vec<Duration>,
}

/// Makes requests from so many threads until the time is over. `work` gets the number of the request.
fn load(
    target: &Target,
    clients: usize,
    cost: &mut Cost,
    work: impl Fn(&mut Connection<'_>, u64) -> Result<Duration> + Sync,
) -> Result<()> {
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
    let mut done = 0;
    for latencies in results {
        let latencies = latencies?;
        done += latencies.len();
        cost.latencies.extend(latencies);
    }
    cost.cpu.push(spent()?.saturating_sub(before).div_f64(done.max(1) as f64));
    cost.rates.push(done as f64 / took.as_secs_f64());
    Ok(())
}

/// Measures the cloud under test.
pub async fn measure(options: &Options) -> Result<Vec<Line>> {
    let cloud = Cloud::new("s3", &format!("{}{SETTINGS}", start::SIM));
    cloud.hanse_ok(&["up"]);
    // In the cloud's network namespace from here on, with all threads that are started.
    let api = Api::of(&cloud).await?;
    let idle = settled_pss(api.pid).await?;
    let made: Value = serde_json::from_str(&cloud.hanse_ok(&[
        "s3",
        "keys",
        "create",
        "--user",
        "demo",
        "--project",
        "demo",
        "--json",
    ]))?;
    let text = |name: &str| made[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    let target = Target {
        address: "127.0.0.1:8444".to_owned(),
        access: text("access")?,
        secret: text("secret")?,
        region: "regionone".to_owned(),
        processes: vec![api.pid],
    };
    let mut lines =
        vec![Line::alone("Memory (PSS) of the control plane with S3, idle", Amount::mebibytes(idle))];
    let log = cloud.file("log");
    let mut first = Connection::open(&target)?;
    first.ask("PUT", "/bench", "")?;
    for size in [4 * KIB, 64 * KIB] {
        lines.extend(small(&target, &log, size)?);
    }
    lines.extend(large(&target)?);
    lines.extend(lists(&target, options)?);
    let full = settled_pss(api.pid).await?;
    lines.push(Line::new(
        "Memory (PSS) of the control plane after all that",
        Amount::mebibytes(full),
        "before",
        Amount::mebibytes(idle),
    ));
    drop(api);
    cloud.hanse_ok(&["down"]);
    let started = Instant::now();
    cloud.hanse_ok(&["up"]);
    lines.push(Line::alone("`hanse up` with all these objects", Amount::seconds(started.elapsed())));
    Ok(lines)
}

fn small(target: &Target, log: &std::path::Path, size: usize) -> Result<Vec<Line>> {
    let payloads: Vec<Payload> = (0..64).map(|number| Payload::of(size, number)).collect();
    let payload = |number: u64| payloads.get(number as usize % payloads.len()).context("a payload");
    let mut lines = Vec::new();
    let title = |what: &str, clients: usize, figure: &str| {
        format!("{what} {} KiB, {clients} clients: {figure}", size / KIB)
    };
    for clients in CLIENTS {
        let (mut puts, mut gets, mut bare) = (Cost::default(), Cost::default(), Vec::new());
        for round in 0..ROUNDS {
            bare.push(log::rate(log, size, clients, SECONDS)?);
            load(target, clients, &mut puts, |connection, number| {
                let key = format!("/bench/{size}/{clients}/{round}/{number:09}");
                Ok(connection.send("PUT", &key, "", payload(number)?)?.0)
            })?;
            load(target, clients, &mut gets, |connection, number| {
                // All rounds have written these.
                let key = format!("/bench/{size}/{clients}/{}/{:09}", round, number % 50);
                Ok(connection.ask("GET", &key, "")?.0)
            })?;
        }
        let beside = "a bare group-commit log on this disk";
        lines.push(Line::new(
            title("PUT", clients, "rate"),
            Amount::median_rate(puts.rates.clone()),
            beside,
            Amount::median_rate(bare),
        ));
        for (what, cost) in [("PUT", &puts), ("GET", &gets)] {
            if what == "GET" {
                lines
                    .push(Line::alone(title(what, clients, "rate"), Amount::median_rate(cost.rates.clone())));
            }
            lines.push(Line::alone(title(what, clients, "server CPU"), Amount::median_micros(&cost.cpu)));
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let latency = Amount::micros(quantile(&cost.latencies, share));
                lines.push(Line::alone(title(what, clients, name), latency));
            }
        }
    }
    Ok(lines)
}

fn large(target: &Target) -> Result<Vec<Line>> {
    let payloads = [Payload::of(LARGE, 1), Payload::of(LARGE, 2)];
    let payload = |number: u64| payloads.get(number as usize % payloads.len()).context("a payload");
    let mut lines = Vec::new();
    for clients in [1, 8] {
        let (mut puts, mut gets) = (Cost::default(), Cost::default());
        for _ in 0..ROUNDS {
            load(target, clients, &mut puts, |connection, number| {
                Ok(connection.send("PUT", &format!("/bench/large/{}", number % 8), "", payload(number)?)?.0)
            })?;
            load(target, clients, &mut gets, |connection, _| {
                Ok(connection.ask("GET", "/bench/large/0", "")?.0)
            })?;
        }
        for (what, cost) in [("PUT", &puts), ("GET", &gets)] {
            let mebibytes = cost.rates.iter().map(|rate| rate * 64.0).collect();
            let title = |figure: &str| format!("{what} 64 MiB, {clients} clients: {figure}");
            lines.push(Line::alone(title("MiB"), Amount::median_rate(mebibytes)));
            lines.push(Line::alone(title("server CPU"), Amount::median_millis(&cost.cpu)));
        }
    }
    Ok(lines)
}

/// A thousand keys from the middle of buckets that grow.
fn lists(target: &Target, options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut smallest: Option<Amount> = None;
    let nothing = Payload::new(Vec::new());
    let mut total = 1000;
    let sizes = std::iter::from_fn(|| {
        let size = total;
        total *= 10;
        (size <= options.objects).then_some(size)
    });
    for size in sizes {
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
                            connection.send("PUT", &format!("{bucket}/key-{number:09}"), "", &nothing)?;
                        }
                    };
                    if let (Err(error), Ok(mut failed)) = (fill(), failed.lock()) {
                        *failed = Some(error);
                    }
                });
            }
        });
        if let Ok(Some(error)) = failed.into_inner() {
            return Err(error.context("filling a bucket"));
        }
        let mut cost = Cost::default();
        let query = format!("list-type=2&max-keys=1000&start-after=key-{:09}", size / 2);
        let query = if size == 1000 { "list-type=2&max-keys=1000".to_owned() } else { query };
        for _ in 0..ROUNDS {
            load(target, 1, &mut cost, |connection, _| Ok(connection.ask("GET", &bucket, &query)?.0))?;
        }
        let here = Amount::micros(quantile(&cost.latencies, 0.5));
        let title = format!("List 1,000 of {size} keys: p50");
        lines.push(match smallest {
            None => Line::alone(title, here),
            Some(smallest) => Line::new(title, here, "of 1,000 keys", smallest),
        });
        lines.push(Line::alone(format!("List 1,000 of {size} keys: rate"), Amount::median_rate(cost.rates)));
        lines.push(Line::alone(
            format!("List 1,000 of {size} keys: server CPU"),
            Amount::median_micros(&cost.cpu),
        ));
        smallest.get_or_insert(here);
    }
    Ok(lines)
}
