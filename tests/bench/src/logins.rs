//! Logins, which are a password hash and little else.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hanse_core::{Cx, Secret};
use hanse_crypto::{PasswordConfig, PasswordHasher};

use crate::client::{Api, Cost};
use crate::figures::{Amount, Line, quantile};
use crate::{Options, ROUNDS};

/// One after another: several at once would wait for each other's hashes, and tell about the queue. A login and a bare hash
/// take turns, so that both run after the same rest and with as cold a cache.
pub async fn measure(api: &Api, options: &Options) -> Result<Vec<Line>> {
    let login = api.login("hanse");
    let times = options.each_round(100);
    let mut bare = Bare::start().await?;
    let mut cost = Cost::default();
    for _ in 0..ROUNDS {
        let mut round = Duration::ZERO;
        api.alternate(&login, times, &mut cost, async || {
            round += bare.verify().await?;
            Ok(())
        })
        .await?;
        bare.cpu.push(round.div_f64(times as f64));
    }
    let hash = "the Argon2id hash alone";
    let own = |share| Amount::millis(quantile(&bare.latencies, share));
    Ok(vec![
        Line::new(
            "Log in: server CPU",
            Amount::median_millis(&cost.cpu),
            hash,
            Amount::median_millis(&bare.cpu),
        ),
        Line::new("Log in: latency p50, one connection", Amount::millis(cost.p50()), hash, own(0.50)),
        Line::new("Log in: latency p99, one connection", Amount::millis(cost.p99()), hash, own(0.99)),
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
    async fn verify(&mut self) -> Result<Duration> {
        let (start, before) = (Instant::now(), own_cpu()?);
        let password = Secret::new(Bare::PASSWORD.to_owned());
        if !self.hasher.verify(password, Some(self.hash.clone())).await?.is_match() {
            bail!("a password does not match its own hash");
        }
        self.latencies.push(start.elapsed());
        Ok(own_cpu()?.saturating_sub(before))
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
