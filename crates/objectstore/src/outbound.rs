//! Connections to servers outside: only to those that the operator has configured. Redirections are not followed.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Context, Cx, Error, Result};
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// For a connection with its handshakes.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where something is that `http` or `https` leads to.
pub struct Place {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
    /// As `Host` says it.
    pub authority: String,
    /// The path, and the query if there is one.
    pub target: String,
}

impl Place {
    /// `None` if it is no such address, or one with a password in it.
    pub fn parse(url: &str) -> Option<Place> {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|own| !own.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Some(Place { is_tls, host, port, authority: authority.as_str().to_owned(), target })
    }

    /// Whether that is this machine whoever is asked.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// A server, and by whom it is known.
pub struct Server {
    pub place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Server {
    /// One whose certificate an authority of `ca` (PEM) has signed; only `http` needs none.
    ///
    /// # Errors
    /// 400 if there is no such authority, or no name that a certificate could have.
    pub fn new(cx: &Cx, place: Place, ca: Option<&str>) -> Result<Server> {
        let wrong = |what: &str| Error::bad_request(format!("{}: {what}", place.authority));
        let tls = match (place.is_tls, ca) {
            (false, _) => None,
            (true, None) => return Err(wrong("it needs the certificate of its CA")),
            (true, Some(ca)) => {
                let name =
                    ServerName::try_from(place.host.clone()).map_err(|_| wrong("no name of a server"))?;
                let config = hanse_crypto::client_config(cx, ca)
                    .map_err(|error| wrong(&format!("its CA: {}", error.detail())))?;
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Server { place, tls })
    }

    /// A new connection, which ends when nobody sends on it any more.
    ///
    /// # Errors
    /// Internal if the server cannot be reached in time, or is not who it should be.
    pub async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        timeout(CONNECT_MAX, self.try_connect()).await.context("cannot connect in time")?
    }

    async fn try_connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let Place { host, port, .. } = &self.place;
        let stream = TcpStream::connect((host.as_str(), *port)).await.context("cannot connect")?;
        stream.set_nodelay(true).context("cannot set up a connection")?;
        match &self.tls {
            None => begin(stream).await,
            Some((connector, name)) => {
                begin(connector.connect(name.clone(), stream).await.context("cannot agree on TLS")?).await
            }
        }
    }
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("cannot speak HTTP")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a server outside broke off");
        }
    });
    Ok(sender)
}
