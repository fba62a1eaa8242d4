//! The layer around the routes of each API.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hanse_core::{Cx, Error, Kind, Microversion, VersionRange};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tower::ServiceExt as _;

use crate::call::{Authenticator, Open};
use crate::fault::{Failure, FaultStyle, Pending};
use crate::metrics::Metrics;
use crate::server::Peer;
use crate::service::Service;

/// The longest JSON body that any API takes.
const BODY_LIMIT: usize = 1 << 20;

/// How long a request may take, from its head to the head of its answer.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A transfer of bytes (image data) may take this long in all; a stalled one is cut off much earlier.
const TRANSFER_LIMIT: Duration = Duration::from_secs(6 * 3600);

/// What the layer needs to know of the cloud and of one API.
#[derive(Clone)]
pub struct Api {
    pub cx: Cx,
    pub authenticator: Arc<dyn Authenticator>,
    pub metrics: Metrics,
    /// The public address of the identity API, for `WWW-Authenticate`.
    pub identity_url: Arc<str>,
}

#[derive(Clone)]
struct Around {
    api: Api,
    name: &'static str,
    /// The service type in the catalog.
    kind: &'static str,
    path: &'static str,
    faults: FaultStyle,
    microversions: Option<(&'static str, VersionRange)>,
}

/// Puts a service's routes, wrapped in its layer, at its path.
pub fn mount(router: Router, service: &Service, api: &Api) -> Router {
    let around = Around {
        api: api.clone(),
        name: service.name,
        kind: service.catalog.first().map_or(service.name, |entry| entry.kind),
        path: service.path,
        faults: service.faults,
        microversions: service.microversions,
    };
    let routes = service
        .routes
        .clone()
        .fallback(async || Failure(Error::new(Kind::NotFound, "The resource could not be found.")))
        .method_not_allowed_fallback(async || {
            Failure(Error::method_not_allowed("The method is not allowed for this resource."))
        })
        .layer(from_fn(move |request: Request, next: Next| {
            let around = around.clone();
            async move { around.handle(request, next).await }
        }))
        .layer(Extension(api.authenticator.clone()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    router.nest_service(service.path, routes.map_request(without_slash_at_end))
}

/// Clients write any path with and without a slash at its end, and mean the same by it.
fn without_slash_at_end(mut request: Request) -> Request {
    let path = request.uri().path();
    let bare = path.trim_end_matches('/');
    if bare.len() < path.len() {
        let bare = if bare.is_empty() { "/" } else { bare };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        if let Ok(uri) = format!("{bare}{query}").parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Whether a path says something once it is decoded. Else axum would answer, and in no API's form.
fn is_text(path: &str) -> bool {
    percent_encoding::percent_decode_str(path).decode_utf8().is_ok()
}

impl Around {
    async fn handle(&self, mut request: Request, next: Next) -> Response {
        let started = self.api.cx.now();
        let transfer = is_transfer(request.headers());
        let limit = if transfer { TRANSFER_LIMIT } else { TIME_LIMIT };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let version = match is_text(&path) {
            true => self.negotiate(request.headers()),
            false => Err(Error::bad_request("The path is not UTF-8.")),
        };
        let peer: Option<IpAddr> = request.extensions().get::<Peer>().map(|peer| peer.0);
        let cx = self.api.cx.request(limit).from_source(peer);
        let mut response = match &version {
            Err(error) => self.faults.render(error, cx.request_id()),
            Ok(version) => {
                request.extensions_mut().insert(Open {
                    cx: cx.clone(),
                    version: *version,
                    peer,
                    service: self.kind,
                    mount: self.path,
                });
                match tokio::time::timeout(limit, next.run(request)).await {
                    Ok(response) => self.finish(response, &cx),
                    Err(_) => {
                        let error = Error::new(Kind::Timeout, "The request took longer than its time limit.");
                        self.faults.render(&error, cx.request_id())
                    }
                }
            }
        };
        self.head(response.headers_mut(), &cx, version.ok());
        let took = cx.now().since(started);
        self.api.metrics.request(self.name, &method, response.status(), took);
        // The query may carry what is nobody's business; the path does not.
        tracing::info!(
            service = self.name, %method, path, status = response.status().as_u16(),
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), request_id = cx.request_id(), "request"
        );
        response
    }

    /// Renders the error that a handler returned, and logs what the client does not learn.
    fn finish(&self, mut response: Response, cx: &Cx) -> Response {
        let Some(Pending(error)) = response.extensions_mut().remove::<Pending>() else { return response };
        if error.kind() == Kind::Internal {
            tracing::error!(request_id = cx.request_id(), error = %error, "request failed");
        } else {
            tracing::debug!(request_id = cx.request_id(), error = %error, "request refused");
        }
        let mut rendered = self.faults.render(&error, cx.request_id());
        if rendered.status() == StatusCode::UNAUTHORIZED {
            let challenge = format!("Keystone uri=\"{}\"", self.api.identity_url);
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                rendered.headers_mut().insert(header::WWW_AUTHENTICATE, value);
            }
        }
        rendered
    }

    fn negotiate(&self, headers: &HeaderMap) -> Result<Microversion, Error> {
        let Some((kind, range)) = &self.microversions else { return Ok(Microversion::new(0, 0)) };
        let mut asked = None;
        for value in headers.get_all("openstack-api-version") {
            // "compute 2.3", or several of them separated by commas.
            for part in value.to_str().unwrap_or_default().split(',') {
                if let Some((service, version)) = part.trim().split_once(' ')
                    && service == *kind
                {
                    asked = Some(version.trim().to_owned());
                }
            }
        }
        if asked.is_none() && *kind == "compute" {
            let legacy = headers.get("x-openstack-nova-api-version");
            asked = legacy.and_then(|value| value.to_str().ok()).map(str::to_owned);
        }
        range.negotiate(asked.as_deref())
    }

    fn head(&self, headers: &mut HeaderMap, cx: &Cx, version: Option<Microversion>) {
        if let Ok(id) = HeaderValue::from_str(cx.request_id()) {
            headers.insert(HeaderName::from_static("x-openstack-request-id"), id.clone());
            if self.name == "compute" {
                headers.insert(HeaderName::from_static("x-compute-request-id"), id);
            }
        }
        let mut vary = vec!["X-Auth-Token"];
        if let (Some((kind, _)), Some(version)) = (&self.microversions, version) {
            vary = vec!["OpenStack-API-Version"];
            if let Ok(value) = HeaderValue::from_str(&format!("{kind} {version}")) {
                headers.insert(HeaderName::from_static("openstack-api-version"), value);
            }
            if *kind == "compute" {
                vary.push("X-OpenStack-Nova-API-Version");
                if let Ok(value) = HeaderValue::from_str(&version.to_string()) {
                    headers.insert(HeaderName::from_static("x-openstack-nova-api-version"), value);
                }
            }
        }
        if let Ok(value) = HeaderValue::from_str(&vary.join(", ")) {
            headers.insert(header::VARY, value);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

/// Whether the request carries bytes rather than JSON.
fn is_transfer(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream")
        || headers.get(header::ACCEPT).is_some_and(|kind| kind == "application/octet-stream")
}

/// A panic in a handler ends one request.
pub(crate) fn caught_panic(_: Box<dyn std::any::Any + Send>) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
}
