//! One request to radosgw, within limits of time and size.

use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Context, Cx, Error, Result};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};

use crate::outbound::{Place, Server};

/// How long one request may take, from the connection to the last byte of the answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The largest body that is read, in bytes.
const BODY_LIMIT: usize = 4 << 20;

pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Asks one server. Each request has a connection of its own.
pub struct Fetcher(Server);

impl Fetcher {
    /// For an `endpoint` such as `https://rgw.example.org:8443`, whose certificate one of the authorities in `ca` (PEM) has signed.
    /// Without TLS only this machine is spoken to.
    ///
    /// # Errors
    /// 400 if the endpoint is no such address, or if the CA is missing or cannot be used.
    pub fn new(cx: &Cx, endpoint: &str, ca: Option<&str>) -> Result<Fetcher> {
        let place = Place::parse(endpoint).filter(|place| place.target == "/").ok_or_else(|| {
            Error::bad_request(format!("{endpoint} is no address such as https://rgw.example.org"))
        })?;
        if !place.is_tls && !place.is_loopback() {
            return Err(Error::bad_request(format!(
                "{endpoint} must begin with https:// unless it is this machine's"
            )));
        }
        Server::new(cx, place, ca).map(Fetcher)
    }

    /// What stands in the header `Host`.
    pub fn authority(&self) -> &str {
        &self.0.place.authority
    }

    /// # Errors
    /// 503 if there is no whole answer in time, or a larger one than makes sense.
    pub async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        match tokio::time::timeout(TIME_LIMIT, self.connect_and_ask(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::unavailable(format!("{}: {}", self.authority(), error.detail()))),
            Err(_) => Err(Error::unavailable(format!("{} does not answer in time", self.authority()))),
        }
    }

    async fn connect_and_ask(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let response = self.0.connect().await?.send_request(request).await.context("no answer")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT)
            .collect()
            .await
            .map_err(|error| Error::unavailable(format!("the answer breaks off: {error}")))?;
        Ok(Answer { status, body: body.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_others_go_over_tls_to_whom_the_ca_vouches_for() {
        let cx = Cx::system();
        let new =
            |endpoint: &str| Fetcher::new(&cx, endpoint, None).map(|fetcher| fetcher.authority().to_owned());
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
