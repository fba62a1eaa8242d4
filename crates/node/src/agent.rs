//! The agent's end of the connection: it dials, then answers.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use hanse_core::{Context, Error, Result, Uuid};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::documents::{DiskFormat, Document};
use crate::link::{Delivery, KEEP_ALIVE, MESSAGE_LIMIT, Refusal, StoredImage, path};
use crate::reports::{Hello, Report};

/// A stream of bytes into or out of the agent's stores.
pub type Bytes = Pin<Box<dyn AsyncRead + Send>>;

/// What an agent does for the control plane.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    fn hello(&self) -> Hello;

    /// Takes note of desired documents; `complete` says that the node has no others. The work begins after.
    ///
    /// # Errors
    /// If they cannot be noted.
    async fn apply(&self, documents: Vec<Document>, complete: bool) -> Result<()>;

    /// The state of everything, then every change of it.
    fn reports(&self) -> BoxStream<'static, Report>;

    /// The last bytes (at most `limit`) of a guest's serial console.
    ///
    /// # Errors
    /// 404 if there is no such guest here.
    async fn console(&self, guest: Uuid, limit: usize) -> Result<Vec<u8>>;

    /// Stores an image of at most `limit` bytes. It is on disk when this returns.
    ///
    /// # Errors
    /// 400 if it is not what it is declared to be, 413 if it is too large.
    async fn put_image(&self, id: Uuid, format: DiskFormat, limit: u64, bytes: Bytes) -> Result<StoredImage>;

    /// # Errors
    /// 404 if there is no such image.
    async fn read_image(&self, id: Uuid) -> Result<(u64, Bytes)>;

    /// Removes an image; one that is not there is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    async fn delete_image(&self, id: Uuid) -> Result<()>;
}

/// Answers the control plane on a connection that the agent has dialled, until it ends.
///
/// # Errors
/// What ended the connection, if it was not the other side's orderly goodbye.
pub async fn serve<S>(stream: S, agent: Arc<dyn Agent>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = Router::new()
        .route(path::HELLO, get(hello))
        .route(path::DOCUMENTS, put(apply).layer(DefaultBodyLimit::max(MESSAGE_LIMIT)))
        .route(path::REPORTS, get(reports))
        .route(
            path::IMAGE,
            put(put_image).get(read_image).delete(delete_image).layer(DefaultBodyLimit::disable()),
        )
        .route(path::CONSOLE, get(console))
        .with_state(agent);
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    server
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .context("the connection to the control plane ended")
}

type Shared = State<Arc<dyn Agent>>;

async fn hello(State(agent): Shared) -> Json<Hello> {
    Json(agent.hello())
}

async fn apply(State(agent): Shared, Json(delivery): Json<Delivery>) -> Result<(), Refusal> {
    Ok(agent.apply(delivery.documents, delivery.complete).await?)
}

async fn reports(State(agent): Shared) -> Body {
    Body::from_stream(lines(agent.reports()))
}

/// One JSON document a line.
fn lines(
    reports: BoxStream<'static, Report>,
) -> impl Stream<Item = Result<Vec<u8>, serde_json::Error>> + use<> {
    reports.map(|report| {
        let mut line = serde_json::to_vec(&report)?;
        line.push(b'\n');
        Ok(line)
    })
}

#[derive(Deserialize)]
struct Upload {
    format: DiskFormat,
    limit: u64,
}

async fn put_image(
    State(agent): Shared,
    Path(id): Path<Uuid>,
    Query(upload): Query<Upload>,
    body: Body,
) -> Result<Json<StoredImage>, Refusal> {
    let bytes = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    Ok(Json(agent.put_image(id, upload.format, upload.limit, Box::pin(bytes)).await?))
}

async fn read_image(State(agent): Shared, Path(id): Path<Uuid>) -> Result<axum::response::Response, Refusal> {
    let (size, bytes) = agent.read_image(id).await?;
    http::Response::builder()
        .header(http::header::CONTENT_LENGTH, size)
        .body(Body::from_stream(ReaderStream::with_capacity(bytes, 256 * 1024)))
        .map_err(|error| Refusal(Error::internal(error.to_string())))
}

async fn delete_image(State(agent): Shared, Path(id): Path<Uuid>) -> Result<(), Refusal> {
    Ok(agent.delete_image(id).await?)
}

#[derive(Deserialize)]
struct Tail {
    limit: usize,
}

async fn console(
    State(agent): Shared,
    Path(id): Path<Uuid>,
    Query(tail): Query<Tail>,
) -> Result<Vec<u8>, Refusal> {
    Ok(agent.console(id, tail.limit).await?)
}
