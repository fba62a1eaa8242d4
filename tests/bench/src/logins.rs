//! Logins, which are a password hash and little else: one after another, and several at once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use hanse_core::{Cx, Secret};
use hanse_crypto::{PasswordConfig, PasswordHasher};

use crate::client::{Api, CONNECTIONS, Cost};
use crate::figures::{Amount, Line, quantile};
use crate::{Options, ROUNDS};

const HASH: &str = "the Argon2id hash alone";

pub async fn measure(api: &Api, options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::from(one_by_one(api, options).await?);
    lines.extend(at_once(api, options).await?);
    Ok(lines)
}

/// A login and a bare hash take turns, so that both run after the same rest and with as cold a cache.
async fn one_by_one(api: &Api, options: &Options) -> Result<[Line; 3]> {
    let login = api.login("hanse");
    let times = options.each_round(100);
    let mut bare = Bare::start().await?;
    let mut cost = Cost::default();
    for _ in 0..ROUNDS {
        let mut round = Duration::ZERO;
        api.alternate(&login, times, &mut cost, async || {
            round += bare.timed().await?;
            Ok(())
        })
        .await?;
        bare.cpu.push(round.div_f64(times as f64));
    }
    let own = |share| Amount::millis(quantile(&bare.latencies, share));
    Ok([
        Line::new(
            "Log in: server CPU",
            Amount::median_millis(&cost.cpu),
            HASH,
            Amount::median_millis(&bare.cpu),
        ),
        Line::new("Log in: latency p50, one connection", Amount::millis(cost.p50()), HASH, own(0.50)),
        Line::new("Log in: latency p99, one connection", Amount::millis(cost.p99()), HASH, own(0.99)),
    ])
}

/// The threads that hash never wait for work. Latencies tell about the queue only, so none are shown.
async fn at_once(api: &Api, options: &Options) -> Result<[Line; 2]> {
    let login = api.login("hanse");
    let times = options.each_round(100);
    let mut bare = Bare::start().await?;
    let (mut cost, mut took, mut took_bare) = (Cost::default(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        api.load(&login, times, CONNECTIONS, &mut cost).await?;
        took.push(start.elapsed().div_f64(times as f64));

        let (start, before) = (Instant::now(), own_cpu()?);
        bare.verify_at_once(times, CONNECTIONS).await?;
        took_bare.push(start.elapsed().div_f64(times as f64));
        bare.cpu.push(own_cpu()?.saturating_sub(before).div_f64(times as f64));
    }
    Ok([
        Line::new(
            format!("Log in, {CONNECTIONS} at once: server CPU"),
            Amount::median_millis(&cost.cpu),
            HASH,
            Amount::median_millis(&bare.cpu),
        ),
        Line::new(
            format!("Log in, {CONNECTIONS} at once: time for each"),
            Amount::median_millis(&took),
            HASH,
            Amount::median_millis(&took_bare),
        ),
    ])
}

/// The same hash in this process, with the parameters that the cloud has by default.
struct Bare {
    hasher: PasswordHasher,
    hash: String,
    cpu: Vec<Duration>,
    latencies: Vec<Duration>,
}

impl Bare {
    const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

    async fn start() -> Result<Bare> {
        let cx = Cx::system();
        let hasher = PasswordHasher::start(&cx, &PasswordConfig::default())?;
        let hash = hasher.hash(&cx, Secret::new(Bare::PASSWORD.to_owned())).await?;
        Ok(Bare { hasher, hash, cpu: Vec::new(), latencies: Vec::new() })
    }

    /// One hash; returns the processor time that this process used meanwhile.
    async fn timed(&mut self) -> Result<Duration> {
        let (start, before) = (Instant::now(), own_cpu()?);
        self.verify().await?;
        self.latencies.push(start.elapsed());
        Ok(own_cpu()?.saturating_sub(before))
    }

    async fn verify_at_once(&self, times: usize, at_once: usize) -> Result<()> {
        stream::iter(0..times).map(|_| self.verify()).buffer_unordered(at_once).try_collect().await
    }

    async fn verify(&self) -> Result<()> {
        let password = Secret::new(Bare::PASSWORD.to_owned());
        if !self.hasher.verify(password, Some(self.hash.clone())).await?.is_match() {
            bail!("a password does not match its own hash");
        }
        Ok(())
    }
}

/// Of all threads of this process; finer than what the kernel tells of others. Source: proc(5), `schedstat`.
fn own_cpu() -> Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // One that has just ended is not there any more.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
