//! Requests as they come from the listener, and their answers.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hanse_web::{Lingering, Listener};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpResponse, S3Error, S3ErrorCode, S3Result};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutBody;

use crate::access::Tls;
use crate::logging::{Heard, Noted};
use crate::website::Site;
use crate::{ObjectStore, fault, front, kms, swift};

/// No request takes longer: 5 GiB at half a megabit in a second.
const REQUEST_MAX: Duration = Duration::from_secs(24 * 3600);
/// Of XML in requests: a thousand keys of 1,024 bytes, each escaped, have less.
const XML_MAX: usize = 8 << 20;
/// Of a file in a form, which is kept in memory until its policy is checked.
const FORM_FILE_MAX: u64 = 16 << 20;

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

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, listener: Listener, stop: CancellationToken) {
        let service = Arc::new(self.s3());
        let (keeper, ended) = (self.clone(), stop.clone());
        let keeping = tokio::spawn(async move {
            tokio::join!(
                keeper.keep_expiring(&ended),
                keeper.keep_delivering_logs(&ended),
                keeper.keep_notifying(&ended)
            );
            keeper
        });
        let is_tls = listener.is_tls();
        let answer = move |mut request: Request<Incoming>, peer| {
            let (store, service) = (self.clone(), service.clone());
            if is_tls {
                request.extensions_mut().insert(Tls);
            }
            async move { store.answer(&service, peer, request).await }
        };
        listener.serve(answer, stop).await;
        match keeping.await {
            // Of the last requests, too.
            Ok(keeper) => {
                keeper.deliver_logs().await;
            }
            Err(error) => tracing::error!(%error, "what is done in the background has ended"),
        }
    }

    /// One request.
    async fn answer(&self, service: &S3Service, peer: IpAddr, request: Request<Incoming>) -> HttpResponse {
        let cx = self.0.cx.request(REQUEST_MAX).from_source(Some(peer));
        let id = cx.request_id().to_owned();
        let (mut parts, body) = request.into_parts();
        let silence = self.0.settings.silence;
        let is_head = parts.method == Method::HEAD;
        let settings = &self.0.settings;
        let in_host = |domain: &Option<String>| front::in_host(&parts.uri, &parts.headers, domain.as_deref());
        let site = in_host(&settings.website_domain);
        let in_host = site.clone().or_else(|| in_host(&settings.domain));
        let heard = Heard::of(&parts, in_host.is_some(), site.is_some());
        let bucket = in_host.or_else(|| front::in_path(&parts.uri));
        let origin =
            parts.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
        let method = parts.method.clone();
        let awaits_word = parts.headers.contains_key(header::EXPECT);
        // Whether it got the word: hyper says it when the body is first asked for, unless there is none.
        let (has_word, is_empty) = (Arc::new(AtomicBool::new(false)), body.is_end_stream());
        let version = parts.version;
        parts.extensions.insert(cx.clone());
        let noted = Noted::default();
        parts.extensions.insert(noted.clone());
        let is_swift = site.is_none() && swift::is_for(bucket.as_deref(), &method, parts.uri.path());
        let is_kms =
            site.is_none() && bucket.is_none() && kms::is_for(&method, parts.uri.path(), &parts.headers);
        let check = match is_swift || site.is_some() {
            // Swift has no signatures that headers would have to be in, and websites pay no heed to any.
            true => Ok(()),
            false => front::check(&parts.uri, &parts.headers, &self.0.settings.region),
        };
        let shared = if is_swift { swift::cors::bucket_of(parts.uri.path()) } else { bucket.clone() };
        let mut answer = if method == Method::OPTIONS {
            match self.preflight(shared.as_deref(), &parts.headers) {
                Ok(headers) => empty(StatusCode::OK, headers),
                Err(error) => refusal(error, &id),
            }
        } else if let Some(bucket) = &site {
            drop((!awaits_word).then(|| Lingering::new(body, silence)));
            Box::pin(Site { store: self, service, bucket, request: &parts, id: &id }.answer()).await
        } else if let Err(error) = check {
            // What is sent on meanwhile is read away, so that the client gets the answer.
            drop((!awaits_word).then(|| Lingering::new(body, silence)));
            refusal(error, &id)
        } else {
            let (left, is_asked_for) = (body.size_hint().exact(), has_word.clone());
            let body = if awaits_word {
                s3s::Body::http_body_unsync(Known {
                    body: Box::pin(TimeoutBody::new(silence, body)),
                    left,
                    is_asked_for,
                })
            } else {
                let body = Box::pin(TimeoutBody::new(silence, Lingering::new(body, silence)));
                s3s::Body::http_body_unsync(Known { body, left, is_asked_for })
            };
            let request = Request::from_parts(parts, body);
            let answered = match (is_swift, is_kms) {
                (true, _) => Ok(Box::pin(self.swift(request)).await),
                (_, true) => Ok(Box::pin(self.kms(request)).await),
                _ => service.call(request).await,
            };
            match answered {
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
            self.expose(shared.as_deref(), &origin, &method, answer.headers_mut());
        }
        // A client that waits and gets the answer instead may not know where the next one begins: botocore reads it as one of
        // before. RFC 9110, 10.1.1: say that the connection ends.
        let got_no_word = awaits_word && (is_empty || !has_word.load(Relaxed));
        if got_no_word && version < http::Version::HTTP_2 {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let logged = bucket.as_deref().filter(|_| !is_swift);
        let mut answer = self.log(&cx, &heard, &noted, logged, answer);
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

/// A body of which is known whether it was asked for, and how long it is: what limits its time does not tell that.
struct Known<B> {
    body: B,
    /// Bytes; `None` if the client did not say.
    left: Option<u64>,
    is_asked_for: Arc<AtomicBool>,
}

impl<B: Body<Data = Bytes>> Body for Known<Pin<Box<B>>> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, B::Error>>> {
        self.is_asked_for.store(true, Relaxed);
        let frame = std::task::ready!(self.body.as_mut().poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let (Some(left), Some(data)) = (&mut self.left, frame.data_ref())
        {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
