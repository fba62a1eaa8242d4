//! Answers as Swift gives them, refusals included.

use bytes::Bytes;
use hanse_core::Error;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode};

use crate::conditions::time;
use crate::markup::escape;
use crate::{fault, quotas};

/// What an operation comes to.
pub type Done<T = HttpResponse> = Result<T, Refused>;

/// A request that was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    /// For people.
    pub message: String,
    /// Headers of the answer.
    headers: Vec<(HeaderName, String)>,
}

pub fn refused(status: StatusCode, message: impl Into<String>) -> Refused {
    Refused { status, message: message.into(), headers: Vec::new() }
}

/// What nginx calls "client closed request", and Swift too.
pub fn broken_off() -> Refused {
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    refused(status, "The body broke off.")
}

impl Refused {
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Refused {
        self.headers.push((name, value.into()));
        self
    }

    pub fn answer(self) -> HttpResponse {
        let reason = self.status.canonical_reason().unwrap_or("Client Disconnect");
        let body = format!("<html><h1>{reason}</h1><p>{}</p></html>", escape(&self.message));
        let mut answer = reply(self.status, HeaderMap::new(), body);
        set(answer.headers_mut(), "content-type", "text/html; charset=UTF-8");
        for (name, value) in self.headers {
            set(answer.headers_mut(), name.as_str(), value);
        }
        answer
    }

    /// As lists of what went wrong have it: `404 Not Found`.
    pub fn line(&self) -> String {
        self.status.to_string()
    }
}

impl From<StatusCode> for Refused {
    fn from(status: StatusCode) -> Refused {
        let message = match status {
            StatusCode::NOT_FOUND => "The resource could not be found.",
            StatusCode::METHOD_NOT_ALLOWED => "The method is not allowed for this resource.",
            StatusCode::FORBIDDEN => "Access was denied to this resource.",
            StatusCode::UNAUTHORIZED => {
                "This server could not verify that you are authorized to access the document you requested."
            }
            StatusCode::CONFLICT => "There was a conflict when trying to complete your request.",
            StatusCode::PRECONDITION_FAILED => "A precondition for this request was not met.",
            StatusCode::UNPROCESSABLE_ENTITY => "Unable to process the contained instructions",
            _ => "",
        };
        refused(status, message)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        fault::of(&error).into()
    }
}

/// What the rest of the crate says in S3's words.
impl From<S3Error> for Refused {
    fn from(error: S3Error) -> Refused {
        let status = match error.code() {
            S3ErrorCode::NoSuchBucket | S3ErrorCode::NoSuchKey => return StatusCode::NOT_FOUND.into(),
            S3ErrorCode::AccessDenied => return StatusCode::FORBIDDEN.into(),
            S3ErrorCode::BadDigest | S3ErrorCode::InvalidDigest => {
                return StatusCode::UNPROCESSABLE_ENTITY.into();
            }
            S3ErrorCode::NoSuchVersion => return StatusCode::NOT_FOUND.into(),
            S3ErrorCode::BucketNotEmpty => return StatusCode::CONFLICT.into(),
            S3ErrorCode::PreconditionFailed => return StatusCode::PRECONDITION_FAILED.into(),
            S3ErrorCode::IncompleteBody => return broken_off(),
            S3ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            S3ErrorCode::EntityTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            S3ErrorCode::TooManyBuckets => StatusCode::FORBIDDEN,
            code if code.as_str() == quotas::EXCEEDED => StatusCode::PAYLOAD_TOO_LARGE,
            code => {
                let known = error.status_code().or_else(|| code.status_code());
                known.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        refused(status, error.message().unwrap_or_default())
    }
}

/// Sets a header, unless its value can be none.
pub fn set(headers: &mut HeaderMap, name: &str, value: impl ToString) {
    let value = HeaderValue::from_bytes(value.to_string().as_bytes());
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
        headers.insert(name, value);
    }
}

/// An answer whose body is there.
pub fn reply(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> HttpResponse {
    let body: Bytes = body.into();
    let length = body.len();
    let mut answer = HttpResponse::new(Body::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    if status != StatusCode::NO_CONTENT {
        set(answer.headers_mut(), header::CONTENT_LENGTH.as_str(), length);
    }
    answer
}

pub fn text(body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = reply(StatusCode::OK, HeaderMap::new(), body);
    set(answer.headers_mut(), "content-type", "text/plain; charset=utf-8");
    answer
}

pub fn json(headers: HeaderMap, value: &serde_json::Value) -> HttpResponse {
    let mut answer = reply(StatusCode::OK, headers, value.to_string());
    set(answer.headers_mut(), "content-type", "application/json; charset=utf-8");
    answer
}

/// An answer without a body.
pub fn empty(status: StatusCode, headers: HeaderMap) -> HttpResponse {
    let mut answer = reply(status, headers, Bytes::new());
    set(answer.headers_mut(), "content-type", "text/html; charset=UTF-8");
    answer
}

/// Seconds with five digits behind the point.
pub fn timestamp(at: hanse_core::Timestamp) -> String {
    format!("{}.{:05}", at.seconds(), at.0.rem_euclid(1_000_000) / 10)
}

pub fn http_date(at: hanse_core::Timestamp) -> String {
    let mut text = Vec::new();
    // Of a vector nothing can fail, and all times of ours are within the years that a date has.
    let _ = time(at).format(s3s::dto::TimestampFormat::HttpDate, &mut text);
    String::from_utf8(text).unwrap_or_default()
}
