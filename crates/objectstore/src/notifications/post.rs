//! Messages to a webhook over HTTP. Only what the operator has configured is ever asked; redirections are not followed, and what is
//! answered counts by its status alone.

use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Context, Cx, Error, Result, Secret, hex};
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use ring::hmac;
use tokio::time::timeout;

use crate::outbound::{Place, Server};

/// For an answer from the first byte to the last, with the connection that it takes.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Of what comes behind the head of an answer: bytes, and time. More ends the connection, and changes nothing of what was said.
const BODY_MAX: usize = 64 << 10;
const REST_MAX: Duration = Duration::from_secs(2);
const NAME_MAX: usize = 64;
/// Where the signature stands, as GitHub's webhooks have it.
const SIGNATURE: &str = "x-hub-signature-256";

/// A receiver of events.
#[derive(Clone)]
pub struct Webhook {
    /// What topics call it: letters, digits, `-` and `_`.
    pub name: String,
    /// `https://…`, or `http://…`.
    pub url: String,
    /// The projects whose buckets may name it; all if there are none.
    pub projects: Vec<String>,
    /// What messages are signed under (HMAC-SHA-256).
    pub secret: Option<Secret<String>>,
    /// What stands in `Authorization` behind `Bearer`.
    pub token: Option<Secret<String>>,
    /// The authorities that a server of `https` may be known by, in PEM.
    pub authorities: Option<String>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    pub fn is_for(&self, project_id: &str) -> bool {
        self.projects.is_empty() || self.projects.iter().any(|own| own == project_id)
    }

    /// Whether the name and the address are some, and the secrets can be sent.
    ///
    /// # Errors
    /// 400 that says what is wrong, without the secrets.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::bad_request(format!("webhook '{}': {what}", self.name)));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.bytes().all(is_plain) {
            return wrong("its name has 1 to 64 letters, digits, hyphens and underscores");
        }
        if self.place()?.is_tls && self.authorities.is_none() {
            return wrong("there is no file of authorities to know the server of an https address by");
        }
        if self.secret.as_ref().is_some_and(|secret| secret.expose().len() < 16) {
            return wrong("its secret has at least 16 characters");
        }
        let token = self.token.as_ref().map(|token| HeaderValue::from_str(token.expose()));
        if token.is_some_and(|token| token.is_err()) {
            return wrong("its token can be no header");
        }
        Ok(())
    }

    fn place(&self) -> Result<Place> {
        Place::parse(&self.url).ok_or_else(|| {
            let message =
                format!("webhook '{}': '{}' is no address such as https://host/path", self.name, self.url);
            Error::bad_request(message)
        })
    }
}

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// The receiver does not want this message: it may be another one's turn.
    Refused(StatusCode),
}

/// Sends messages to one webhook, over a connection that stays if it can.
pub struct Poster {
    server: Server,
    key: Option<hmac::Key>,
    token: Option<HeaderValue>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Poster {
    /// # Errors
    /// 400 if the webhook's configuration makes no sense; internal if its authorities are none.
    pub fn new(cx: &Cx, webhook: &Webhook) -> Result<Poster> {
        webhook.check()?;
        let server = Server::new(cx, webhook.place()?, webhook.authorities.as_deref())?;
        let secret = webhook.secret.as_ref();
        let token = webhook.token.as_ref().map(|token| format!("Bearer {}", token.expose()));
        let mut token = token.map(|token| HeaderValue::from_str(&token)).transpose().context("a token")?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Poster {
            server,
            key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes())),
            token,
            connection: None,
        })
    }

    /// Sends a message. It was taken if the answer is 2xx.
    ///
    /// # Errors
    /// 503 if the receiver cannot be reached, or cannot take messages now.
    pub async fn post(&mut self, message: Bytes) -> Result<Answer> {
        let unavailable = |what: String| Error::new(hanse_core::Kind::Unavailable, what);
        let answered = match timeout(ANSWER_MAX, self.exchange(&message)).await {
            Ok(answered) => answered,
            Err(_) => Err(unavailable("there was no answer in time".to_owned())),
        };
        let status = match answered {
            Ok(status) => status,
            Err(error) => {
                self.connection = None;
                return Err(error);
            }
        };
        match status {
            status if status.is_success() => Ok(Answer::Taken),
            // What a later try may change.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(unavailable(format!("the answer was {status}")))
            }
            status if status.is_client_error() => Ok(Answer::Refused(status)),
            status => Err(unavailable(format!("the answer was {status}"))),
        }
    }

    async fn exchange(&mut self, message: &Bytes) -> Result<StatusCode> {
        let kept = match self.connection.take() {
            // The other end may have closed it meanwhile.
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        if let Some(kept) = kept
            && let Ok(status) = self.send(kept, message).await
        {
            return Ok(status);
        }
        let fresh = self.server.connect().await?;
        self.send(fresh, message).await
    }

    /// Sends on a connection, and keeps it if it can be used again.
    async fn send(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        message: &Bytes,
    ) -> Result<StatusCode> {
        let mut request = Request::post(self.server.place.target.as_str())
            .header(header::HOST, self.server.place.authority.as_str())
            .header(header::USER_AGENT, "hanse")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            let signature = hex(hmac::sign(key, message).as_ref());
            request = request.header(SIGNATURE, format!("sha256={signature}"));
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        let request = request.body(Full::new(message.clone())).context("no request")?;
        let answer = connection.send_request(request).await.context("no answer")?;
        let status = answer.status();
        let rest = timeout(REST_MAX, Limited::new(answer.into_body(), BODY_MAX).collect()).await;
        if rest.is_ok_and(|rest| rest.is_ok()) && !connection.is_closed() {
            self.connection = Some(connection);
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(name: &str, url: &str) -> Webhook {
        let (name, url) = (name.to_owned(), url.to_owned());
        Webhook { name, url, projects: Vec::new(), secret: None, token: None, authorities: None }
    }

    #[test]
    fn webhooks_that_make_no_sense_are_refused() {
        for (name, url) in [
            ("", "http://h/"),
            ("a/b", "http://h/"),
            ("a:b", "http://h/"),
            ("a", "h"),
            ("a", "/path"),
            ("a", "ftp://h/"),
            ("a", "http://user:password@h/"),
            // Without authorities.
            ("a", "https://h/"),
        ] {
            assert!(webhook(name, url).check().is_err(), "{name} {url}");
        }
        let fine = webhook("a-B_1", "http://[::1]:8080/x?y=z");
        fine.check().unwrap();
        let place = fine.place().unwrap();
        assert_eq!((place.host.as_str(), place.port, place.target.as_str()), ("::1", 8080, "/x?y=z"));
        let short = Webhook { secret: Some(Secret::new("short".to_owned())), ..fine.clone() };
        let message = short.check().unwrap_err().message().to_owned();
        assert!(message.contains("16") && !message.contains("short"), "{message}");
        assert!(!format!("{short:?}").contains("short"));
        let token = Webhook { token: Some(Secret::new("a\nb".to_owned())), ..fine };
        assert!(token.check().is_err());
    }
}
