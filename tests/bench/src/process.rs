//! What the kernel says about a process.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Processor time of all threads of a process so far, in user and kernel mode. The kernel counts it exactly and
/// tells it in ticks, commonly of 10 ms. Source: `proc_pid_stat(5)`, fields 14 and 15.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} does not run"))?;
    // The name in parentheses may hold anything; the fields behind it do not.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |index: usize| -> Result<f64> {
        Ok(fields.get(index).context("/proc/<pid>/stat is too short")?.parse()?)
    };
    let a_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")? as f64;
    Ok(Duration::from_secs_f64((ticks(11)? + ticks(12)?) / a_second))
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
