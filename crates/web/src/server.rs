//! The listener, with its limits.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hanse_core::{Context, Error, Result};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::api::caught_panic;
use crate::linger::Lingering;
use crate::metrics::Metrics;

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What clients may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; further ones are closed at once.
    pub connections: usize,
    /// From accepting a connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last; also how long an idle connection is kept.
    pub head: Duration,
    /// The longest silence within a request's body.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            silence: Duration::from_secs(30),
        }
    }
}

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    metrics: Metrics,
}

impl Listener {
    /// Without `tls` in plain text, which is for a proxy on the same machine. `setting` is where the address comes from.
    ///
    /// # Errors
    /// 409 if the port is in use, with what to do.
    pub async fn bind(
        address: SocketAddr,
        setting: &str,
        tls: impl Into<Option<Arc<ServerConfig>>>,
        limits: Limits,
        metrics: Metrics,
    ) -> Result<Listener> {
        let socket = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::conflict(format!(
                "{address} is in use by another program: stop that one, or set another `{setting}` in the configuration"
            )),
            _ => Error::unavailable(format!("cannot listen on {address}")).because(error),
        })?;
        Ok(Listener { socket, tls: tls.into().map(TlsAcceptor::from), limits, metrics })
    }

    /// # Errors
    /// If the operating system does not tell.
    pub fn address(&self) -> Result<SocketAddr> {
        self.socket.local_addr().context("cannot read the address of the listener")
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `stop` is cancelled; then running requests have ten seconds to end.
    pub async fn run(self, router: Router, stop: CancellationToken) {
        let router = router
            .layer(RequestBodyTimeoutLayer::new(self.limits.silence))
            .layer(CatchPanicLayer::custom(caught_panic));
        let silence = self.limits.silence;
        let answer = move |mut request: Request<Incoming>, peer: IpAddr| {
            request.extensions_mut().insert(Peer(peer));
            let answered = router.clone().oneshot(Lingering::body(request, silence));
            async move { answered.await.unwrap_or_else(|never| match never {}) }
        };
        self.serve(answer, stop).await;
    }

    /// The same for what is no router. `answer` gets each request with the address that it came from.
    pub async fn serve<A, F, B>(self, answer: A, stop: CancellationToken)
    where
        A: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(64 * 1024)
            .keep_alive(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.head)
            .keep_alive_timeout(self.limits.handshake)
            .max_concurrent_streams(128)
            .max_header_list_size(64 * 1024);
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors: nothing is gained by trying again at once.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                self.metrics.refused();
                continue;
            };
            let connection = Connection {
                stream,
                peer: peer.ip(),
                tls: self.tls.clone(),
                handshake: self.limits.handshake,
                metrics: self.metrics.clone(),
                _permit: permit,
            };
            tokio::spawn(connection.run(answer.clone(), builder.clone(), graceful.watcher()));
        }
        drop(self.socket);
        if tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were cut off after ten seconds");
        }
    }
}

struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    handshake: Duration,
    metrics: Metrics,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run<A, F, B>(mut self, answer: A, builder: Builder<TokioExecutor>, watcher: Watcher)
    where
        A: Fn(Request<Incoming>, IpAddr) -> F + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Small answers must not wait for the acknowledgement of the one before.
        let _ = self.stream.set_nodelay(true);
        let peer = self.peer;
        let service = service_fn(move |request| {
            let answered = answer(request, peer);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let ended = match self.tls.take() {
            None => {
                self.metrics.connected();
                let served =
                    builder.http1_only().serve_connection(TokioIo::new(self.stream), service).into_owned();
                watcher.watch(served).await
            }
            Some(tls) => {
                let accepted = tokio::time::timeout(self.handshake, tls.accept(self.stream)).await;
                let Ok(Ok(stream)) = accepted else {
                    tracing::debug!(%peer, "TLS handshake failed");
                    return;
                };
                self.metrics.connected();
                // What the handshake has agreed on, so that nobody waits for a first byte to tell the protocols apart.
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
                watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended");
        }
        self.metrics.disconnected();
    }
}
