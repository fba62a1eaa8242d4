//! The control plane's end of the connections.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures_util::TryStreamExt;
use hanse_core::{Context, Cx, Error, Result, Uuid};
use hanse_store::{Db, Engine};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::CancellationToken;

use crate::agent::Bytes;
use crate::desired::{self, Documents, TOPIC};
use crate::documents::{DiskFormat, Kind};
use crate::link::{Delivery, KEEP_ALIVE, MESSAGE_LIMIT, StoredImage, encode, path, refused};
use crate::reports::{Hello, PROTOCOL, Report};

/// How many documents go in one message.
const BATCH: u32 = 500;

/// The longest time between two looks for documents that another process has written.
const POLL: Duration = Duration::from_secs(1);

/// How long an agent may take for an answer that is not a byte stream.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Keeps the connections to all agents. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    db: Db,
    cx: Cx,
    documents: Documents,
    wakes: Wakes,
    sessions: Arc<Mutex<HashMap<String, Session>>>,
    /// One comes or goes at a time, so that the table and `sessions` tell the same.
    door: Arc<tokio::sync::Mutex<()>>,
    /// Notified for every session when there may be new documents.
    changed: tokio::sync::watch::Sender<()>,
}

/// Whom to wake. A reconciler that is woken for an object that is not its own finds nothing to do.
#[derive(Clone, Default)]
struct Wakes {
    /// The reconcilers of the object, when a report of this kind says something new.
    reports: BTreeMap<Kind, Vec<&'static str>>,
    /// With the name of the node, when one connects.
    joins: Vec<&'static str>,
}

#[derive(Clone)]
struct Session {
    sender: SendRequest<Body>,
    number: Uuid,
}

impl Hub {
    pub fn new(db: Db, cx: &Cx, documents: Documents, wakes: BTreeMap<Kind, &'static str>) -> Hub {
        let (changed, _) = tokio::sync::watch::channel(());
        let reports = wakes.into_iter().map(|(kind, reconciler)| (kind, vec![reconciler])).collect();
        let wakes = Wakes { reports, joins: Vec::new() };
        Hub {
            db,
            cx: cx.background("hub"),
            documents,
            wakes,
            sessions: Arc::default(),
            door: Arc::default(),
            changed,
        }
    }

    /// A report on this kind of object wakes this reconciler too.
    #[must_use]
    pub fn waking(mut self, kind: Kind, reconciler: &'static str) -> Hub {
        self.wakes.reports.entry(kind).or_default().push(reconciler);
        self
    }

    /// This reconciler is woken, with the name of the node, whenever one connects.
    #[must_use]
    pub fn waking_on_join(mut self, reconciler: &'static str) -> Hub {
        self.wakes.joins.push(reconciler);
        self
    }

    /// Accepts agents on a unix socket until `stop` is cancelled. Only root and our own user may connect.
    pub async fn run(&self, listener: UnixListener, stop: CancellationToken) {
        let announce = self.clone().announce(stop.clone());
        let accept = async {
            loop {
                let (stream, _) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an agent");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let hub = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = hub.attend(stream).await {
                        tracing::info!(%error, "agent disconnected");
                    }
                });
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept => {}
            () = announce => {}
        }
    }

    /// Notes that no agent is connected yet: after a crash the table may still say so. To be called before anybody is
    /// told what the table says. On PostgreSQL agents may be connected to another process, so there it is left alone.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn forget_sessions(&self) -> Result<()> {
        if self.db.engine() != Engine::Sqlite {
            return Ok(());
        }
        let cx = &self.cx;
        let grant = hanse_work::system_grant(cx, "node.hub", "all");
        self.db.write(cx, &grant, |tx| Box::pin(desired::all_disconnected(tx, cx))).await
    }

    /// One waiter for the store's signal, and from there to every session.
    async fn announce(self, stop: CancellationToken) {
        let signal = self.db.signal(TOPIC);
        while !stop.is_cancelled() {
            let _ = tokio::time::timeout(POLL, signal.notified()).await;
            self.changed.send_replace(());
        }
    }

    /// Speaks to one agent on a connection that it has dialled, until that ends.
    ///
    /// # Errors
    /// What ended it.
    pub async fn attend<S>(&self, stream: S) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .context("cannot speak with the agent")?;
        let session = Session { sender, number: self.cx.uuid() };
        let talk = async {
            let hello: Hello = session.json(Method::GET, path::HELLO.to_owned(), Body::empty()).await?;
            if hello.protocol > PROTOCOL {
                return Err(Error::conflict(format!(
                    "node {} runs release {}, which is newer than this control plane: upgrade the control plane first",
                    hello.node, hello.release
                )));
            }
            tracing::info!(
                node = hello.node,
                release = hello.release,
                accelerator = hello.accelerator,
                "agent connected"
            );
            self.enter(&hello, &session).await?;
            let ended = tokio::select! {
                ended = self.deliver(&hello.node, &session) => ended,
                ended = self.listen(&hello.node, &session) => ended,
                ended = self.learn(&hello, &session) => ended,
            };
            self.leave(&hello.node, &session).await?;
            ended
        };
        tokio::select! {
            ended = talk => ended,
            // `talk` sees the end of the connection too; this only drives it.
            () = async { _ = connection.await; std::future::pending::<()>().await } => Ok(()),
        }
    }

    async fn enter(&self, hello: &Hello, session: &Session) -> Result<()> {
        let _door = self.door.lock().await;
        let (cx, joins) = (&self.cx, &self.wakes.joins);
        let grant = hanse_work::system_grant(cx, "node.hub", &hello.node);
        self.db
            .write(cx, &grant, |tx| {
                Box::pin(async move {
                    desired::connected(tx, cx, hello).await?;
                    for reconciler in joins {
                        hanse_work::wake(tx, cx, reconciler, &hello.node).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.sessions().insert(hello.node.clone(), session.clone());
        Ok(())
    }

    /// Asks again what guests run on until the node knows, which may take it longer than to connect. The connection
    /// must not end for that: an image may be on its way.
    async fn learn(&self, hello: &Hello, session: &Session) -> Result<()> {
        let mut known = hello.clone();
        while known.accelerator == Hello::UNTRIED {
            tokio::time::sleep(POLL).await;
            let answer: Hello = session.json(Method::GET, path::HELLO.to_owned(), Body::empty()).await?;
            known.accelerator = answer.accelerator;
        }
        if known != *hello {
            let (cx, known) = (&self.cx, &known);
            let grant = hanse_work::system_grant(cx, "node.hub", &known.node);
            self.db.write(cx, &grant, |tx| Box::pin(desired::connected(tx, cx, known))).await?;
        }
        std::future::pending().await
    }

    async fn leave(&self, node: &str, session: &Session) -> Result<()> {
        let _door = self.door.lock().await;
        {
            let mut sessions = self.sessions();
            // The agent may have dialled again already.
            if sessions.get(node).is_none_or(|current| current.number != session.number) {
                return Ok(());
            }
            sessions.remove(node);
        }
        let cx = &self.cx;
        let grant = hanse_work::system_grant(cx, "node.hub", node);
        self.db.write(cx, &grant, |tx| Box::pin(desired::disconnected(tx, cx, node))).await
    }

    /// Sends all documents, then every change.
    async fn deliver(&self, node: &str, session: &Session) -> Result<()> {
        let mut changed = self.changed.subscribe();
        let mut sent = -1;
        loop {
            let complete = sent < 0;
            let limit = if complete { u32::MAX >> 1 } else { BATCH };
            let documents = {
                let mut conn = self.db.read().await?;
                self.documents.since(&mut conn, node, sent, limit).await?
            };
            sent = documents.last().map_or(sent.max(0), |document| document.revision);
            let more = !complete && documents.len() == BATCH as usize;
            if complete || !documents.is_empty() {
                let body = Body::from(encode(&Delivery { documents, complete })?);
                session.call(Method::PUT, path::DOCUMENTS.to_owned(), body).await?;
            }
            if !more {
                changed.changed().await.context("the hub has stopped")?;
            }
        }
    }

    /// Stores what the agent reports and wakes the reconcilers.
    async fn listen(&self, node: &str, session: &Session) -> Result<()> {
        let response = session.send(Method::GET, path::REPORTS.to_owned(), Body::empty()).await?;
        let stream = response.into_body().into_data_stream().map_err(std::io::Error::other);
        let mut lines = tokio::io::BufReader::new(StreamReader::new(stream)).lines();
        while let Some(line) = lines.next_line().await.context("the reports of the agent ended")? {
            let report: Report = serde_json::from_str(&line).context("a report does not read")?;
            self.record(node, &report).await?;
        }
        Err(Error::unavailable("the agent has ended its reports"))
    }

    async fn record(&self, node: &str, report: &Report) -> Result<()> {
        tracing::debug!(node, kind = report.kind.as_str(), id = %report.id, state = ?report.state, "report");
        let cx = &self.cx;
        let wakes = self.wakes.reports.get(&report.kind).map_or(&[][..], Vec::as_slice);
        let grant = hanse_work::system_grant(cx, "node.hub", node);
        self.db
            .write(cx, &grant, |tx| {
                Box::pin(async move {
                    if desired::record(tx, cx, node, report).await? {
                        for reconciler in wakes {
                            hanse_work::wake(tx, cx, reconciler, &report.id.to_string()).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await
    }

    /// The last bytes of a guest's serial console.
    ///
    /// # Errors
    /// 404 if the guest has none yet, 503 if the node is not connected.
    pub async fn console(&self, node: &str, guest: Uuid, limit: usize) -> Result<Vec<u8>> {
        let path = format!("{}?limit={limit}", path::CONSOLE.replace("{id}", &guest.to_string()));
        Ok(self.session(node)?.call(Method::GET, path, Body::empty()).await?.to_vec())
    }

    /// Streams an image to a node. It is on disk there when this returns.
    ///
    /// # Errors
    /// 400 if it is not what it is declared to be, 413 if it is longer than `limit` bytes, 503 if the node is not
    /// connected.
    pub async fn put_image(
        &self,
        node: &str,
        id: Uuid,
        format: DiskFormat,
        limit: u64,
        bytes: Bytes,
    ) -> Result<StoredImage> {
        let path = format!("{}?format={}&limit={limit}", image_path(id), format.as_str());
        let body = Body::from_stream(ReaderStream::with_capacity(bytes, 256 * 1024));
        let response = self.session(node)?.send(Method::PUT, path, body).await?;
        let body = collect(response.into_body()).await?;
        serde_json::from_slice(&body).context("the agent's answer does not read")
    }

    /// # Errors
    /// 404 if the node does not have it, 503 if it is not connected.
    pub async fn read_image(&self, node: &str, id: Uuid) -> Result<(u64, Bytes)> {
        let response = self.session(node)?.send(Method::GET, image_path(id), Body::empty()).await?;
        let size = response
            .headers()
            .get(http::header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::internal("the agent does not say how long the image is"))?;
        let stream = response.into_body().into_data_stream().map_err(std::io::Error::other);
        Ok((size, Box::pin(StreamReader::new(stream))))
    }

    /// # Errors
    /// 503 if the node is not connected.
    pub async fn delete_image(&self, node: &str, id: Uuid) -> Result<()> {
        self.session(node)?.call(Method::DELETE, image_path(id), Body::empty()).await.map(drop)
    }

    /// The nodes that are connected to this process, by name.
    pub fn connected(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sessions().keys().cloned().collect();
        names.sort();
        names
    }

    fn session(&self, node: &str) -> Result<Session> {
        let session = self.sessions().get(node).cloned();
        session.ok_or_else(|| Error::unavailable(format!("The node {node} is not connected; try again.")))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn image_path(id: Uuid) -> String {
    path::IMAGE.replace("{id}", &id.to_string())
}

async fn collect(body: Incoming) -> Result<bytes::Bytes> {
    let body = Limited::new(body, MESSAGE_LIMIT).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| Error::unavailable("the connection to the node was lost; try again").because(error))
}

impl Session {
    /// Sends a request and returns the answer, once it is known to be a good one.
    async fn send(&self, method: Method, path: String, body: Body) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .context("cannot make a request for the agent")?;
        let response = self.sender.clone().send_request(request).await.map_err(|error| {
            Error::unavailable("the connection to the node was lost; try again").because(error)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(refused(status, &collect(response.into_body()).await?))
    }

    /// A request with a short answer.
    async fn call(&self, method: Method, path: String, body: Body) -> Result<bytes::Bytes> {
        let answer = async { collect(self.send(method, path, body).await?.into_body()).await };
        tokio::time::timeout(ANSWER_LIMIT, answer)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the node does not answer; try again")))
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: String, body: Body) -> Result<T> {
        serde_json::from_slice(&self.call(method, path, body).await?)
            .context("the agent's answer does not read")
    }
}
