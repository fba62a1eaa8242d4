//! Object storage beside radosgw, in turns: the same requests from the same clients, on the same disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_e2e::Cloud;
use serde_json::Value;

use super::client::Target;
use super::load::{KIB, LARGE, Listed, Objects, Round};
use super::{CLIENTS, Kind, LARGE_CLIENTS, SETTINGS, SIZES};
use crate::client::Api;
use crate::figures::{Amount, Line};
use crate::process::{pss, tree};
use crate::{Options, ROUNDS, start};

const BESIDE: &str = "radosgw";

/// What each server is given to end what it does behind a request's back, before the other is asked.
const REST: Duration = Duration::from_millis(500);

/// A Ceph in the network namespace and the directory of a cloud, which is gone when this is dropped.
struct Node {
    directory: PathBuf,
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/ceph-node")
}

impl Node {
    fn up(cloud: &Cloud) -> Result<(Node, Target)> {
        let node = Node { directory: cloud.file("ceph") };
        let output = cloud
            .inside(program())
            .arg("up")
            .arg(&node.directory)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run scripts/ceph-node")?;
        if !output.status.success() {
            bail!("Ceph did not start");
        }
        let said: Value = serde_json::from_slice(&output.stdout)?;
        let address = said["address"].as_str().context("no address")?;
        let first = said["pid"].as_u64().context("no pid")?;
        let target = Target::new(address, &said, tree(u32::try_from(first)?))?;
        Ok((node, target))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let done = Command::new(program()).arg("down").arg(&self.directory).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("Ceph may still run: scripts/ceph-node down {}", self.directory.display());
        }
    }
}

/// The two that take turns.
struct Pair {
    hanse: Target,
    rgw: Target,
}

impl Pair {
    /// Lets one after the other do the work, in each round.
    async fn in_turns<T>(&self, mut work: impl FnMut(&Target, usize) -> Result<T>) -> Result<[Vec<T>; 2]> {
        let mut done = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (target, done) in [&self.hanse, &self.rgw].into_iter().zip(&mut done) {
                done.push(work(target, round)?);
                tokio::time::sleep(REST).await;
            }
        }
        Ok(done)
    }

    fn memory(&self, title: &str) -> Result<Line> {
        let of = |target: &Target| target.processes.iter().map(|pid| pss(*pid)).sum::<Result<u64>>();
        let (hanse, rgw) = (Amount::mebibytes(of(&self.hanse)?), Amount::mebibytes(of(&self.rgw)?));
        Ok(Line::new(title, hanse, BESIDE, rgw))
    }
}

pub async fn measure(options: &Options) -> Result<Vec<Line>> {
    let cloud = Cloud::new("rgw", &format!("{}{SETTINGS}", start::SIM));
    let installed = Command::new(program()).arg("install").status();
    if !installed.is_ok_and(|status| status.success()) {
        bail!("scripts/ceph-node cannot install Ceph");
    }
    let started = Instant::now();
    cloud.hanse_ok(&["up"]);
    let up = Amount::seconds(started.elapsed());
    // In the cloud's network namespace from here on, with all threads that are started.
    let api = Api::of(&cloud).await?;
    let started = Instant::now();
    let (_node, rgw) = Node::up(&cloud)?;
    let mut lines =
        vec![Line::new("Empty directory until S3 answers", up, BESIDE, Amount::seconds(started.elapsed()))];
    let pair = Pair { hanse: super::target(&cloud, &api)?, rgw };
    lines.push(pair.memory("Memory (PSS) before the load")?);
    let mut sizes: Vec<(Objects, &[usize])> = Vec::new();
    if Kind::Small.is_wanted(options) {
        for size in SIZES {
            sizes.push((Objects::small(size)?, &CLIENTS));
        }
    }
    if Kind::Large.is_wanted(options) {
        sizes.push((Objects::large()?, &LARGE_CLIENTS));
    }
    for (objects, clients) in &sizes {
        for clients in *clients {
            lines.extend(put_and_get(&pair, objects, *clients).await?);
        }
    }
    if Kind::Lists.is_wanted(options) {
        let listed = Listed::fill(&pair.hanse, 1000)?;
        Listed::fill(&pair.rgw, 1000)?;
        let lists = pair.in_turns(|target, _| listed.list(target)).await?;
        lines.extend(compared("List 1,000 of 1,000 keys", &lists, None));
    }
    lines.push(pair.memory("Memory (PSS) after the load")?);
    Ok(lines)
}

async fn put_and_get(pair: &Pair, objects: &Objects, clients: usize) -> Result<Vec<Line>> {
    let (size, mebibytes) = match objects.size {
        LARGE => ("64 MiB".to_owned(), Some(64.0)),
        size => (format!("{} KiB", size / KIB), None),
    };
    eprintln!("{size}, {clients} clients");
    let done = pair.in_turns(|target, round| objects.put_and_get(target, clients, round)).await?;
    let [hanse, rgw] = done.map(|rounds| rounds.into_iter().unzip::<_, _, Vec<_>, Vec<_>>());
    let mut lines = compared(&format!("PUT {size}, {clients} clients"), &[hanse.0, rgw.0], mebibytes);
    lines.extend(compared(&format!("GET {size}, {clients} clients"), &[hanse.1, rgw.1], mebibytes));
    Ok(lines)
}

/// With so many MiB for each request, if they are what counts.
fn compared(title: &str, [hanse, rgw]: &[Vec<Round>; 2], mebibytes: Option<f64>) -> Vec<Line> {
    let line = |figure: &str, of: &dyn Fn(&Round) -> f64, unit: &'static str| {
        let all = |rounds: &[Round]| rounds.iter().map(of).collect();
        Line::in_turns(format!("{title}: {figure}"), all(hanse), BESIDE, all(rgw), unit)
    };
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    vec![
        match mebibytes {
            None => line("rate", &|round| round.rate, "/s"),
            Some(mebibytes) => line("rate", &|round| round.rate * mebibytes, "MiB/s"),
        },
        line("server CPU", &|round| millis(round.cpu), "ms"),
        line("p50", &|round| millis(round.quantile(0.5)), "ms"),
        line("p99", &|round| millis(round.quantile(0.99)), "ms"),
    ]
}
