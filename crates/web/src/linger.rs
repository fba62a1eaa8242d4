//! Answers that come before the client has sent everything.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// How long what nobody wants is read on for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of a request, which is read to its end although the handler has answered before: a connection that is
/// closed with bytes unread is reset, and the client may lose the answer, a 409 to an upload for example.
pub struct Lingering {
    rest: Option<Incoming>,
    /// How long the client may send nothing.
    silence: Duration,
}

impl Lingering {
    /// `silence` is how long the client may send nothing while the rest is read.
    pub fn new(body: Incoming, silence: Duration) -> Lingering {
        Lingering { rest: Some(body), silence }
    }

    /// Of a client that waits for a word before it sends anything, nothing is read that nobody wants.
    pub(crate) fn body(
        request: http::Request<Incoming>,
        silence: Duration,
    ) -> http::Request<axum::body::Body> {
        if request.headers().contains_key(http::header::EXPECT) {
            return request.map(axum::body::Body::new);
        }
        request.map(|body| axum::body::Body::new(Lingering::new(body, silence)))
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.rest else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.rest = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take().filter(|rest| !rest.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let silence = self.silence;
        runtime.spawn(async move {
            let read =
                async { while let Ok(Some(Ok(_))) = tokio::time::timeout(silence, rest.frame()).await {} };
            let _ = tokio::time::timeout(PATIENCE, read).await;
        });
    }
}
