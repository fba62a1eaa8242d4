//! Object storage: small and large objects and lists, each write durable, beside what the disk alone can do. Over plain
//! HTTP on loopback, with signed payloads whose hashes were computed beforehand.

mod bounds;
mod client;
mod load;
mod log;
pub mod rgw;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hanse_core::Secret;
use hanse_e2e::Cloud;
use serde_json::Value;

use self::bounds::Bounds;
use self::client::{Connection, Target};
use self::load::{KIB, Listed, Objects, Round, SECONDS};
use crate::client::Api;
use crate::figures::{Amount, Line, quantile};
use crate::process::settled_pss;
use crate::{Options, ROUNDS, start};

const CLIENTS: [usize; 3] = [1, 8, 32];
const SIZES: [usize; 2] = [4 * KIB, 64 * KIB];
const LARGE_CLIENTS: [usize; 2] = [1, 8];
const SETTINGS: &str = "\n[objectstore]\nlisten = \"127.0.0.1:8444\"\ntls = false\n";

/// What is asked of object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Objects of 4 and 64 KiB
    Small,
    /// Objects of 64 MiB
    Large,
    /// Lists of 1,000 keys
    Lists,
}

impl Kind {
    fn is_wanted(self, options: &Options) -> bool {
        options.s3.is_empty() || options.s3.contains(&self)
    }
}

/// What one kind of request took, over all rounds.
#[derive(Default)]
struct Cost(Vec<Round>);

impl Cost {
    fn rates(&self) -> Vec<f64> {
        self.0.iter().map(|round| round.rate).collect()
    }

    fn cpu(&self) -> Vec<Duration> {
        self.0.iter().map(|round| round.cpu).collect()
    }

    fn quantile(&self, share: f64) -> Duration {
        let all: Vec<Duration> = self.0.iter().flat_map(|round| round.latencies.iter().copied()).collect();
        quantile(&all, share)
    }
}

/// Asks for keys of a cloud that runs, and makes the bucket.
fn target(cloud: &Cloud, api: &Api) -> Result<Target> {
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
    Target::new("127.0.0.1:8444", &made, vec![api.pid])
}

impl Target {
    /// Where keys, as JSON tells them, are good for; makes the bucket that is measured.
    fn new(address: &str, keys: &Value, processes: Vec<u32>) -> Result<Target> {
        let text = |name: &str| keys[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        let target = Target {
            address: address.to_owned(),
            access: text("access")?,
            secret: Secret::new(text("secret")?),
            region: "regionone".to_owned(),
            processes,
        };
        let mut first = Connection::open(&target)?;
        first.ask("PUT", "/bench", "")?;
        // Not counted: radosgw makes its pools with the first object.
        first.ask("PUT", "/bench/first", "")?;
        first.ask("GET", "/bench/first", "")?;
        Ok(target)
    }
}

/// Measures the cloud under test.
pub async fn measure(options: &Options) -> Result<Vec<Line>> {
    let cloud = Cloud::new("s3", &format!("{}{SETTINGS}", start::SIM));
    cloud.hanse_ok(&["up"]);
    // In the cloud's network namespace from here on, with all threads that are started.
    let api = Api::of(&cloud).await?;
    let idle = settled_pss(api.pid).await?;
    let target = target(&cloud, &api)?;
    let mut lines =
        vec![Line::alone("Memory (PSS) of the control plane with S3, idle", Amount::mebibytes(idle))];
    let log = cloud.file("log");
    if Kind::Small.is_wanted(options) {
        for size in SIZES {
            lines.extend(small(&target, &log, size)?);
        }
    }
    if Kind::Large.is_wanted(options) {
        lines.extend(large(&target, &cloud.file("bound"))?);
    }
    if Kind::Lists.is_wanted(options) {
        lines.extend(lists(&target, options)?);
    }
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
    let objects = Objects::small(size)?;
    let mut lines = Vec::new();
    let title = |what: &str, clients: usize, figure: &str| {
        format!("{what} {} KiB, {clients} clients: {figure}", size / KIB)
    };
    for clients in CLIENTS {
        let (mut puts, mut gets, mut bare) = (Cost::default(), Cost::default(), Vec::new());
        for round in 0..ROUNDS {
            bare.push(log::rate(log, size, clients, SECONDS)?);
            let (put, get) = objects.put_and_get(target, clients, round)?;
            puts.0.push(put);
            gets.0.push(get);
        }
        let beside = "a bare group-commit log on this disk";
        lines.push(Line::new(
            title("PUT", clients, "rate"),
            Amount::median_rate(puts.rates()),
            beside,
            Amount::median_rate(bare),
        ));
        for (what, cost) in [("PUT", &puts), ("GET", &gets)] {
            if what == "GET" {
                lines.push(Line::alone(title(what, clients, "rate"), Amount::median_rate(cost.rates())));
            }
            lines.push(Line::alone(title(what, clients, "server CPU"), Amount::median_micros(&cost.cpu())));
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let latency = Amount::micros(cost.quantile(share));
                lines.push(Line::alone(title(what, clients, name), latency));
            }
        }
    }
    Ok(lines)
}

fn large(target: &Target, file: &std::path::Path) -> Result<Vec<Line>> {
    let objects = Objects::large()?;
    let mut lines = Vec::new();
    for clients in LARGE_CLIENTS {
        let (mut puts, mut gets, mut bounds) = (Cost::default(), Cost::default(), Vec::new());
        for _ in 0..ROUNDS {
            bounds.push(Bounds::measure(file)?);
            let (put, get) = objects.put_and_get(target, clients, 0)?;
            puts.0.push(put);
            gets.0.push(get);
        }
        let slowest = bounds.iter().map(Bounds::slowest).collect();
        let down = bounds.iter().map(|bound| bound.down).collect();
        for (what, cost, beside, bound) in [
            ("PUT", &puts, "the slowest of disk, MD5 and loopback", slowest),
            ("GET", &gets, "loopback alone", down),
        ] {
            let mebibytes = cost.rates().iter().map(|rate| rate * 64.0).collect();
            let title = |figure: &str| format!("{what} 64 MiB, {clients} clients: {figure}");
            lines.push(Line::in_turns(title("rate"), mebibytes, beside, bound, "MiB/s"));
            lines.push(Line::alone(title("server CPU"), Amount::median_millis(&cost.cpu())));
        }
    }
    Ok(lines)
}

/// A thousand keys from the middle of buckets that grow.
fn lists(target: &Target, options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut smallest: Option<Amount> = None;
    let mut total = 1000;
    let sizes = std::iter::from_fn(|| {
        let size = total;
        total *= 10;
        (size <= options.objects).then_some(size)
    });
    for size in sizes {
        let listed = Listed::fill(target, size)?;
        let cost = Cost((0..ROUNDS).map(|_| listed.list(target)).collect::<Result<_>>()?);
        let here = Amount::micros(cost.quantile(0.5));
        let title = format!("List 1,000 of {size} keys: p50");
        lines.push(match smallest {
            None => Line::alone(title, here),
            Some(smallest) => Line::new(title, here, "of 1,000 keys", smallest),
        });
        lines
            .push(Line::alone(format!("List 1,000 of {size} keys: rate"), Amount::median_rate(cost.rates())));
        lines.push(Line::alone(
            format!("List 1,000 of {size} keys: server CPU"),
            Amount::median_micros(&cost.cpu()),
        ));
        smallest.get_or_insert(here);
    }
    Ok(lines)
}
