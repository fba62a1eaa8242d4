//! A client that costs little, for either server: HTTP/1.1, over TLS where the server speaks it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer is longer, in bytes.
const BODY_LIMIT: usize = 16 << 20;

/// A request that can be made again and again, with the status that it must be answered with.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    /// Below `/identity/v3`.
    pub path: String,
    pub token: Option<String>,
    pub subject: Option<String>,
    pub body: Option<Value>,
    pub expected: StatusCode,
}

impl Call {
    pub fn post(path: &str, body: Value) -> Call {
        Call {
            method: Method::POST,
            path: path.to_owned(),
            token: None,
            subject: None,
            body: Some(body),
            expected: StatusCode::CREATED,
        }
    }

    pub fn get(path: &str) -> Call {
        Call {
            method: Method::GET,
            path: path.to_owned(),
            token: None,
            subject: None,
            body: None,
            expected: StatusCode::OK,
        }
    }

    /// The validation of a token, by itself.
    pub fn validation(token: &str) -> Call {
        Call { subject: Some(token.to_owned()), ..Call::get("/auth/tokens").token(token) }
    }

    pub fn token(self, token: &str) -> Call {
        Call { token: Some(token.to_owned()), ..self }
    }

    fn request(&self, host: &str) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(&self.method).uri(format!("/identity/v3{}", self.path));
        request = request.header("host", host).header("content-type", "application/json");
        for (name, value) in [("x-auth-token", &self.token), ("x-subject-token", &self.subject)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        Ok(request.body(Full::new(body.into()))?)
    }
}

/// A connection that is opened anew when the server has closed it, as uWSGI does after each answer.
pub struct Connection {
    address: &'static str,
    tls: Option<TlsConnector>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn new(address: &'static str, tls: Option<TlsConnector>) -> Connection {
        Connection { address, tls, sender: None }
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => {
                let host = self.address.split(':').next().unwrap_or(self.address).to_owned();
                let stream = tls.connect(ServerName::try_from(host)?, stream).await.context("TLS")?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        })
    }

    pub async fn send(&mut self, call: &Call) -> Result<http::Response<Bytes>> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.open().await?,
        };
        let response = sender.send_request(call.request(self.address)?).await.context("no answer")?;
        let (parts, body) = response.into_parts();
        let body =
            Limited::new(body, BODY_LIMIT).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if parts.status != call.expected {
            let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            bail!("{} {} was answered with {}: {said}", call.method, call.path, parts.status);
        }
        // uWSGI closes without saying so, and the next request would find it out too late.
        if self.tls.is_some() {
            self.sender = Some(sender);
        }
        Ok(http::Response::from_parts(parts, body))
    }

    pub async fn timed(&mut self, call: &Call) -> Result<Duration> {
        let start = Instant::now();
        self.send(call).await?;
        Ok(start.elapsed())
    }
}
