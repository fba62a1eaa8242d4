//! Our errors as S3's. Source: Amazon S3 API Reference, "Error Responses".

use hanse_core::{Error, Kind};
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// What S3 calls it; a cause of ours is logged and told to nobody.
pub fn of(error: &Error) -> S3Error {
    if error.kind() == Kind::OverQuota {
        return named(crate::quotas::EXCEEDED, StatusCode::FORBIDDEN, error.message().to_owned());
    }
    let code = match error.kind() {
        Kind::Unavailable => S3ErrorCode::ServiceUnavailable,
        Kind::RateLimited { .. } => S3ErrorCode::SlowDown,
        Kind::Forbidden | Kind::Unauthorized => S3ErrorCode::AccessDenied,
        Kind::TooLarge => S3ErrorCode::EntityTooLarge,
        Kind::Timeout => S3ErrorCode::RequestTimeout,
        Kind::BadRequest => S3ErrorCode::InvalidArgument,
        Kind::NotImplemented => S3ErrorCode::NotImplemented,
        _ => S3ErrorCode::InternalError,
    };
    if code == S3ErrorCode::InternalError {
        tracing::error!(error = %error.detail(), "object storage failed");
        return S3Error::with_message(code, "We encountered an internal error. Please try again.");
    }
    S3Error::with_message(code, error.message().to_owned())
}

/// An error whose code `s3s` does not know.
pub fn named(code: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.into());
    error.set_status_code(status);
    error
}

/// S3's error as ours, for what no client waits for.
pub fn internal(error: &S3Error) -> Error {
    let message = format!("{}: {}", error.code().as_str(), error.message().unwrap_or_default());
    match error.code() {
        S3ErrorCode::ServiceUnavailable | S3ErrorCode::SlowDown | S3ErrorCode::InternalError => {
            Error::new(Kind::Unavailable, message)
        }
        _ => Error::new(Kind::Conflict, message),
    }
}

pub fn error(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}
