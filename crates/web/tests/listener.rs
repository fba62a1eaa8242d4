//! The listener and the layer around an API, over real TLS.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::{get, post};
use hanse_core::{Cx, Error, Microversion, Result, VersionRange};
use hanse_crypto::{CertificateAuthority, client_config, server_config};
use hanse_policy::Caller;
use hanse_web::{
    Api, Authenticator, Body, Call, FaultStyle, Limits, Listener, Metrics, Reply, Service, mount,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: &Cx, _: &str) -> Result<Arc<Caller>> {
        Err(Error::unauthorized("The request you have made requires authentication."))
    }
}

async fn echo(Body(value): Body<Value>) -> Reply<String> {
    Ok(value.to_string())
}

async fn breaks() -> Reply<String> {
    panic!("a bug in a handler")
}

async fn secret(_: Call) -> Reply<String> {
    Ok("never".to_owned())
}

struct Server {
    address: SocketAddr,
    ca: String,
    cx: Cx,
    _stop: tokio_util::sync::DropGuard,
}

impl Server {
    async fn start(limits: Limits) -> Server {
        let cx = Cx::system();
        let directory = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::load_or_create(directory.path(), &cx).unwrap();
        let certificate = authority.issue_server(&cx, &["localhost".to_owned()]).unwrap();
        let tls = server_config(&cx, &certificate.chain_pem, &certificate.key_pem).unwrap();
        let version = |minor| Microversion::new(2, minor);
        let service = Service {
            name: "compute",
            path: "/compute",
            routes: Router::new()
                .route("/echo", post(echo))
                .route("/breaks", get(breaks))
                .route("/secret", get(secret))
                .route("/", get(async || "root"))
                .route("/things", get(async |uri: http::Uri| uri.to_string())),
            faults: FaultStyle::Nova,
            microversions: Some(("compute", VersionRange { min: version(1), max: version(3) })),
            reconcilers: Vec::new(),
            verbs: &[],
            catalog: Vec::new(),
        };
        let metrics = Metrics::default();
        let api = Api {
            cx: cx.clone(),
            authenticator: Arc::new(Nobody),
            metrics: metrics.clone(),
            identity_url: "https://cloud.example/identity".into(),
        };
        let router = mount(Router::new(), &service, &api);
        let listener =
            Listener::bind("127.0.0.1:0".parse().unwrap(), "api.listen", tls, limits, metrics).await.unwrap();
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener.run(router, stop.clone()));
        Server { address, ca: authority.ca_pem().to_owned(), cx, _stop: stop.drop_guard() }
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let tls = TlsConnector::from(client_config(&self.cx, &self.ca).unwrap());
        let stream = TcpStream::connect(self.address).await?;
        tls.connect("localhost".try_into().unwrap(), stream).await
    }

    /// Sends raw bytes and reads until the server closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await.unwrap();
        // The server may answer and close before it has taken everything.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.say(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n")
                .as_bytes(),
        )
        .await
    }

    async fn post(&self, body: &[u8], headers: &str) -> String {
        let length = body.len();
        let head = format!(
            "POST /compute/echo HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.say(&[head.as_bytes(), body].concat()).await
    }
}

/// Whatever comes until the other side closes; a hang fails after a generous time.
async fn read_all(stream: &mut TlsStream<TcpStream>) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes));
    let _ = read.await.unwrap_or_else(|_| panic!("the server does not close"));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_in_the_apis_own_form() {
    let server = Server::start(Limits::default()).await;
    for (answer, status, fault) in [
        (server.get("/compute/secret", "").await, 401, "unauthorized"),
        (server.get("/compute/secret", "x-auth-token: nonsense\r\n").await, 401, "unauthorized"),
        (server.get("/compute/nothing", "").await, 404, "itemNotFound"),
        (server.get("/compute/echo", "").await, 405, "badMethod"),
        (
            server.get("/compute/secret", "openstack-api-version: compute 2.99\r\n").await,
            406,
            "notAcceptable",
        ),
        (server.get("/compute/secret", "openstack-api-version: compute two\r\n").await, 400, "badRequest"),
        (server.post(b"{\"a\": ", "").await, 400, "badRequest"),
        (server.post(b"{}", "content-type: text/plain\r\n").await, 415, "badMediaType"),
        (server.post(&vec![b' '; (1 << 20) + 1], "").await, 413, "overLimit"),
    ] {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains(&format!("{{\"{fault}\":{{\"code\":{status},")), "{fault}: {answer}");
        assert!(answer.contains("x-compute-request-id: req-"), "{answer}");
    }
    let challenge = server.get("/compute/secret", "").await;
    assert!(
        challenge.contains("www-authenticate: Keystone uri=\"https://cloud.example/identity\""),
        "{challenge}"
    );
    assert!(server.post(b"{\"a\": 1}", "").await.ends_with("{\"a\":1}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_at_the_end_of_a_path_means_nothing() {
    let server = Server::start(Limits::default()).await;
    for (path, expected) in [
        ("/compute", "root"),
        ("/compute/", "root"),
        ("/compute//", "root"),
        ("/compute/things", "/things"),
        ("/compute/things/", "/things"),
        ("/compute/things//?a=b/", "/things?a=b/"),
    ] {
        let answer = server.get(path, "").await;
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{path}: {answer}");
    }
    assert!(server.get("/compute/thing/s/", "").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_request_and_not_the_process() {
    let server = Server::start(Limits::default()).await;
    let answer = server.get("/compute/breaks", "").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("a bug in a handler"));
    assert!(server.post(b"[]", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_are_cut_off() {
    let short = Duration::from_millis(300);
    let limits = Limits { handshake: short, head: short, silence: short, ..Limits::default() };
    let server = Server::start(limits).await;
    // Never a TLS handshake.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut nothing = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut nothing)).await;
    assert!(closed.is_ok(), "the handshake has no limit");
    // Never a whole head; nothing at all after the handshake; never a whole body.
    server.say(b"GET /compute/echo HTTP/1.1\r\nhost: loc").await;
    server.say(b"").await;
    let answer = server.say(b"POST /compute/echo HTTP/1.1\r\nhost: l\r\ncontent-length: 100\r\n\r\n{").await;
    assert!(!answer.contains(" 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_refused_and_others_go_on() {
    let server = Server::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = server.connect().await.unwrap();
    assert!(server.connect().await.is_err(), "a second connection is closed at once");
    first.write_all(b"GET /compute/nothing HTTP/1.1\r\nhost: l\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_all(&mut first).await.starts_with("HTTP/1.1 404 "));
    // Its place is free again.
    let again = async {
        while server.connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), again).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_while_sending_much_can_send_it_all_and_reads_the_answer() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await.unwrap();
    let length = 32 << 20;
    let head = format!("POST /compute/nothing HTTP/1.1\r\nhost: l\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; length]).await.unwrap();
    // The connection is as good as before.
    stream.write_all(b"GET /compute/secret HTTP/1.1\r\nhost: l\r\nconnection: close\r\n\r\n").await.unwrap();
    let answers = read_all(&mut stream).await;
    assert!(answers.starts_with("HTTP/1.1 404 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 401 "), "{answers}");
}
