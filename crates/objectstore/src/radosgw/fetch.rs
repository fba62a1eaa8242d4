//! One request to a server outside, within limits of time and size.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Context, Cx, Error, Result};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one request may take, from the connection to the last byte of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 4 << 20;

pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Asks one server. Each request has a connection of its own; redirections are not followed.
pub struct Fetcher {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Whether a host is this machine whoever is asked.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Fetcher {
    /// For an `endpoint` such as `https://rgw.example.org:8443`, whose certificate one of the authorities in `ca` (PEM) has signed.
    /// Without TLS only this machine is spoken to.
    ///
    /// # Errors
    /// 400 if the endpoint is no such address, or if the CA is missing or cannot be used.
    pub fn new(cx: &Cx, endpoint: &str, ca: Option<&str>) -> Result<Fetcher> {
        let wrong =
            || Error::bad_request(format!("{endpoint} is no address such as https://rgw.example.org"));
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let authority =
            uri.authority().filter(|_| uri.path() == "/" && uri.query().is_none()).ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        if !is_tls && !is_loopback(&host) {
            return Err(Error::bad_request(format!(
                "{endpoint} must begin with https:// unless it is this machine's"
            )));
        }
        let tls = match (is_tls, ca) {
            (false, _) => None,
            (true, None) => {
                return Err(Error::bad_request(format!("{endpoint} needs the certificate of its CA")));
            }
            (true, Some(ca)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                let config = hanse_crypto::client_config(cx, ca).map_err(|error| {
                    Error::bad_request(format!("the CA of {endpoint}: {}", error.detail()))
                })?;
                Some((TlsConnector::from(config), name))
            }
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Fetcher { host, port, tls })
    }

    /// What stands in the header `Host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.port, self.tls.is_some()) {
            (443, true) | (80, false) => host,
            (port, _) => format!("{host}:{port}"),
        }
    }

    /// # Errors
    /// 503 if there is no whole answer in time, or a larger one than makes sense.
    pub async fn ask(&self, request: Request<Empty<Bytes>>) -> Result<Answer> {
        match tokio::time::timeout(TIME_LIMIT, self.connect_and_ask(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::unavailable(format!("{}: {}", self.authority(), error.detail()))),
            Err(_) => Err(Error::unavailable(format!("{} does not answer in time", self.authority()))),
        }
    }

    async fn connect_and_ask(&self, request: Request<Empty<Bytes>>) -> Result<Answer> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.context("cannot connect")?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some((connector, name)) => {
                exchange(connector.connect(name.clone(), stream).await.context("TLS")?, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context("HTTP")?;
    let connection = Arc::new(tokio::spawn(connection));
    // Whoever gives up waiting must not leave it open.
    let _guard = AbortOnDrop(connection.clone());
    let response = sender.send_request(request).await.context("no answer")?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_LIMIT)
        .collect()
        .await
        .map_err(|error| Error::unavailable(format!("the answer breaks off: {error}")))?;
    Ok(Answer { status, body: body.to_bytes() })
}

struct AbortOnDrop<T>(Arc<tokio::task::JoinHandle<T>>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_others_go_over_tls_to_whom_the_ca_vouches_for() {
        let cx = Cx::system();
        let new = |endpoint: &str| Fetcher::new(&cx, endpoint, None).map(|fetcher| fetcher.authority());
        assert_eq!(new("http://127.0.0.1:8000").unwrap(), "127.0.0.1:8000");
        assert_eq!(new("http://[::1]/").unwrap(), "[::1]");
        for endpoint in [
            "http://rgw.example.org",
            "https://rgw.example.org",
            "http://10.0.0.1:8000",
            "http://127.0.0.1/admin",
            "http://a:b@127.0.0.1",
            "127.0.0.1:8000",
            "",
        ] {
            assert!(new(endpoint).is_err(), "{endpoint}");
        }
        assert!(Fetcher::new(&cx, "https://rgw.example.org", Some("no certificate")).is_err());
    }
}
