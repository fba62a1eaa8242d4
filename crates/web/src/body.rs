//! JSON bodies: limited, parsed strictly, refused with a message that names the field.

use axum::extract::{FromRequest, Request};
use hanse_core::{Error, Kind};
use http::header;
use serde::de::DeserializeOwned;

use crate::fault::Failure;

/// A JSON request body of at most the limit of the API's layer.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Failure> {
        if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default();
            // Clients that send none, or curl's default, mean JSON all the same.
            let json =
                kind.starts_with("application/json") || kind.starts_with("application/x-www-form-urlencoded");
            if !json {
                return Err(Error::unsupported_media(format!(
                    "Unsupported Content-Type {kind}; send application/json."
                ))
                .into());
            }
        }
        let bytes = bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status().as_u16();
            match status {
                413 => Failure(Error::too_large("The request body is too large.")),
                408 => Failure(Error::new(Kind::Timeout, "The request body came too slowly.")),
                _ => Failure(Error::bad_request("The request body could not be read.")),
            }
        })?;
        parse(&bytes).map(Body)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let message = match (inner.is_data(), path.as_str()) {
            (true, ".") => format!("Invalid input: {inner}"),
            (true, path) => format!("Invalid input for field/attribute {path}: {inner}"),
            (false, _) => format!("Malformed request body: {inner}"),
        };
        Failure(Error::bad_request(message))
    })?;
    reader.end().map_err(|error| Failure(Error::bad_request(format!("Malformed request body: {error}"))))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Server {
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Create {
        server: Server,
    }

    #[test]
    fn a_wrong_body_is_refused_with_the_name_of_the_field() {
        let fails = |text: &str| parse::<Create>(text.as_bytes()).map(|body| body.server.name).unwrap_err().0;
        assert!(fails(r#"{"server": {"name": 7}}"#).message().contains("server.name"));
        assert!(fails(r#"{"server": {"name": "a", "nmae": 1}}"#).message().contains("nmae"));
        assert!(fails("{").message().contains("Malformed"));
        assert!(fails(r#"{"server": {"name": "a"}} x"#).message().contains("Malformed"));
        assert_eq!(fails("").kind(), Kind::BadRequest);
        let deep = "[".repeat(100_000);
        assert_eq!(fails(&deep).kind(), Kind::BadRequest, "depth is limited");
    }
}
