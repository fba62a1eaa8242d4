//! How soon a cloud answers, and what it takes while nobody asks anything.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hanse_e2e::{Cloud, ok};

use crate::ROUNDS;
use crate::figures::{Amount, Line};
use crate::process::{cpu, pss, settled_pss};

/// No guests: what is measured is the cloud.
pub const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

const ROLES: [(&str, &str); 2] = [("control plane", "control_plane"), ("agent", "agent")];

pub async fn measure(idle_seconds: u64) -> Result<Vec<Line>> {
    let (mut alone, mut empty, mut existing) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = Vec::new();
    for round in 1..=ROUNDS {
        let cloud = Cloud::new("start", SIM);
        alone.push(timed(|| ok(cloud.hanse().arg("version"))));
        // `hanse up` returns when /healthz tells of a connected node; it asks every 50 ms.
        empty.push(timed(|| cloud.hanse_ok(&["up"])));
        if round == ROUNDS {
            lines = first_memory(&cloud).await?;
        }
        cloud.hanse_ok(&["down"]);
        existing.push(timed(|| cloud.hanse_ok(&["up"])));
        if round == ROUNDS {
            lines.extend(idle(&cloud, idle_seconds).await?);
        }
    }
    let bare = Amount::median_millis(&alone);
    let beside = "`hanse version`";
    lines.insert(
        0,
        Line::new("`hanse up`, empty state directory", Amount::median_millis(&empty), beside, bare),
    );
    lines.insert(1, Line::new("`hanse up`, existing one", Amount::median_millis(&existing), beside, bare));
    Ok(lines)
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Of both processes after the start that made the cloud.
async fn first_memory(cloud: &Cloud) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (title, role) in ROLES {
        let what = format!("Memory (PSS) of the {title} after the first start");
        lines.push(Line::alone(what, Amount::mebibytes(settled_pss(pid(cloud, role)?).await?)));
    }
    Ok(lines)
}

/// What both processes use after another start and a time without requests.
async fn idle(cloud: &Cloud, seconds: u64) -> Result<Vec<Line>> {
    let mut before = Vec::new();
    for (title, role) in ROLES {
        let pid = pid(cloud, role)?;
        before.push((title, pid, pss(pid)?, cpu(pid)?));
    }
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let idle = start.elapsed().as_secs_f64().max(1.0);
    let mut lines = Vec::new();
    for (title, pid, memory, time) in before {
        lines.push(Line::new(
            format!("Memory (PSS) of the {title}, started again and idle for {seconds} s"),
            Amount::mebibytes(pss(pid)?),
            "right after that start",
            Amount::mebibytes(memory),
        ));
        let spent = cpu(pid)?.saturating_sub(time);
        lines.push(Line::alone(
            format!("CPU of the idle {title} in a second"),
            Amount::micros(spent.div_f64(idle)),
        ));
    }
    Ok(lines)
}

/// The process with this role.
pub fn pid(cloud: &Cloud, role: &str) -> Result<u32> {
    let status = cloud.status();
    let pid = status[role]["pid"].as_u64().with_context(|| format!("the {role} does not run"))?;
    Ok(u32::try_from(pid)?)
}
