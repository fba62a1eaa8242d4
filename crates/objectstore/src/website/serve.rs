//! Answers to browsers. A website shows nothing that an anonymous GetObject would not: each object is asked for as such a
//! request, of the same service and with the same access check, and only what the configuration says stands around that.
//!
//! Source: S3 User Guide, "Website endpoints", "Configuring an index document", "Configuring a custom error document".

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error, S3ErrorCode, S3Result};

use super::{Redirect, RoutingRule, Website, no_website};
use crate::ObjectStore;
use crate::access::{Tls, no_such_bucket};
use crate::buckets::check_name;
use crate::fault;
use crate::markup::{self, escape};
use crate::query;

/// What of a browser's request the object is asked for with; `Referer` and `User-Agent` are for policies.
const ASKED_WITH: [HeaderName; 7] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::REFERER,
    header::USER_AGENT,
];
/// What an error page is asked for with: it is shown whole.
const ASKED_WITH_FOR_ERRORS: [HeaderName; 2] = [header::REFERER, header::USER_AGENT];
/// By which an object sends elsewhere.
const LOCATION: &str = "x-amz-website-redirect-location";
/// What an error is called, for programs.
pub const ERROR_CODE: &str = "x-amz-error-code";
const ERROR_MESSAGE: &str = "x-amz-error-message";

/// A website, and what asks for its objects.
pub struct Site<'s> {
    pub store: &'s ObjectStore,
    pub service: &'s S3Service,
    /// The bucket that the host names.
    pub bucket: &'s str,
    pub request: &'s Parts,
    /// The request's id, which error pages show.
    pub id: &'s str,
}

/// What went wrong, as an error page tells it.
struct Wrong {
    status: StatusCode,
    code: String,
    message: String,
}

impl From<S3Error> for Wrong {
    fn from(error: S3Error) -> Wrong {
        let status = error.status_code().or_else(|| error.code().status_code());
        Wrong {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: error.code().as_str().to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        }
    }
}

impl Wrong {
    /// What an answer of S3 says in XML.
    fn of(answer: &HttpResponse) -> Wrong {
        let text = answer.body().bytes().unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Wrong {
            status: answer.status(),
            code: markup::element(&text, "Code"),
            message: markup::element(&text, "Message"),
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Sends the browser elsewhere.
fn redirect(status: StatusCode, location: &str) -> HttpResponse {
    let mut answer = HttpResponse::new(Body::empty());
    *answer.status_mut() = status;
    set(answer.headers_mut(), header::LOCATION, location);
    set(answer.headers_mut(), header::CONTENT_LENGTH, "0");
    answer
}

impl Redirect {
    /// Where a key leads, with the prefix of the rule replaced.
    fn of(&self, site: &Site<'_>, key: &str, prefix: &str) -> HttpResponse {
        let own = if site.is_tls() { "https" } else { "http" };
        let host = self.host.clone().unwrap_or_else(|| site.host());
        let key = match (&self.key, &self.prefix) {
            (Some(key), _) => key.clone(),
            (None, Some(new)) => format!("{new}{}", key.strip_prefix(prefix).unwrap_or(key)),
            (None, None) => key.to_owned(),
        };
        let location = format!(
            "{}://{host}/{}",
            self.protocol.as_deref().unwrap_or(own),
            query::escape(key.strip_prefix('/').unwrap_or(&key), false)
        );
        let code = self.code.and_then(|code| StatusCode::from_u16(code).ok());
        redirect(code.unwrap_or(StatusCode::MOVED_PERMANENTLY), &location)
    }
}

impl RoutingRule {
    /// Whether it is about a key that is answered with this status; `None` before it is looked for.
    fn is_about(&self, key: &str, status: Option<StatusCode>) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.status == status.map(|status| status.as_u16())
    }
}

impl Site<'_> {
    fn is_tls(&self) -> bool {
        self.request.extensions.get::<Tls>().is_some()
    }

    fn host(&self) -> String {
        let host = self.request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.or(self.request.uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned()
    }

    /// The answer to a browser.
    pub async fn answer(&self) -> HttpResponse {
        let answered = match self.website() {
            Ok(website) => self.show(&website).await,
            Err(error) => Err(error.into()),
        };
        answered.unwrap_or_else(|wrong| self.page(&wrong, None))
    }

    fn website(&self) -> S3Result<Website> {
        if self.request.headers.get_all(header::HOST).iter().nth(1).is_some() {
            return Err(fault::error(S3ErrorCode::InvalidRequest, "The header host stands twice."));
        }
        if ![Method::GET, Method::HEAD].contains(&self.request.method) {
            let message = "The specified method is not allowed against this resource.";
            return Err(fault::error(S3ErrorCode::MethodNotAllowed, message));
        }
        check_name(self.bucket).map_err(|_| no_such_bucket())?;
        let found = self.store.find_bucket(self.bucket).map_err(|error| fault::of(&error))?;
        found.ok_or_else(no_such_bucket)?.website.clone().ok_or_else(no_website)
    }

    async fn show(&self, website: &Website) -> Result<HttpResponse, Wrong> {
        let path = self.request.uri.path();
        let Some(key) = query::unescape(path.strip_prefix('/').unwrap_or(path)) else {
            return Err(fault::error(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI.").into());
        };
        if let Some(all) = &website.redirect_all {
            return Ok(all.of(self, &key, ""));
        }
        let by_rule = |status| {
            let rule = website.rules.iter().find(|rule| rule.is_about(&key, status))?;
            Some(rule.redirect.of(self, &key, rule.prefix.as_deref().unwrap_or_default()))
        };
        if let Some(answer) = by_rule(None) {
            return Ok(answer);
        }
        let index = website.index.as_deref().unwrap_or_default();
        let is_directory = key.is_empty() || key.ends_with('/');
        let wanted = if is_directory { format!("{key}{index}") } else { key.clone() };
        let mut answer = self.ask(self.request.method.clone(), &wanted, &ASKED_WITH).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            if let Some(location) = answer.headers_mut().remove(LOCATION) {
                let mut answer = redirect(StatusCode::MOVED_PERMANENTLY, "");
                answer.headers_mut().insert(header::LOCATION, location);
                return Ok(answer);
            }
            return Ok(answer);
        }
        let wrong = Wrong::of(&answer);
        let is_missing = [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&status);
        if is_missing && !is_directory {
            let below = self.ask(Method::HEAD, &format!("{key}/{index}"), &ASKED_WITH_FOR_ERRORS).await?;
            if below.status().is_success() {
                // Of two slashes the second would begin the name of a host.
                let path = query::escape(key.trim_start_matches('/'), false);
                return Ok(redirect(StatusCode::FOUND, &format!("/{path}/")));
            }
        }
        if let Some(answer) = by_rule(Some(status)) {
            return Ok(answer);
        }
        match website.error.as_deref().filter(|_| status.is_client_error()) {
            Some(page) if status != StatusCode::PRECONDITION_FAILED => {
                Ok(self.error_page(page, &wrong).await)
            }
            _ => Err(wrong),
        }
    }

    /// The page that the website has for errors, or ours if that cannot be shown.
    async fn error_page(&self, page: &str, wrong: &Wrong) -> HttpResponse {
        let asked = self.ask(self.request.method.clone(), page, &ASKED_WITH_FOR_ERRORS).await;
        match asked {
            Ok(mut answer) if answer.status().is_success() => {
                *answer.status_mut() = wrong.status;
                // They are those of the page, and not of what was asked for.
                for name in [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
                    answer.headers_mut().remove(name);
                }
                answer.headers_mut().remove(LOCATION);
                name_error(answer.headers_mut(), wrong);
                answer
            }
            Ok(answer) => self.page(wrong, Some(&Wrong::of(&answer))),
            Err(other) => self.page(wrong, Some(&other)),
        }
    }

    /// Asks for an object as nobody.
    async fn ask(&self, method: Method, key: &str, with: &[HeaderName]) -> Result<HttpResponse, Wrong> {
        let internal = || {
            let message = "We encountered an internal error. Please try again.";
            Wrong::from(fault::error(S3ErrorCode::InternalError, message))
        };
        // Without a key it would be the list of the bucket's objects.
        if key.is_empty() {
            return Err(internal());
        }
        let uri = format!("/{}/{}", self.bucket, query::escape(key, false));
        let uri: Uri = uri.parse().map_err(|_| {
            Wrong::from(fault::error(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."))
        })?;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.extensions_mut().clone_from(&self.request.extensions);
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        for name in with {
            if let Some(value) = self.request.headers.get(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
        self.service.call(request).await.map_err(|error| {
            tracing::error!(?error, "an answer of S3 could not be written");
            internal()
        })
    }

    /// The page about an error that we have, and about a second one: that the website's own page cannot be shown.
    fn page(&self, wrong: &Wrong, second: Option<&Wrong>) -> HttpResponse {
        if wrong.status == StatusCode::NOT_MODIFIED {
            return redirect(wrong.status, "");
        }
        let title = escape(&wrong.status.to_string());
        let lines = |wrong: &Wrong| {
            format!("<li>Code: {}</li>\n<li>Message: {}</li>\n", escape(&wrong.code), escape(&wrong.message))
        };
        let second = second.map(|second| {
            format!(
                "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n{}</ul>\n",
                lines(second)
            )
        });
        let text = format!(
            "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{}<li>RequestId: {}</li>\n</ul>\n{}<hr/>\n\
             </body>\n</html>\n",
            lines(wrong),
            escape(self.id),
            second.unwrap_or_default()
        );
        let length = text.len();
        let mut answer = HttpResponse::new(Body::from(text));
        *answer.status_mut() = wrong.status;
        let headers = answer.headers_mut();
        set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
        set(headers, header::CONTENT_LENGTH, &length.to_string());
        if wrong.status == StatusCode::METHOD_NOT_ALLOWED {
            set(headers, header::ALLOW, "GET, HEAD");
        }
        name_error(headers, wrong);
        answer
    }
}

fn name_error(headers: &mut HeaderMap, wrong: &Wrong) {
    set(headers, HeaderName::from_static(ERROR_CODE), &wrong.code);
    set(headers, HeaderName::from_static(ERROR_MESSAGE), &wrong.message);
}
