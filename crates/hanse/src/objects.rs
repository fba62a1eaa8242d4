//! Object storage in this process: its directory, its listener, and who holds them.

pub mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Context, Cx, Error, Result};
use hanse_logstore::{FULL, IN_USE, Options, Store};
use hanse_web::{Limits, Listener, Metrics};
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::state::State;
use crate::wiring::ObjectStoreOn;

/// How often a control plane that does not have the objects looks whether it can.
const LOOK: Duration = Duration::from_secs(5);

/// By this file a directory is known to be a store.
const MARK: &str = "lock";

/// What a file system of its own begins with.
const NOT_OURS: &str = "lost+found";

/// Where the objects lie.
pub fn directory(config: &Config, state: &State) -> PathBuf {
    config.objectstore.directory.clone().unwrap_or_else(|| state.objects())
}

/// A directory with other things in it is neither filled nor given to another user.
///
/// # Errors
/// 409 with what to do.
pub fn refuse_foreign(directory: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    let has_files = entries.flatten().any(|entry| entry.file_name() != NOT_OURS);
    if has_files && !directory.join(MARK).exists() {
        return Err(Error::conflict(format!(
            "{} holds files but no objects of ours: set another `objectstore.directory`, or empty it",
            directory.display()
        )));
    }
    Ok(())
}

/// Removes all objects, unless they are another state directory's, whose keys this one only shares.
///
/// # Errors
/// If something cannot be removed; run it again then.
pub fn remove(config: &Config, state: &State) -> Result<()> {
    let directory = directory(config, state);
    if state.control().is_symlink() || !directory.join(MARK).exists() {
        return Ok(());
    }
    let what = || format!("cannot remove {}", directory.display());
    let mark = directory.join(MARK);
    for entry in std::fs::read_dir(&directory).context(what())? {
        let entry = entry.context(what())?;
        let path = entry.path();
        if path == mark || entry.file_name() == NOT_OURS {
            continue;
        }
        let is_directory = entry.file_type().context(what())?.is_dir();
        let removed = if is_directory { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.context(what())?;
    }
    // Last, so that a removal that was cut off can be run again.
    std::fs::remove_file(mark).context(what())?;
    // It stays if it is a file system of its own.
    let _ = std::fs::remove_dir(&directory);
    Ok(())
}

/// The objects and the listener of S3, or the place where they will be.
pub struct Objects {
    cx: Cx,
    directory: PathBuf,
    socket: PathBuf,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    metrics: Metrics,
    held: Option<(Store, Listener)>,
}

impl Objects {
    /// Opens the store and binds the listener, unless another control plane of this cloud has the store, which serves S3
    /// then, or there is no room.
    ///
    /// # Errors
    /// 409 if the port is in use, 500 if the disk fails, each with what to do.
    pub async fn begin(
        cx: &Cx,
        config: &Config,
        state: &State,
        tls: Arc<ServerConfig>,
        metrics: &Metrics,
    ) -> Result<Objects> {
        let mut objects = Objects {
            cx: cx.clone(),
            directory: directory(config, state),
            socket: state.objects_socket(),
            address: config.objectstore.listen,
            tls: config.objectstore.tls.then_some(tls),
            limits: Limits { connections: config.objectstore.connections, ..Limits::default() },
            metrics: metrics.clone(),
            held: None,
        };
        // A process that was killed holds its files until its last thread has ended.
        for _ in 0..20 {
            match objects.take().await {
                Ok(held) => {
                    objects.held = Some(held);
                    return Ok(objects);
                }
                Err(error) if error.name() == Some(IN_USE) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) if error.name() == Some(FULL) => {
                    tracing::warn!(
                        directory = %objects.directory.display(),
                        "there is no room for objects: everything but S3 is served, and S3 as soon as there is"
                    );
                    return Ok(objects);
                }
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(
            directory = %objects.directory.display(),
            "another control plane has the objects open: this one serves everything but S3, and takes that over when the \
             other has ended"
        );
        Ok(objects)
    }

    /// # Errors
    /// 503 named [`IN_USE`] if another process has the store, or [`FULL`] if there is no room for one.
    async fn take(&self) -> Result<(Store, Listener)> {
        let (cx, directory) = (self.cx.clone(), self.directory.clone());
        let open = move || Store::open(&cx, &directory, Options::default());
        let store = tokio::task::spawn_blocking(open).await.context("cannot open the objects")??;
        let bound = Listener::bind(
            self.address,
            "objectstore.listen",
            self.tls.clone(),
            self.limits,
            self.metrics.clone(),
        );
        match bound.await {
            Ok(listener) => Ok((store, listener)),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Waits until it has the store.
    async fn wait(&mut self) -> (Store, Listener) {
        if let Some(held) = self.held.take() {
            return held;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            match self.take().await {
                Ok(held) => return held,
                // That was said when it began.
                Err(error) if [Some(IN_USE), Some(FULL)].contains(&error.name()) => {}
                Err(error) => tracing::error!(error = %error.detail(), "cannot take over S3"),
            }
        }
    }

    /// Serves S3 until it is told to stop, and closes the store.
    pub async fn run(mut self, make: ObjectStoreOn, stop: CancellationToken) {
        let (store, listener) = tokio::select! {
            () = stop.cancelled() => return,
            held = self.wait() => held,
        };
        match make(store.clone()) {
            Ok(object_store) => {
                tracing::info!(listen = %self.address, directory = %self.directory.display(), "S3 is ready");
                tokio::join!(
                    object_store.serve(listener, stop.clone()),
                    socket::answer(&self.socket, &store, stop)
                );
            }
            Err(error) => tracing::error!(error = %error.detail(), "S3 is not served"),
        }
        store.close().await;
    }
}

#[cfg(test)]
mod tests {
    use hanse_testkit::context;

    use super::*;

    fn config(directory: &Path) -> Config {
        let mut config = Config::default();
        config.objectstore.directory = Some(directory.to_owned());
        config
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused_and_never_removed() {
        let place = tempfile::tempdir().unwrap();
        let state = State::at(&place.path().join("state"));
        let objects = place.path().join("objects");
        refuse_foreign(&objects).unwrap();
        std::fs::create_dir_all(objects.join(NOT_OURS)).unwrap();
        refuse_foreign(&objects).unwrap();
        std::fs::write(objects.join("thesis.tex"), "x").unwrap();
        assert!(refuse_foreign(&objects).unwrap_err().message().contains("no objects of ours"));
        remove(&config(&objects), &state).unwrap();
        assert!(objects.join("thesis.tex").exists());
    }

    #[test]
    fn a_store_is_removed_by_the_state_directory_whose_it_is() {
        let (cx, _) = context();
        let place = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| State::at(&place.path().join(name)));
        let objects = place.path().join("objects");
        drop(Store::open(&cx, &objects, Options::default()).unwrap());
        refuse_foreign(&objects).unwrap();
        for state in [&first, &second] {
            std::fs::create_dir(state.path()).unwrap();
        }
        std::fs::create_dir(first.control()).unwrap();
        std::os::unix::fs::symlink(first.control(), second.control()).unwrap();
        remove(&config(&objects), &second).unwrap();
        assert!(objects.join(MARK).exists(), "it only shares them");
        remove(&config(&objects), &first).unwrap();
        assert!(!objects.exists());
    }
}
