//! What both ends of the connection agree on: paths, bodies and errors.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use hanse_core::{Error, Kind, Result};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::documents::Document;

/// How often either end asks the other whether it is still there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The longest message that is not a byte stream.
pub(crate) const MESSAGE_LIMIT: usize = 64 << 20;

pub(crate) mod path {
    pub const HELLO: &str = "/v1/hello";
    pub const DOCUMENTS: &str = "/v1/documents";
    pub const REPORTS: &str = "/v1/reports";
    pub const IMAGE: &str = "/v1/images/{id}";
    pub const CONSOLE: &str = "/v1/guests/{id}/console";
}

/// Documents on their way to an agent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub documents: Vec<Document>,
    /// These are all the documents of the node. What it has beside them is left alone (ADR 4).
    pub complete: bool,
}

/// What the agent's store says of an image that it has taken in. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    pub size: u64,
    /// The size of the disk that the image describes.
    pub virtual_size: u64,
    /// Hexadecimal MD5, as Glance's `checksum`.
    pub md5: String,
    /// Hexadecimal SHA-512, as Glance's `os_hash_value`.
    pub sha512: String,
}

#[derive(Serialize, Deserialize)]
struct Fault {
    message: String,
    detail: String,
}

/// An agent's error on its way to the control plane.
pub(crate) struct Refusal(pub Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fault = Fault { message: self.0.message().to_owned(), detail: self.0.detail() };
        (status, axum::Json(fault)).into_response()
    }
}

/// The error again, at the other end.
pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Error {
    let fault: Fault = serde_json::from_slice(body)
        .unwrap_or_else(|_| Fault { message: format!("the agent answered {status}"), detail: String::new() });
    let kind = match status.as_u16() {
        400 => Kind::BadRequest,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        413 => Kind::TooLarge,
        501 => Kind::NotImplemented,
        503 => Kind::Unavailable,
        _ => return Error::internal(format!("agent: {}", fault.detail)),
    };
    Error::new(kind, fault.message).because(fault.detail)
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes> {
    serde_json::to_vec(value)
        .map(Into::into)
        .map_err(|error| Error::internal(format!("a message does not encode: {error}")))
}
