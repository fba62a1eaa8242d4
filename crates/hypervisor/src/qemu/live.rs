//! A running guest as the driver holds it: its process, its monitor, and a task that watches both.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Error, Result, Uuid};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::console;
use super::directory::Directory;
use super::process::{self, Lock, Process};
use crate::files;
use crate::qmp::Qmp;

/// How often the console is fetched while nobody asks for it.
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// How often a guest that does not react is shown the power button; early in its boot it does not see it.
const PRESS_EVERY: Duration = Duration::from_secs(10);
/// How long QEMU may take to write out its caches when it is asked to go.
const QUIT_LIMIT: Duration = Duration::from_secs(20);

pub struct Live {
    pub process: Arc<Process>,
    pub qmp: Arc<Qmp>,
    directory: Directory,
    order: Arc<Mutex<()>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl Live {
    /// Takes over the guest's process if there is one, whoever started it. None as soon as its lock is free.
    ///
    /// # Errors
    /// When a process holds the lock but cannot be talked to within `limit`.
    pub async fn adopt(
        directory: &Directory,
        limit: Duration,
        events: &broadcast::Sender<Uuid>,
    ) -> Result<Option<Live>> {
        let until = Instant::now() + limit;
        loop {
            if !Lock::is_held(&directory.lock())? {
                return Ok(None);
            }
            let left = until.saturating_duration_since(Instant::now());
            match Live::try_adopt(directory, left, events).await {
                Ok(live) => return Ok(Some(live)),
                Err(error) if left.is_zero() => return Err(error),
                // It is starting, or going.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn try_adopt(
        directory: &Directory,
        limit: Duration,
        events: &broadcast::Sender<Uuid>,
    ) -> Result<Live> {
        let id = directory.id;
        let process = Process::find(&directory.lock(), &directory.pid_file(), id)?
            .ok_or_else(|| Error::unavailable(format!("the process of guest {id} is not to be seen yet")))?;
        let (_open, monitor) = directory.monitor()?;
        let qmp = Qmp::connect(&monitor, limit).await?;
        let uuid = qmp.uuid().await?;
        if uuid != id {
            return Err(Error::internal(format!("the monitor of guest {id} belongs to guest {uuid}")));
        }
        // What QEMU prints stands in memory that it holds; open it, so that its last words outlive it.
        let output = File::open(format!("/proc/{}/fd/2", process.pid)).ok();
        let (process, qmp, order) = (Arc::new(process), Arc::new(qmp), Arc::default());
        let watch = Watch {
            process: Arc::clone(&process),
            qmp: Arc::clone(&qmp),
            directory: directory.clone(),
            order: Arc::clone(&order),
            output,
            events: events.clone(),
        };
        let watcher = Mutex::new(Some(tokio::spawn(watch.run())));
        Ok(Live { process, qmp, directory: directory.clone(), order, watcher })
    }

    /// Whether it can still be talked to.
    pub fn is_usable(&self) -> bool {
        !self.process.has_exited() && !self.qmp.is_closed()
    }

    pub async fn fetch_console(&self) -> Result<()> {
        console::fetch(&self.qmp, &self.directory.path, &self.order).await
    }

    /// Presses the power button until the guest has shut down, its process is gone, or the time is up.
    pub async fn press_power_button(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let mut said = self.qmp.events();
        while Instant::now() < until && self.is_usable() {
            let down = self.qmp.status().await.is_ok_and(|status| status == "shutdown");
            if down || self.qmp.execute("system_powerdown", json!({})).await.is_err() {
                return;
            }
            let again = until.min(Instant::now() + PRESS_EVERY);
            let shut_down = async {
                loop {
                    match said.recv().await {
                        Ok(event) if event.name == "SHUTDOWN" => return,
                        Err(RecvError::Closed) => return,
                        _ => {}
                    }
                }
            };
            tokio::select! {
                () = shut_down => return,
                () = self.process.exited() => return,
                () = tokio::time::sleep_until(again) => {}
            }
        }
    }

    /// Ends the process, whatever the guest does: QEMU's own way first, so that its caches are written.
    pub async fn end(&self) -> Result<()> {
        if let Err(error) = self.fetch_console().await {
            tracing::debug!(%error, guest = %self.directory.id, "the end of the console is lost");
        }
        // It may close the monitor before it answers.
        let _ = self.qmp.execute("quit", json!({})).await;
        if !self.process.exited_within(QUIT_LIMIT).await {
            self.process.kill().await?;
        }
        self.settle().await;
        Ok(())
    }

    /// Waits until the watcher has put down what there was to note. Only for a process that is gone.
    pub async fn settle(&self) {
        if let Some(watcher) = self.watcher.lock().await.take() {
            // A panic in it has been reported already.
            let _ = watcher.await;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get_mut().take() {
            watcher.abort();
        }
    }
}

struct Watch {
    process: Arc<Process>,
    qmp: Arc<Qmp>,
    directory: Directory,
    order: Arc<Mutex<()>>,
    output: Option<File>,
    events: broadcast::Sender<Uuid>,
}

impl Watch {
    /// Ends with the process.
    async fn run(self) {
        let mut said = self.qmp.events();
        let mut tick = tokio::time::interval(FETCH_EVERY);
        loop {
            tokio::select! {
                () = self.process.exited() => break,
                event = said.recv() => match event {
                    Ok(event) if is_change(&event.name) => self.tell(),
                    Ok(_) => {}
                    Err(_) => self.tell(),
                },
                _ = tick.tick() => {
                    let fetched = console::fetch(&self.qmp, &self.directory.path, &self.order).await;
                    if let Err(error) = fetched {
                        tracing::debug!(%error, guest = %self.directory.id, "cannot fetch the console");
                    }
                }
            }
        }
        let last_words = self.output.as_ref().map(process::written).unwrap_or_default();
        if !last_words.is_empty()
            && let Err(error) = files::write(&self.directory.output(), last_words.as_bytes(), None)
        {
            tracing::warn!(%error, guest = %self.directory.id, "QEMU's last words are lost: {last_words}");
        }
        self.tell();
    }

    fn tell(&self) {
        // Nobody listening is no error.
        let _ = self.events.send(self.directory.id);
    }
}

fn is_change(event: &str) -> bool {
    matches!(
        event,
        "SHUTDOWN"
            | "POWERDOWN"
            | "RESET"
            | "STOP"
            | "RESUME"
            | "DEVICE_DELETED"
            | "DEVICE_UNPLUG_GUEST_ERROR"
            | "BLOCK_IO_ERROR"
    )
}
