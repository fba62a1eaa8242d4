//! Logs: JSON lines in rotated files with a cap on all of them together.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hanse_core::{Context, Result};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, reload};

use crate::config;

/// Files kept: the current one and three older ones.
const FILES: u64 = 4;

/// Changes what is logged while the process runs.
pub struct Level(Box<dyn Fn(EnvFilter) -> std::result::Result<(), reload::Error> + Send + Sync>);

impl Level {
    /// # Errors
    /// If the process logs no more.
    pub fn set(&self, log: &config::Log) -> Result<()> {
        (self.0)(filter(log)).context("cannot change the log level")
    }
}

fn filter(log: &config::Log) -> EnvFilter {
    // Statements carry no values, but they are noise unless someone looks into the database. `s3s` writes whole heads of
    // requests, signatures included, and calls whatever a client does wrong an error.
    EnvFilter::new(format!("{},sqlx=warn,hyper=warn,h2=warn,rustls=warn,s3s=off", log.level))
}

/// Starts logging to `<directory>/<name>.log`.
///
/// # Errors
/// If the file cannot be opened.
pub fn start(log: &config::Log, directory: &Path, name: &str) -> Result<Level> {
    let rotated = Rotated::open(directory.join(format!("{name}.log")), log.total_mib.max(1) << 20)?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(rotated)
        .with_env_filter(filter(log))
        .with_filter_reloading()
        // On a full disk standard error cannot be written either, and who complains there panics.
        .log_internal_errors(false);
    let handle = subscriber.reload_handle();
    subscriber
        .try_init()
        .map_err(|error| hanse_core::Error::internal(format!("cannot start logging: {error}")))?;
    Ok(Level(Box::new(move |filter| handle.reload(filter))))
}

/// A file that is renamed to `.1`, `.2`, … when it has its share of the cap.
pub struct Rotated {
    path: PathBuf,
    limit: u64,
    current: Mutex<Current>,
}

struct Current {
    file: File,
    written: u64,
}

impl Rotated {
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: PathBuf, total: u64) -> Result<Rotated> {
        let current = Mutex::new(open(&path)?);
        Ok(Rotated { path, limit: total / FILES, current })
    }

    fn numbered(&self, number: u64) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }

    fn rotate(&self, current: &mut Current) -> std::io::Result<()> {
        for number in (1..FILES - 1).rev() {
            if self.numbered(number).exists() {
                std::fs::rename(self.numbered(number), self.numbered(number + 1))?;
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        *current = open(&self.path).map_err(std::io::Error::other)?;
        Ok(())
    }
}

fn open(path: &Path) -> Result<Current> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
        .context(format!("cannot open the log {}", path.display()))?;
    let written = file.metadata().map(|data| data.len()).unwrap_or(0);
    Ok(Current { file, written })
}

impl Write for &Rotated {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.written + bytes.len() as u64 > self.limit && current.written > 0 {
            self.rotate(&mut current)?;
        }
        current.file.write_all(bytes)?;
        current.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotated {
    type Writer = &'a Rotated;

    fn make_writer(&'a self) -> &'a Rotated {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_logs_together_stay_below_the_cap() {
        let directory = tempfile::tempdir().unwrap();
        let rotated = Rotated::open(directory.path().join("serve.log"), 4000).unwrap();
        for number in 0..1000 {
            (&rotated).write_all(format!("line {number:04}\n").as_bytes()).unwrap();
        }
        let sizes: u64 = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(sizes <= 4000, "{sizes}");
        let newest = std::fs::read_to_string(directory.path().join("serve.log")).unwrap();
        assert!(newest.ends_with("line 0999\n"));
    }
}
