//! Who calls, and in what context.

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use hanse_core::{Cx, Error, Microversion, Result};
use hanse_policy::Caller;
use http::request::Parts;

use crate::fault::Failure;

/// Turns a token into a caller. The identity service implements it; nothing else trusts a token.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// # Errors
    /// 401 if the token is not valid (any more).
    async fn authenticate(&self, cx: &Cx, token: &str) -> Result<Arc<Caller>>;
}

/// The context of a request without asking who calls: version documents, login.
#[derive(Clone, Debug)]
pub struct Open {
    pub cx: Cx,
    /// The microversion that was negotiated; 0.0 where an API has none.
    pub version: Microversion,
    /// The address that the caller came from, for logs and limits.
    pub peer: Option<std::net::IpAddr>,
    /// The type of the service that is called, as the catalog has it.
    pub service: &'static str,
    /// Where its API is mounted.
    pub mount: &'static str,
}

/// An authenticated request. A handler that takes this answers 401 without a valid token.
#[derive(Clone, Debug)]
pub struct Call {
    pub cx: Cx,
    pub caller: Arc<Caller>,
    pub version: Microversion,
}

/// No token is longer; whatever is, is none.
const TOKEN_LIMIT: usize = 4096;

impl<S: Send + Sync> FromRequestParts<S> for Open {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Open, Failure> {
        parts
            .extensions
            .get::<Open>()
            .cloned()
            .ok_or_else(|| Failure(Error::internal("a route outside of mount()")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Call, Failure> {
        let open = Open::from_request_parts(parts, state).await?;
        let authenticator = parts
            .extensions
            .get::<Arc<dyn Authenticator>>()
            .cloned()
            .ok_or_else(|| Failure(Error::internal("a route outside of mount()")))?;
        let token = parts
            .headers
            .get("x-auth-token")
            .and_then(|value| value.to_str().ok())
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_LIMIT)
            .ok_or_else(|| {
                Failure(Error::unauthorized("The request you have made requires authentication."))
            })?;
        let caller = authenticator.authenticate(&open.cx, token).await?;
        let inner = parts.uri.path();
        let outer = format!("{}{inner}", open.mount);
        if !caller.permits(open.service, parts.method.as_str(), [&outer, inner]) {
            let message = "The access rules of the application credential do not allow this request.";
            return Err(Failure(Error::unauthorized(message)));
        }
        Ok(Call { cx: open.cx, caller, version: open.version })
    }
}
