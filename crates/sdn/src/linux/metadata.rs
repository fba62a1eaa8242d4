//! The HTTP server at 169.254.169.254. It knows a guest by the network that the request comes from and by its
//! source address, which anti-spoofing vouches for; headers such as X-Forwarded-For mean nothing here.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::service::Tenants;
use crate::MetadataTree;

/// Connections of one network at the same time; more of them wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
const HEADER_LIMIT: usize = 16 * 1024;
const HEADER_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(30);
const PATH_LIMIT: usize = 1024;

/// Serves one network until it is dropped.
pub async fn serve(listener: TcpListener, tenants: watch::Receiver<Arc<Tenants>>, tree: MetadataTree) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Connections end with the server: a guest must not go on reading what is no longer served.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a connection that died in the queue: neither is the end.
                tracing::warn!(%error, "the metadata service cannot accept");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tenants, tree) = (tenants.clone(), tree.clone());
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&request, peer.ip(), &tenants.borrow(), &tree);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADER_LIMIT)
                .serve_connection(TokioIo::new(stream), service);
            // How a guest breaks off its own connection is of no interest.
            let _ = timeout(CONNECTION_TIME, connection).await;
            drop(slot);
        });
    }
}

fn respond<B>(
    request: &Request<B>,
    peer: IpAddr,
    tenants: &Tenants,
    tree: &MetadataTree,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let IpAddr::V4(address) = peer else { return text(StatusCode::NOT_FOUND, "unknown guest\n") };
    let Some(guest) = tenants.guests.get(&address) else {
        return text(StatusCode::NOT_FOUND, "unknown guest\n");
    };
    let Some(path) = normalise(request.uri().path()) else {
        return text(StatusCode::BAD_REQUEST, "not a path\n");
    };
    let Some(body) = tree(guest.id, &guest.identity, &path) else {
        return text(StatusCode::NOT_FOUND, "not found\n");
    };
    let kind = if path.ends_with(".json") { "application/json" } else { "text/plain; charset=UTF-8" };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}

/// One slash between two parts and none at the end, since clients ask for directories both ways; none of `.`,
/// `..` and escapes, which no path of the tree has.
fn normalise(path: &str) -> Option<String> {
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:=".contains(&byte));
    if !plain || path.len() > PATH_LIMIT {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| *part == "." || *part == "..") {
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use hanse_core::Uuid;
    use hanse_node::documents::GuestIdentity;

    use super::super::service::Tenant;
    use super::*;

    fn ask(method: Method, uri: &str, peer: &str) -> StatusCode {
        let identity = GuestIdentity {
            name: "web".to_owned(),
            hostname: "web".to_owned(),
            project_id: String::new(),
            availability_zone: String::new(),
            flavor: String::new(),
            public_keys: BTreeMap::new(),
            metadata: BTreeMap::new(),
            user_data: None,
            network_data: String::new(),
        };
        let tenant = Tenant { id: Uuid::nil(), identity };
        let guests = HashMap::from([("10.0.0.5".parse().unwrap(), tenant)]);
        let tenants = Tenants { guests, ..Tenants::default() };
        let tree: MetadataTree =
            Arc::new(|_, guest, path| (path == "/latest/meta-data").then(|| guest.name.clone().into()));
        let request = Request::builder().method(method).uri(uri).header("X-Forwarded-For", "10.0.0.5");
        respond(&request.body(()).unwrap(), peer.parse().unwrap(), &tenants, &tree).status()
    }

    #[test]
    fn only_a_known_guest_gets_an_answer_whatever_its_headers_say() {
        assert_eq!(ask(Method::GET, "/latest/meta-data/", "10.0.0.5"), StatusCode::OK);
        assert_eq!(ask(Method::GET, "//latest/meta-data?x=1", "10.0.0.5"), StatusCode::OK);
        assert_eq!(ask(Method::GET, "/latest/meta-data", "10.0.0.6"), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::GET, "/latest", "10.0.0.5"), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/latest/meta-data", "10.0.0.5"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask(Method::GET, "/latest/../meta-data", "10.0.0.5"), StatusCode::BAD_REQUEST);
        assert_eq!(ask(Method::GET, "/%2e%2e", "10.0.0.5"), StatusCode::BAD_REQUEST);
    }
}
