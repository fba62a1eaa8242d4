//! A client that costs little: HTTP/1.1 over TLS on connections that stay open.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use hanse_core::Cx;
use hanse_e2e::Cloud;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio_rustls::TlsConnector;

use crate::figures::quantile;
use crate::process::cpu;
use crate::start::pid;

/// Where a cloud listens unless it is told otherwise.
const ADDRESS: &str = "127.0.0.1:8443";

/// How many requests are under way at once.
pub const CONNECTIONS: usize = 4;

/// No answer is longer, in bytes: a page of a list.
const BODY_LIMIT: usize = 64 << 20;

/// A request that can be made again and again, with the status that it must be answered with.
#[derive(Clone)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    expected: StatusCode,
}

impl Call {
    fn new(method: Method, path: &str, expected: StatusCode) -> Call {
        Call { method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new(), expected }
    }

    pub fn get(path: &str) -> Call {
        Call::new(Method::GET, path, StatusCode::OK)
    }

    pub fn post(path: &str, body: &Value, expected: StatusCode) -> Call {
        Call::new(Method::POST, path, expected)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    pub fn put(path: &str, kind: &str, body: impl Into<Bytes>, expected: StatusCode) -> Call {
        Call::new(Method::PUT, path, expected).header("content-type", kind).body(body)
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.headers.push((name, value.into()));
        self
    }

    pub fn token(self, token: &str) -> Call {
        self.header("x-auth-token", token)
    }

    fn body(mut self, body: impl Into<Bytes>) -> Call {
        self.body = body.into();
        self
    }

    fn request(&self) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(&self.method).uri(&self.path).header("host", ADDRESS);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(tls: &TlsConnector) -> Result<Connection> {
        let stream = TcpStream::connect(ADDRESS).await.context("cannot connect to the cloud")?;
        stream.set_nodelay(true)?;
        let stream = tls.connect(ServerName::try_from("127.0.0.1")?, stream).await.context("TLS")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection(sender))
    }

    async fn send(&mut self, call: &Call) -> Result<http::Response<Bytes>> {
        let response = self.0.send_request(call.request()?).await.context("no answer")?;
        let (parts, body) = response.into_parts();
        let body =
            Limited::new(body, BODY_LIMIT).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if parts.status != call.expected {
            let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            bail!("{} {} was answered with {}: {said}", call.method, call.path, parts.status);
        }
        Ok(http::Response::from_parts(parts, body))
    }

    pub async fn timed(&mut self, call: &Call) -> Result<Duration> {
        let start = Instant::now();
        self.send(call).await?;
        Ok(start.elapsed())
    }
}

/// What many requests of one kind took.
#[derive(Default)]
pub struct Cost {
    /// Processor time of the control plane for one request, in each round.
    pub cpu: Vec<Duration>,
    latencies: Vec<Duration>,
}

impl Cost {
    pub fn p50(&self) -> Duration {
        quantile(&self.latencies, 0.50)
    }

    pub fn p99(&self) -> Duration {
        quantile(&self.latencies, 0.99)
    }
}

/// A token with what belongs to it.
pub struct Session {
    pub token: String,
    pub user_id: String,
    pub project_id: String,
    /// One of the roles.
    pub role_id: String,
    pub catalog: Value,
}

/// The APIs of a cloud, from within its network namespace.
pub struct Api {
    /// The control plane's process.
    pub pid: u32,
    /// `clouds.yaml`, which is JSON.
    clouds: Value,
    namespace: PathBuf,
    tls: TlsConnector,
    connections: Mutex<Vec<Connection>>,
}

impl Api {
    pub async fn of(cloud: &Cloud) -> Result<Api> {
        let operator = cloud.state().join("operator");
        let ca = read(&operator.join("ca.crt"))?;
        let tls = TlsConnector::from(hanse_crypto::client_config(&Cx::system(), &ca)?);
        let namespace = cloud.namespace();
        enter(&namespace)?;
        let connections = try_join_all((0..CONNECTIONS).map(|_| Connection::open(&tls))).await?;
        Ok(Api {
            pid: pid(cloud, "control_plane")?,
            clouds: serde_json::from_str(&read(&operator.join("clouds.yaml"))?)?,
            namespace,
            tls,
            connections: Mutex::new(connections),
        })
    }

    /// One connection more than those that [`Api::load`] uses.
    pub async fn connect(&self) -> Result<Connection> {
        enter(&self.namespace)?;
        Connection::open(&self.tls).await
    }

    /// The connections, opened anew where the cloud has closed one that was idle.
    async fn pool(&self) -> Result<MutexGuard<'_, Vec<Connection>>> {
        let mut pool = self.connections.lock().await;
        for connection in pool.iter_mut() {
            if connection.0.is_closed() {
                *connection = self.connect().await?;
            }
        }
        Ok(pool)
    }

    /// One request, on one connection.
    pub async fn send(&self, call: &Call) -> Result<http::Response<Bytes>> {
        self.pool().await?.first_mut().context("no connection")?.send(call).await
    }

    pub async fn json(&self, call: &Call) -> Result<Value> {
        Ok(serde_json::from_slice(self.send(call).await?.body())?)
    }

    /// Makes `times` requests, on as many connections at once, and adds what they took to `cost`.
    pub async fn load(&self, call: &Call, times: usize, connections: usize, cost: &mut Cost) -> Result<()> {
        let mut pool = self.pool().await?;
        let left = AtomicUsize::new(times);
        let before = cpu(self.pid)?;
        let latencies = try_join_all(pool.iter_mut().take(connections).map(async |connection| {
            let mut latencies = Vec::new();
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                latencies.push(connection.timed(call).await?);
            }
            anyhow::Ok(latencies)
        }))
        .await?;
        let spent = cpu(self.pid)?.saturating_sub(before);
        cost.cpu.push(spent.div_f64(times.max(1) as f64));
        cost.latencies.extend(latencies.into_iter().flatten());
        Ok(())
    }

    /// Makes `times` requests, one after another, each followed by something else that is not counted.
    pub async fn alternate(
        &self,
        call: &Call,
        times: usize,
        cost: &mut Cost,
        mut other: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let mut pool = self.pool().await?;
        let connection = pool.first_mut().context("no connection")?;
        let before = cpu(self.pid)?;
        for _ in 0..times {
            cost.latencies.push(connection.timed(call).await?);
            other().await?;
        }
        let spent = cpu(self.pid)?.saturating_sub(before);
        cost.cpu.push(spent.div_f64(times.max(1) as f64));
        Ok(())
    }

    /// What logs in as an entry of `clouds.yaml`.
    pub fn login(&self, cloud: &str) -> Call {
        let auth = &self.clouds["clouds"][cloud]["auth"];
        let domain = json!({ "id": auth["user_domain_id"] });
        let user = json!({ "name": auth["username"], "domain": domain, "password": auth["password"] });
        let project = json!({ "name": auth["project_name"], "domain": { "id": auth["project_domain_id"] } });
        password(&user, Some(&json!({ "project": project })))
    }

    pub async fn session(&self, cloud: &str) -> Result<Session> {
        self.issued(&self.login(cloud)).await
    }

    /// The token that a request is answered with.
    pub async fn issued(&self, call: &Call) -> Result<Session> {
        let response = self.send(call).await?;
        let token = response.headers().get("x-subject-token").context("no token")?.to_str()?.to_owned();
        let body: Value = serde_json::from_slice(response.body())?;
        let body = &body["token"];
        let id = |value: &Value| value["id"].as_str().map(str::to_owned).context("a token that lacks an id");
        Ok(Session {
            token,
            user_id: id(&body["user"])?,
            project_id: id(&body["project"])?,
            role_id: id(&body["roles"][0])?,
            catalog: body["catalog"].clone(),
        })
    }
}

/// What logs a user in by password, for a scope or for nothing in particular.
pub fn password(user: &Value, scope: Option<&Value>) -> Call {
    let identity = json!({ "methods": ["password"], "password": { "user": user } });
    let body = json!({ "auth": { "identity": identity, "scope": scope } });
    Call::post("/identity/v3/auth/tokens", &body, StatusCode::CREATED)
}

/// What logs in by an application credential.
pub fn credential(id: &Value, secret: &Value) -> Call {
    let credential = json!({ "id": id, "secret": secret });
    let identity = json!({ "methods": ["application_credential"], "application_credential": credential });
    Call::post("/identity/v3/auth/tokens", &json!({ "auth": { "identity": identity } }), StatusCode::CREATED)
}

/// What gives another token for a token.
pub fn rescope(token: &str, project_id: &str) -> Call {
    let body = json!({ "auth": {
        "identity": { "methods": ["token"], "token": { "id": token } },
        "scope": { "project": { "id": project_id } },
    }});
    Call::post("/identity/v3/auth/tokens", &body, StatusCode::CREATED)
}

/// From here on new sockets of this thread, the only one, are on the machine of that cloud.
pub fn enter(namespace: &Path) -> Result<()> {
    let file = std::fs::File::open(namespace).context("cannot open the network namespace")?;
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
        .context("cannot enter the network namespace")
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
