//! What `hanse s3 backup` asks of the process that has the objects open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hanse_core::{Context, Error, Result};
use hanse_logstore::{Copied, Store};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::state;

/// The longest line of a request or an answer, in bytes; a path has at most 4,096.
const LINE_MAX: u64 = 16 << 10;

/// How long who has connected may take to ask.
const PATIENCE: Duration = Duration::from_secs(1);

/// One line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Backup { directory: PathBuf },
}

/// One line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Copied { segments: u64, extents: u64, bytes: u64 },
    Failed { why: String },
}

/// Answers until it is told to stop. Only root and our own user can ask.
pub async fn answer(path: &Path, store: &Store, stop: CancellationToken) {
    let listener = match state::private_socket(path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(error = %error.detail(), "no copy of the objects can be asked for");
            return;
        }
    };
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept who asks for a copy of the objects");
                    tokio::time::sleep(PATIENCE).await;
                    continue;
                }
            },
        };
        // One after the other: two copies at once only disturb each other.
        tokio::select! {
            () = stop.cancelled() => break,
            served = serve(stream, store) => {
                if let Err(error) = served {
                    tracing::warn!(error = %error.detail(), "nobody heard what became of a copy of the objects");
                }
            }
        }
    }
    let _ = std::fs::remove_file(path);
}

async fn serve(mut stream: UnixStream, store: &Store) -> Result<()> {
    let request = tokio::time::timeout(PATIENCE, read(&mut stream)).await;
    let Request::Backup { directory } = request.context("nothing was asked for")??;
    let answer = match store.backup(&directory).await {
        Ok(Copied { segments, extents, bytes }) => {
            tracing::info!(directory = %directory.display(), bytes, "copied the objects");
            Answer::Copied { segments, extents, bytes }
        }
        Err(error) => {
            tracing::error!(directory = %directory.display(), error = %error.detail(), "cannot copy the objects");
            Answer::Failed { why: error.detail() }
        }
    };
    write(&mut stream, &answer).await
}

/// Asks for a copy; `None` if no process has the objects.
///
/// # Errors
/// What the process says if it cannot.
pub async fn backup(path: &Path, directory: &Path) -> Result<Option<Copied>> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if [NotFound, ConnectionRefused].contains(&error.kind()) => return Ok(None),
        Err(error) => {
            let what = format!("cannot ask the control plane by {}", path.display());
            return Err(Error::unavailable(what).because(error));
        }
    };
    write(&mut stream, &Request::Backup { directory: directory.to_owned() }).await?;
    match read(&mut stream).await? {
        Answer::Copied { segments, extents, bytes } => Ok(Some(Copied { segments, extents, bytes })),
        Answer::Failed { why } => Err(Error::unavailable(why)),
    }
}

async fn read<T: serde::de::DeserializeOwned>(stream: &mut UnixStream) -> Result<T> {
    let mut line = String::new();
    let read = BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await;
    read.context("the other process does not speak")?;
    serde_json::from_str(&line).map_err(|_| Error::unavailable("the other process ended before it answered"))
}

async fn write(stream: &mut UnixStream, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message).context("cannot write a message")?;
    line.push(b'\n');
    stream.write_all(&line).await.context("the other process does not listen")
}
