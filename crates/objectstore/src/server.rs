//! The listener of S3: plain or TLS, HTTP/1.1 or HTTP/2, with its limits.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Error, Result};
use hanse_web::Lingering;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpResponse, S3Error, S3ErrorCode, S3Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{ObjectStore, fault, front};

/// No request takes longer: 5 GiB at half a megabit in a second.
const REQUEST_MAX: Duration = Duration::from_secs(24 * 3600);
/// Of XML in requests: a thousand keys of 1,024 bytes, each escaped, have less.
const XML_MAX: usize = 8 << 20;
/// Of a file in a form, which is kept in memory until its policy is checked.
const FORM_FILE_MAX: u64 = 16 << 20;

/// # Errors
/// 400 if it is no domain.
pub fn check_domain(domain: Option<&str>) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    match domain {
        Some(domain) if !domain.split('.').all(is_label) => {
            Err(Error::bad_request(format!("'{domain}' is no domain for buckets")))
        }
        _ => Ok(()),
    }
}

/// Buckets as names below a domain; every other name is a host with paths.
struct Domain(String);

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let known = VirtualHost::new(host);
        Ok(match front::virtual_bucket(host, &self.0) {
            Some(bucket) => known.with_bucket(bucket),
            None => known,
        })
    }
}

impl ObjectStore {
    fn s3(&self) -> S3Service {
        let mut builder = S3ServiceBuilder::new(self.clone());
        let mut config = S3Config::default();
        config.xml_max_body_size = XML_MAX;
        config.post_object_max_file_size = FORM_FILE_MAX;
        config.form_max_fields_size = 1 << 20;
        config.form_max_field_size = 64 << 10;
        config.form_max_parts = 100;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(self.clone());
        builder.set_access(self.clone());
        if let Some(domain) = &self.0.settings.domain {
            builder.set_host(Domain(domain.clone()));
        }
        builder.build()
    }

    /// Serves until `stop` is cancelled; then running requests have ten seconds to end. Without `tls` in plain text,
    /// which is for a proxy on the same machine.
    pub async fn serve(
        self,
        socket: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        stop: CancellationToken,
    ) {
        let settings = &self.0.settings;
        let tls = tls.map(TlsAcceptor::from);
        let permits = Arc::new(Semaphore::new(settings.connections));
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head)
            .max_buf_size(64 * 1024)
            .keep_alive(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(settings.head)
            .keep_alive_timeout(settings.handshake)
            .max_concurrent_streams(128)
            .max_header_list_size(64 * 1024);
        let service = Arc::new(self.s3());
        loop {
            let (stream, peer) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors: nothing is gained by trying again at once.
                        tracing::warn!(%error, "cannot accept a connection to S3");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            let Ok(permit) = permits.clone().try_acquire_owned() else {
                self.0.metrics.refused();
                continue;
            };
            let connection = Connection {
                store: self.clone(),
                service: service.clone(),
                peer: peer.ip(),
                _permit: permit,
            };
            let (builder, tls, watcher) = (builder.clone(), tls.clone(), graceful.watcher());
            tokio::spawn(connection.run(stream, tls, builder, watcher));
        }
        drop(socket);
        if tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await.is_err() {
            tracing::warn!("requests to S3 were cut off after ten seconds");
        }
    }

    /// One request.
    async fn answer(&self, service: &S3Service, peer: IpAddr, request: Request<Incoming>) -> HttpResponse {
        let cx = self.0.cx.request(REQUEST_MAX).from_source(Some(peer));
        let id = cx.request_id().to_owned();
        let (mut parts, body) = request.into_parts();
        let silence = self.0.settings.silence;
        let is_head = parts.method == Method::HEAD;
        let bucket = front::bucket(&parts.uri, &parts.headers, self.0.settings.domain.as_deref());
        let origin =
            parts.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
        let method = parts.method.clone();
        let awaits_word = parts.headers.contains_key(header::EXPECT);
        // Whether it got the word: hyper says it when the body is first asked for, unless there is none.
        let (has_word, is_empty) = (Arc::new(AtomicBool::new(false)), body.is_end_stream());
        let version = parts.version;
        parts.extensions.insert(cx);
        let mut answer = if method == Method::OPTIONS {
            match self.preflight(bucket.as_deref(), &parts.headers) {
                Ok(headers) => empty(StatusCode::OK, headers),
                Err(error) => refusal(error, &id),
            }
        } else if let Err(error) = front::check(&parts.uri, &parts.headers, &self.0.settings.region) {
            // What is sent on meanwhile is read away, so that the client gets the answer.
            drop((!awaits_word).then(|| Lingering::new(body, silence)));
            refusal(error, &id)
        } else {
            let body = if awaits_word {
                s3s::Body::http_body_unsync(Timed::new(body, silence, has_word.clone()))
            } else {
                let body = Lingering::new(body, silence);
                s3s::Body::http_body_unsync(Timed::new(body, silence, has_word.clone()))
            };
            match service.call(Request::from_parts(parts, body)).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(?error, "an answer of S3 could not be written");
                    refusal(
                        fault::error(
                            S3ErrorCode::InternalError,
                            "We encountered an internal error. Please try again.",
                        ),
                        &id,
                    )
                }
            }
        };
        if let Some(origin) = origin.filter(|_| method != Method::OPTIONS) {
            self.expose(bucket.as_deref(), &origin, &method, answer.headers_mut());
        }
        // A client that waits and gets the answer instead may not know where the next one begins: botocore reads it as one of
        // before. RFC 9110, 10.1.1: say that the connection ends.
        let got_no_word = awaits_word && (is_empty || !has_word.load(Relaxed));
        if got_no_word && version < http::Version::HTTP_2 {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        finish(&mut answer, &id, is_head);
        answer
    }
}

fn empty(status: StatusCode, headers: HeaderMap) -> HttpResponse {
    let mut answer = HttpResponse::new(s3s::Body::empty());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn refusal(mut error: S3Error, id: &str) -> HttpResponse {
    error.set_request_id(id.to_owned());
    error.to_http_response().unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new()))
}

fn finish(answer: &mut HttpResponse, id: &str, is_head: bool) {
    let no_body = is_head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status());
    if no_body {
        *answer.body_mut() = s3s::Body::empty();
        if answer.status().is_client_error() || answer.status() == StatusCode::NOT_MODIFIED {
            answer.headers_mut().remove(header::CONTENT_TYPE);
        }
    }
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-amz-request-id", id);
    }
    headers.insert(header::SERVER, HeaderValue::from_static("hanse"));
}

struct Connection {
    store: ObjectStore,
    service: Arc<S3Service>,
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        builder: Builder<TokioExecutor>,
        watcher: Watcher,
    ) {
        // Small answers must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.speak(stream, builder.http1_only(), watcher).await;
        };
        let handshake = self.store.0.settings.handshake;
        let Ok(Ok(stream)) = tokio::time::timeout(handshake, tls.accept(stream)).await else {
            tracing::debug!(peer = %self.peer, "TLS handshake failed");
            return;
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
        self.speak(stream, builder, watcher).await;
    }

    async fn speak<S>(self, stream: S, builder: Builder<TokioExecutor>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let metrics = self.store.0.metrics.clone();
        metrics.connected();
        let (store, service, peer) = (self.store.clone(), self.service.clone(), self.peer);
        let answer = service_fn(move |request| {
            let (store, service) = (store.clone(), service.clone());
            async move { Ok::<_, std::convert::Infallible>(store.answer(&service, peer, request).await) }
        });
        let served = builder.serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = watcher.watch(served.into_owned()).await {
            tracing::debug!(%peer, %error, "connection to S3 ended");
        }
        metrics.disconnected();
    }
}

/// A body that may not be silent for long.
struct Timed<B> {
    body: B,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Set when it is asked for the first time.
    is_asked_for: Arc<AtomicBool>,
}

impl<B> Timed<B> {
    fn new(body: B, silence: Duration, is_asked_for: Arc<AtomicBool>) -> Timed<B> {
        Timed { body, silence, sleep: Box::pin(tokio::time::sleep(silence)), is_asked_for }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Timed<B> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        this.is_asked_for.store(true, Relaxed);
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.sleep.as_mut().reset(Instant::now() + this.silence);
            return Poll::Ready(frame.map(|frame| frame.map_err(std::io::Error::other)));
        }
        std::task::ready!(this.sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the body timed out"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
