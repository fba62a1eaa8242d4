//! Encryption with a key that the client brings with each request (SSE-C). The key is never kept: data keys are wrapped under
//! it, and so is one that encrypts nothing, which tells whether a key is the right one, also for an object without bytes.
//!
//! Source: S3 User Guide, "Using server-side encryption with customer-provided keys (SSE-C)".

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::{Decided, denied};
use crate::crypt::WrappingKey;
use crate::fault::{self, error};

/// The one algorithm there is.
pub const ALGORITHM: &str = "AES256";

/// A key that came with a request.
#[derive(Clone)]
pub struct CustomerKey {
    pub key: Arc<WrappingKey>,
    /// In base64, as answers show it.
    pub md5: String,
}

/// What a request says of a key, as three headers have it.
pub struct Given<'g> {
    pub algorithm: Option<&'g str>,
    pub key: Option<&'g str>,
    pub md5: Option<&'g str>,
}

/// Takes that out of an input.
macro_rules! given_key {
    (source $input:expr) => {
        crate::customer::Given {
            algorithm: $input.copy_source_sse_customer_algorithm.as_deref(),
            key: $input.copy_source_sse_customer_key.as_deref(),
            md5: $input.copy_source_sse_customer_key_md5.as_deref(),
        }
    };
    ($input:expr) => {
        crate::customer::Given {
            algorithm: $input.sse_customer_algorithm.as_deref(),
            key: $input.sse_customer_key.as_deref(),
            md5: $input.sse_customer_key_md5.as_deref(),
        }
    };
}
pub(crate) use given_key;

impl Given<'_> {
    /// # Errors
    /// `InvalidRequest`, `InvalidArgument`, `InvalidEncryptionAlgorithmError`.
    pub fn read(&self, decided: &Decided) -> S3Result<Option<CustomerKey>> {
        let wrong = |message: &str| Err(error(S3ErrorCode::InvalidArgument, message));
        let (algorithm, key, md5) = match (self.algorithm, self.key, self.md5) {
            (None, None, None) => return Ok(None),
            (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
            _ => {
                return wrong(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide an algorithm, a secret \
                     key and its MD5.",
                );
            }
        };
        // A proxy on the same machine may have ended TLS.
        if !decided.asker.is_tls && !decided.asker.cx.source().is_some_and(|source| source.is_loopback()) {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
            ));
        }
        if algorithm != ALGORITHM {
            return Err(error(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request you specified is not valid. Supported value: AES256.",
            ));
        }
        let bytes = BASE64.decode(key).ok().filter(|bytes| bytes.len() == 32);
        let Some(bytes) = bytes else {
            return wrong("The secret key was invalid for the specified algorithm.");
        };
        if BASE64.encode(Md5::digest(&bytes)) != md5 {
            return wrong("The calculated MD5 hash of the key did not match the hash that was provided.");
        }
        let key = WrappingKey::of(&bytes).map_err(|error| fault::of(&error))?;
        Ok(Some(CustomerKey { key: Arc::new(key), md5: md5.to_owned() }))
    }
}

impl CustomerKey {
    /// What is kept to tell whether a key is this one.
    ///
    /// # Errors
    /// Internal if it cannot be made.
    pub fn proof(&self, decided: &Decided) -> S3Result<String> {
        self.key.data_key(&decided.asker.cx).map(|(_, wrapped)| wrapped).map_err(|error| fault::of(&error))
    }
}

/// Whether a request brings the key that an object, of which this proof is kept, was written with.
///
/// # Errors
/// `InvalidRequest` if it brings none, or one where none is needed; `AccessDenied` if it is another.
pub fn check(proof: Option<&str>, given: Option<&CustomerKey>) -> S3Result<()> {
    let invalid = |message: &str| -> S3Error { error(S3ErrorCode::InvalidRequest, message) };
    match (proof, given) {
        (None, None) => Ok(()),
        (Some(proof), Some(given)) => given.key.unwrap(proof).map(|_| ()).map_err(|_| denied()),
        (Some(_), None) => Err(invalid(
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve \
             the object.",
        )),
        (None, Some(_)) => Err(invalid("The encryption parameters are not applicable to this object.")),
    }
}
