//! A call to the project that its path names.

use axum::extract::{FromRequestParts, RawPathParams};
use hanse_core::Error;
use hanse_web::{Call, Failure};
use http::request::Parts;
use serde::Deserialize;

/// An authenticated call whose path names no project, or that of the token.
pub(crate) struct Here(pub(crate) Call);

impl<S: Send + Sync> FromRequestParts<S> for Here {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Here, Failure> {
        let call = Call::from_request_parts(parts, state).await?;
        let malformed = || Failure(Error::bad_request("Malformed request url"));
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| malformed())?;
        let named = params.iter().find(|(name, _)| *name == "project_id").map(|(_, project)| project);
        match named {
            Some(project) if call.caller.project_id() != Some(project) => Err(malformed()),
            _ => Ok(Here(call)),
        }
    }
}

/// The object of a path.
#[derive(Deserialize)]
pub(crate) struct One {
    pub(crate) id: String,
}

/// One entry of its metadata.
#[derive(Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) key: String,
}
