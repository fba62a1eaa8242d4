//! When a guest answers ssh.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_e2e::Cloud;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Answered;

/// No guest takes as long as this to boot, on any machine.
const LIMIT: Duration = Duration::from_secs(300);

/// How often a connection is begun, and how long each may take. None waits for the one before: a lost first packet is
/// sent again only after a second, and a guest that is busy booting takes its time. Four at once are one less than
/// dropbear takes from one address before somebody has logged in.
const EVERY: Duration = Duration::from_millis(250);
const ATTEMPT: Duration = Duration::from_secs(1);

/// What an ssh server begins with (RFC 4253, section 4.2).
const BANNER: &[u8] = b"SSH-";

/// Waits until the ssh server at `address` in the network namespace that we are in answers, then runs a command there.
///
/// # Errors
/// If it does not answer within [`LIMIT`], or does not let us in.
pub async fn wait(cloud: &Cloud, address: Ipv4Addr, start: Instant) -> Result<Answered> {
    let limit = Instant::now() + LIMIT;
    let mut attempts = JoinSet::new();
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {
                attempts.spawn(tokio::time::timeout(ATTEMPT, is_answered(address)));
            }
            Some(ended) = attempts.join_next() => {
                if matches!(ended, Ok(Ok(Ok(true)))) {
                    break;
                }
            }
        }
        if Instant::now() > limit {
            bail!("nothing answers ssh at {address} within {} s", LIMIT.as_secs());
        }
    }
    let banner = start.elapsed();
    drop(attempts);
    // The banner may come from anybody; the key lets us into our guest only.
    loop {
        let output = cloud.ssh(&address.to_string(), "true").stdout(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(Answered { banner, command: start.elapsed() });
        }
        if Instant::now() > limit {
            bail!("{address} does not let us in: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn is_answered(address: Ipv4Addr) -> Result<bool> {
    let mut stream = TcpStream::connect((address, 22)).await.context("no connection")?;
    let mut banner = [0; BANNER.len()];
    stream.read_exact(&mut banner).await?;
    Ok(banner == BANNER)
}
