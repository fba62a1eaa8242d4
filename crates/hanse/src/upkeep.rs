//! What a process that runs for months does beside its work: every hour, at once on SIGHUP, and each time all of it, so
//! that what failed is tried again.

use std::path::PathBuf;
use std::time::Duration;

use hanse_core::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::logging::Level;

/// How often the chores are seen to.
pub const PERIOD: Duration = Duration::from_secs(3600);

/// A thing to do, and what to call it in the log.
pub struct Chore {
    pub name: &'static str,
    pub run: Run,
}

/// Tells whether it changed something.
pub type Run = Box<dyn FnMut() -> Result<bool> + Send>;

/// Takes up the log level that the configuration has now.
pub fn log_level(path: Option<PathBuf>, config: &Config, level: Level) -> Chore {
    let mut current = config.log.level.clone();
    let run = move || {
        let wanted = Config::load(path.as_deref())?.log;
        if wanted.level == current {
            return Ok(false);
        }
        level.set(&wanted)?;
        current = wanted.level;
        Ok(true)
    };
    Chore { name: "log level", run: Box::new(run) }
}

/// Sees to the chores until it is told to stop. They are short and few: they run on the thread they find.
///
/// # Errors
/// If signals cannot be waited for.
pub fn start(mut chores: Vec<Chore>, stop: CancellationToken) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut hour = tokio::time::interval(PERIOD);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hour.tick() => {}
                _ = hangup.recv() => {}
            }
            for chore in &mut chores {
                match (chore.run)() {
                    Ok(true) => tracing::info!(chore = chore.name, "renewed"),
                    Ok(false) => tracing::debug!(chore = chore.name, "nothing to renew"),
                    Err(error) => {
                        tracing::error!(chore = chore.name, error = %error.detail(), "not renewed; what was there stays");
                    }
                }
            }
        }
    });
    Ok(())
}
