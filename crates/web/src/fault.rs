//! Errors as each API writes them.

use axum::response::{IntoResponse, Response};
use hanse_core::{Error, Kind};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// What a handler returns.
pub type Reply<T> = Result<T, Failure>;

/// An error on its way out: the layer around the API's routes turns it into a body.
#[derive(Debug)]
pub struct Failure(pub Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.into())
    }
}

/// Rides in the extensions of a response until the API's layer renders it.
#[derive(Clone)]
pub(crate) struct Pending(pub(crate) std::sync::Arc<Error>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Pending(std::sync::Arc::new(self.0)));
        response
    }
}

/// How an API writes its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStyle {
    /// `{"error": {"code", "message", "title"}}`
    Keystone,
    /// `{"itemNotFound": {"code", "message"}}`: Nova and Cinder.
    Nova,
    /// `{"NeutronError": {"type", "message", "detail"}}`
    Neutron,
    /// An HTML page: Glance.
    Glance,
    /// `{"errors": [{"status", "title", "detail", "request_id"}]}`
    Placement,
}

impl FaultStyle {
    /// The status and body for an error.
    pub fn render(self, error: &Error, request_id: &str) -> Response {
        let code = self.status(error.kind());
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = status.canonical_reason().unwrap_or("Error");
        let message = error.message();
        let mut response = match self {
            FaultStyle::Keystone => {
                json_response(status, &json!({"error": {"code": code, "message": message, "title": title}}))
            }
            FaultStyle::Nova => {
                let mut fault = json!({"code": code, "message": message});
                if let (Kind::RateLimited { retry_after }, Some(fault)) =
                    (error.kind(), fault.as_object_mut())
                {
                    fault.insert("retryAfter".to_owned(), retry_after.into());
                }
                json_response(status, &json!({ nova_name(error.kind()): fault }))
            }
            FaultStyle::Neutron => {
                let name = error.name().unwrap_or_else(|| neutron_type(error.kind()));
                let body = json!({"type": name, "message": message, "detail": ""});
                json_response(status, &json!({ "NeutronError": body }))
            }
            FaultStyle::Placement => {
                let fault =
                    json!({"status": code, "title": title, "detail": message, "request_id": request_id});
                json_response(status, &json!({ "errors": [fault] }))
            }
            FaultStyle::Glance => {
                let text = escape(message);
                let page = format!(
                    "<html>\n <head>\n  <title>{code} {title}</title>\n </head>\n <body>\n  <h1>{code} {title}</h1>\n  \
                     {text}<br /><br />\n\n\n\n </body>\n</html>"
                );
                (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], page).into_response()
            }
        };
        if let Kind::RateLimited { retry_after } = error.kind() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        }
        response
    }

    fn status(self, kind: Kind) -> u16 {
        match (self, kind) {
            (FaultStyle::Neutron, Kind::OverQuota) => 409,
            (FaultStyle::Glance, Kind::OverQuota) => 413,
            _ => kind.status(),
        }
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn nova_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "badRequest",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden | Kind::OverQuota => "forbidden",
        Kind::NotFound => "itemNotFound",
        Kind::MethodNotAllowed => "badMethod",
        Kind::NotAcceptable => "notAcceptable",
        Kind::Timeout => "requestTimeout",
        Kind::Conflict => "conflictingRequest",
        Kind::TooLarge => "overLimit",
        Kind::UnsupportedMedia => "badMediaType",
        Kind::RateLimited { .. } => "overLimit",
        Kind::NotImplemented => "notImplemented",
        Kind::Unavailable => "serviceUnavailable",
        Kind::Internal => "computeFault",
    }
}

fn neutron_type(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => "HTTPBadRequest",
        Kind::Unauthorized => "HTTPUnauthorized",
        Kind::Forbidden => "PolicyNotAuthorized",
        Kind::NotFound => "HTTPNotFound",
        Kind::Conflict => "HTTPConflict",
        Kind::OverQuota => "OverQuota",
        Kind::NotImplemented => "HTTPNotImplemented",
        Kind::Unavailable => "HTTPServiceUnavailable",
        Kind::Internal => "HTTPInternalServerError",
        _ => "HTTPClientError",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body(style: FaultStyle, error: Error) -> (u16, String) {
        let response = style.render(&error, "req-1");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_api_writes_its_own_fault() {
        let error = || Error::not_found("Server", "<x>");
        let (status, text) = body(FaultStyle::Nova, error()).await;
        assert_eq!(
            (status, text.as_str()),
            (404, r#"{"itemNotFound":{"code":404,"message":"Server <x> could not be found."}}"#)
        );
        let (_, text) = body(FaultStyle::Keystone, error()).await;
        assert_eq!(
            text,
            r#"{"error":{"code":404,"message":"Server <x> could not be found.","title":"Not Found"}}"#
        );
        let (status, text) = body(FaultStyle::Neutron, Error::over_quota("Quota exceeded")).await;
        assert_eq!(status, 409);
        assert!(text.contains("OverQuota"));
        let (_, text) = body(FaultStyle::Glance, error()).await;
        assert!(text.contains("Server &lt;x&gt;"), "markup of a client is never echoed: {text}");
    }

    #[tokio::test]
    async fn an_internal_error_says_nothing_of_its_cause() {
        let (status, text) = body(FaultStyle::Nova, Error::internal("password=hunter2 in /var/lib")).await;
        assert_eq!(status, 500);
        assert!(!text.contains("hunter2"));
    }
}
