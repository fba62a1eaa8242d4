//! What the kernel says about a process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hanse_e2e::Cloud;
use nix::unistd::{SysconfVar, sysconf};

/// Processor time of all threads of a process so far, in user and kernel mode. The kernel counts it exactly and
/// tells it in ticks, commonly of 10 ms. Source: `proc_pid_stat(5)`, fields 14 and 15.
pub fn cpu(pid: u32) -> Result<Duration> {
    Ok(ticks(pid, 14)? + ticks(pid, 15)?)
}

/// When a process was started, to 10 ms. Source: `proc_pid_stat(5)`, field 22, which counts from the machine's start as
/// `/proc/uptime` does.
pub fn started(pid: u32) -> Result<Instant> {
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split_whitespace().next().context("/proc/uptime is empty")?.parse()?;
    let age = Duration::from_secs_f64(uptime).saturating_sub(ticks(pid, 22)?);
    Instant::now().checked_sub(age).context("the process is older than the clock")
}

/// A field of `/proc/<pid>/stat` that is a time, counted as in `proc_pid_stat(5)`: the first is 1.
fn ticks(pid: u32, field: usize) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} does not run"))?;
    // The name in parentheses, which is the second, may hold anything; the fields behind it do not.
    let (_, rest) = stat.rsplit_once(')').context("/proc/<pid>/stat has no name")?;
    let ticks: f64 =
        rest.split_whitespace().nth(field - 3).context("/proc/<pid>/stat is too short")?.parse()?;
    let a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")? as f64;
    Ok(Duration::from_secs_f64(ticks / a_second))
}

/// What a process was started with. Source: `proc_pid_cmdline(5)`.
pub fn arguments(pid: u32) -> Result<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline"))
        .with_context(|| format!("process {pid} does not run"))?;
    Ok(String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect())
}

/// A process and all that descend from it. Source: `proc_tid_children(5)`.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut tree = vec![pid];
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        tree.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).flat_map(self::tree));
    }
    tree
}

/// A process of a cloud's own; guests are not.
pub struct Mine {
    pub pid: u32,
    /// The subcommand that it was started with.
    pub role: String,
}

impl Mine {
    /// All that run with the cloud's configuration, whatever the cloud itself says of its processes.
    pub fn of(cloud: &Cloud) -> Result<Vec<Mine>> {
        let config = cloud.config().display().to_string();
        let mut mine = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
            // One that ends meanwhile is none.
            let arguments = arguments(pid).unwrap_or_default();
            if let Some(at) = arguments.iter().position(|argument| *argument == config) {
                let role = arguments.get(at + 1).or(arguments.last()).cloned().unwrap_or_default();
                mine.push(Mine { pid, role });
            }
        }
        Ok(mine)
    }
}

/// [`pss`] once the last login is forgotten: the memory of a hash is kept for a second, for the next.
pub async fn settled_pss(pid: u32) -> Result<u64> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    pss(pid)
}

/// The memory of a process in bytes, with its share of what it shares. Source: `Pss` in `/proc/<pid>/smaps_rollup`.
pub fn pss(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("cannot read the memory of process {pid}"))?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .context("smaps_rollup has no Pss")?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}
