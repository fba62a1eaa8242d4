//! Logs: JSON lines in rotated files with a cap on all of them together.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hanse_core::{Context, Result};
use tracing_subscriber::fmt::MakeWriter;

use crate::config;

/// Files kept: the current one and three older ones.
const FILES: u64 = 4;

/// Starts logging to `<directory>/<name>.log`, or to standard error without a directory.
///
/// # Errors
/// If the file cannot be opened.
pub fn start(log: &config::Log, directory: Option<&Path>, name: &str) -> Result<()> {
    // Statements carry no values, but they are noise unless someone looks into the database.
    let filter =
        tracing_subscriber::EnvFilter::new(format!("{},sqlx=warn,hyper=warn,h2=warn,rustls=warn", log.level));
    // On a full disk standard error cannot be written either, and who complains there panics.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let done = match directory {
        None => subscriber.with_writer(std::io::stderr).try_init(),
        Some(directory) => {
            let rotated = Rotated::open(directory.join(format!("{name}.log")), log.total_mib.max(1) << 20)?;
            subscriber.json().flatten_event(true).with_writer(rotated).try_init()
        }
    };
    done.map_err(|error| hanse_core::Error::internal(format!("cannot start logging: {error}")))
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
