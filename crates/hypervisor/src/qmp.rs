//! A small client of the QEMU machine protocol: one connection, commands with ids, events to whoever listens.
//!
//! QEMU serves one client per monitor at a time, so a guest's connection is shared by all who talk to it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_core::{Context, Error, Result, Uuid};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;

/// No message from QEMU is longer, in bytes.
const MESSAGE_MAX: u64 = 8 << 20;
/// How long a command may take; QEMU answers within milliseconds unless its host is in trouble.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// What QEMU says on its own: only that something happened. What is the case now has to be asked for.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
}

/// Why a command did not work.
#[derive(Debug)]
pub enum Failure {
    /// QEMU understood and refused.
    Refused { class: String, description: String },
    /// The connection is gone, or QEMU does not answer.
    Broken(Error),
}

impl Failure {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Failure::Refused { class, .. } if class == "DeviceNotFound")
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused { description, .. } => Error::conflict(format!("QEMU refuses: {description}")),
            Failure::Broken(error) => error,
        }
    }
}

type Answer = Result<Value, Failure>;
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

pub struct Qmp {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Waiting,
    next: AtomicU64,
    events: broadcast::Sender<Event>,
    closed: watch::Receiver<bool>,
    reader: JoinHandle<()>,
}

impl Qmp {
    /// Connects and greets.
    ///
    /// # Errors
    /// When nobody listens there, or does not greet within `limit` (another client may hold the monitor).
    pub async fn connect(path: &Path, limit: Duration) -> Result<Qmp> {
        let silent = || {
            Error::unavailable(format!(
                "QEMU does not greet at {}: it hangs, or another client holds its monitor",
                path.display()
            ))
        };
        tokio::time::timeout(limit, Qmp::greet(path)).await.map_err(|_| silent())?
    }

    async fn greet(path: &Path) -> Result<Qmp> {
        let what = || format!("cannot talk to QEMU at {}", path.display());
        let stream = UnixStream::connect(path).await.context(what())?;
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let greeting = read(&mut reader).await.context(what())?;
        if greeting.get("QMP").is_none() {
            return Err(Error::internal(format!("{}: {} does not speak QMP", what(), path.display())));
        }
        let (events, _) = broadcast::channel(256);
        let (close, closed) = watch::channel(false);
        let waiting = Waiting::default();
        let reader = tokio::spawn(listen(reader, waiting.clone(), events.clone(), close));
        let writer = tokio::sync::Mutex::new(writer);
        let qmp = Qmp { writer, waiting, next: AtomicU64::new(0), events, closed, reader };
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub async fn execute(&self, command: &str, arguments: Value) -> Answer {
        self.execute_with(command, arguments, None).await
    }

    /// Runs a command and passes a file descriptor with it (`getfd`).
    pub async fn execute_with(&self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(id, answer);
        // Whatever happens, nobody waits for this id any more once we are gone.
        let _forget = Forget(self, id);
        let line = json!({ "execute": command, "arguments": arguments, "id": id }).to_string() + "\r\n";
        let exchange = async {
            if self.is_closed() {
                return Err(Failure::Broken(gone(command)));
            }
            let writer = self.writer.lock().await;
            let sent = send(writer.as_ref(), line.as_bytes(), fd).await;
            drop(writer);
            sent.context(format!("cannot send {command} to QEMU")).map_err(Failure::Broken)?;
            answered.await.unwrap_or_else(|_| Err(Failure::Broken(gone(command))))
        };
        tokio::time::timeout(COMMAND_LIMIT, exchange).await.unwrap_or_else(|_| {
            let seconds = COMMAND_LIMIT.as_secs();
            Err(Failure::Broken(Error::unavailable(format!(
                "QEMU did not answer {command} within {seconds} s"
            ))))
        })
    }

    /// The UUID that the process was started with.
    pub async fn uuid(&self) -> Result<Uuid> {
        let answer = self.execute("query-uuid", json!({})).await?;
        let text = answer["UUID"].as_str().unwrap_or_default();
        text.parse().context(format!("QEMU says its UUID is '{text}'"))
    }

    /// The run state, such as `running`, `paused`, `shutdown`.
    pub async fn status(&self) -> Result<String> {
        let answer = self.execute("query-status", json!({})).await?;
        Ok(answer["status"].as_str().unwrap_or_default().to_owned())
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Forget<'a>(&'a Qmp, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

fn gone(command: &str) -> Error {
    Error::unavailable(format!("QEMU closed its monitor before it answered {command}"))
}

/// Hands answers and events on until the connection ends.
async fn listen(
    mut reader: BufReader<OwnedReadHalf>,
    waiting: Waiting,
    events: broadcast::Sender<Event>,
    close: watch::Sender<bool>,
) {
    let waiting = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(mut message) = read(&mut reader).await {
        if let Some(name) = message["event"].as_str() {
            // Nobody listening is no error.
            let _ = events.send(Event { name: name.to_owned() });
        } else if let Some(answer) = message["id"].as_u64().and_then(|id| waiting().remove(&id)) {
            let result = match message.get("error") {
                Some(error) => Err(Failure::Refused {
                    class: error["class"].as_str().unwrap_or_default().to_owned(),
                    description: error["desc"].as_str().unwrap_or_default().to_owned(),
                }),
                None => Ok(message["return"].take()),
            };
            // Who asked may have given up.
            let _ = answer.send(result);
        }
    }
    let _ = close.send(true);
    // Dropping the senders tells everybody who still waits.
    waiting().clear();
}

async fn read(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Value> {
    let mut line = Vec::new();
    reader.take(MESSAGE_MAX).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

/// Writes it all; the descriptor travels with the first byte.
async fn send(stream: &UnixStream, mut bytes: &[u8], mut fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || send_now(stream, bytes, fd)).await?;
        bytes = &bytes[sent..];
        fd = None;
    }
    Ok(())
}

fn send_now(stream: &UnixStream, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    const FD_SIZE: u32 = size_of::<i32>() as u32;
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // Aligned as a control message has to be, and large enough for one descriptor.
    let mut control = [0_u64; 4];
    // SAFETY: an all-zero msghdr is a valid, empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; CMSG_FIRSTHDR points into `control`, which has room for
        // one header and one descriptor (24 of 32 bytes).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(FD_SIZE) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(FD_SIZE) as usize;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd.as_raw_fd());
        }
    }
    // SAFETY: the message points to `part` and `control`, which outlive the call.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
