//! A key manager: keys that a project makes, disables and destroys, for objects to be encrypted under (SSE-KMS). It speaks the
//! API of AWS KMS, as far as the keys of object storage go, behind the same listener: a POST to `/` that names its action in
//! `x-amz-target`, signed with an access key of S3's.
//!
//! Source: AWS Key Management Service API Reference.

mod actions;
mod auth;
pub mod keys;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use s3s::{Body, HttpResponse};
use serde_json::{Value, json};

use crate::ObjectStore;
use crate::access::Tls;

/// Of a request, in bytes: no action here needs as much.
const BODY_MAX: usize = 64 << 10;

/// What an action is named with.
const TARGET: &str = "x-amz-target";
const SERVICE: &str = "TrentService.";

/// A refusal, in the words of the API.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    /// Such as `NotFoundException`.
    pub kind: &'static str,
    pub message: String,
}

pub type Done<T = Value> = Result<T, Refused>;

pub fn refused(kind: &'static str, message: impl Into<String>) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, kind, message: message.into() }
}

impl From<hanse_core::Error> for Refused {
    fn from(error: hanse_core::Error) -> Refused {
        use hanse_core::Kind;
        match error.kind() {
            Kind::Unavailable => Refused {
                status: StatusCode::SERVICE_UNAVAILABLE,
                kind: "DependencyTimeoutException",
                message: error.message().to_owned(),
            },
            Kind::Forbidden | Kind::Unauthorized => refused("AccessDeniedException", error.message()),
            _ => {
                tracing::error!(error = %error.detail(), "the key manager failed");
                let message = "The request was rejected because an internal exception occurred.";
                Refused {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    kind: "KMSInternalException",
                    message: message.to_owned(),
                }
            }
        }
    }
}

/// Whether a request is for the key manager: S3 has no such header.
pub fn is_for(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    method == Method::POST && path == "/" && headers.contains_key(TARGET)
}

fn answer(status: StatusCode, value: &Value) -> HttpResponse {
    // Some actions answer nothing at all.
    let text = if value.is_null() { String::new() } else { value.to_string() };
    let mut answer = HttpResponse::new(Body::from(text));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/x-amz-json-1.1");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

impl ObjectStore {
    /// One request.
    pub(crate) async fn kms(&self, request: Request<Body>) -> HttpResponse {
        match self.manage(request).await {
            Ok(value) => answer(StatusCode::OK, &value),
            Err(refused) => {
                let body = json!({ "__type": refused.kind, "message": refused.message });
                let mut answer = answer(refused.status, &body);
                answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(refused.kind));
                answer
            }
        }
    }

    async fn manage(&self, request: Request<Body>) -> Done {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| {
            tracing::debug!(%error, "a body did not come");
            refused(
                "SerializationException",
                format!("The body did not come, or has more than {BODY_MAX} bytes."),
            )
        })?;
        let body = body.to_bytes();
        let is_tls = parts.extensions.get::<Tls>().is_some();
        let asker = self.signed(&parts, &body, is_tls).await?;
        let action = parts.headers.get(TARGET).and_then(|name| name.to_str().ok()).unwrap_or_default();
        let action = action.strip_prefix(SERVICE).unwrap_or_default();
        let input: Value = match &body[..] {
            [] => json!({}),
            body => serde_json::from_slice(body).map_err(|error| {
                refused("SerializationException", format!("The body is no JSON: {error}."))
            })?,
        };
        self.act(&asker, action, input).await
    }
}
