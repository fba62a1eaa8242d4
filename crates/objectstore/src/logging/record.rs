//! A line of the log: one request. Nothing that comes from outside can break it, or pass for another field.
//!
//! Source: S3 User Guide, "Amazon S3 server access log format".

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hanse_core::{Cx, Timestamp};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use s3s::{HttpResponse, StdError};
use time::OffsetDateTime;

use super::{Logging, Noted};
use crate::record::Bucket;
use crate::website::ERROR_CODE;
use crate::{ObjectStore, markup, query};

/// Of what clients say in headers, and of addresses, in bytes; the rest is left out.
const TEXT_MAX: usize = 1024;
const URI_MAX: usize = 4096;
/// What is known to open something. Nobody who reads the log shall be able to use it.
const SECRETS: [&str; 3] = ["x-amz-signature", "x-amz-security-token", "signature"];

/// What the parts of a bucket or an object are called in the log, by the parameter that asks for them.
const RESOURCES: [(&str, &str, &str); 21] = [
    // parameter, of a bucket, of an object
    ("acl", "ACL", "ACL"),
    ("attributes", "BUCKET", "OBJECT_ATTRIBUTES"),
    ("cors", "CORS", "OBJECT"),
    ("delete", "MULTI_OBJECT_DELETE", "OBJECT"),
    ("encryption", "ENCRYPTION", "OBJECT"),
    ("legal-hold", "BUCKET", "OBJECT_LOCK_LEGALHOLD"),
    ("lifecycle", "LIFECYCLE", "OBJECT"),
    ("location", "LOCATION", "OBJECT"),
    ("logging", "LOGGING_STATUS", "OBJECT"),
    ("notification", "NOTIFICATION", "OBJECT"),
    ("object-lock", "OBJECT_LOCK_CONFIGURATION", "OBJECT"),
    ("ownershipControls", "OWNERSHIP_CONTROLS", "OBJECT"),
    ("policy", "BUCKETPOLICY", "OBJECT"),
    ("policyStatus", "POLICY_STATUS", "OBJECT"),
    ("publicAccessBlock", "PUBLIC_ACCESS_BLOCK", "OBJECT"),
    ("retention", "BUCKET", "OBJECT_LOCK_RETENTION"),
    ("tagging", "TAGGING", "OBJECT_TAGGING"),
    ("uploads", "UPLOADS", "UPLOADS"),
    ("versioning", "VERSIONING", "OBJECT"),
    ("versions", "BUCKETVERSIONS", "OBJECT"),
    ("website", "WEBSITE", "OBJECT"),
];

/// A request as it came, as far as the log tells of it.
pub struct Heard {
    at: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    /// Whether the host names the bucket, so that the path is the key.
    has_bucket_in_host: bool,
    is_website: bool,
}

const HEARD: [HeaderName; 5] =
    [header::REFERER, header::USER_AGENT, header::HOST, header::AUTHORIZATION, header::CONTENT_LENGTH];
const HEARD_OF_S3: [&str; 2] = ["x-amz-copy-source", "x-amz-decoded-content-length"];

/// A field that may be empty, in which spaces would end it.
fn field(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { plain(text, TEXT_MAX, |byte| byte.is_ascii_graphic()) }
}

/// A field in quotes.
fn quoted(text: &str, most: usize) -> String {
    let text = if text.is_empty() { "-" } else { text };
    format!("\"{}\"", plain(text, most, |byte| byte == b' ' || byte.is_ascii_graphic()))
}

fn plain(text: &str, most: usize, is_plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for byte in text.bytes().take(most) {
        if is_plain(byte) && byte != b'"' && byte != b'\\' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The path and the query of a request, without what in it is secret.
fn target(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if SECRETS.contains(&name.to_ascii_lowercase().as_str()) => {
                format!("{name}=REDACTED")
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{}?{}", uri.path(), parameters.join("&"))
}

/// Such as `[06/Feb/2019:00:00:38 +0000]`.
fn time_of(at: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = time.month().to_string();
    format!(
        "[{:02}/{}/{:04}:{:02}:{:02}:{:02} +0000]",
        time.day(),
        month.get(..3).unwrap_or_default(),
        time.year(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

impl Heard {
    pub fn of(parts: &Parts, has_bucket_in_host: bool, is_website: bool) -> Heard {
        let own = HEARD_OF_S3.map(HeaderName::from_static);
        let headers = HEARD.iter().chain(&own);
        let headers = headers.filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())));
        Heard {
            at: Instant::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: headers.collect(),
            has_bucket_in_host,
            is_website,
        }
    }

    fn header(&self, name: impl header::AsHeaderName) -> String {
        self.headers
            .get(name)
            .map(HeaderValue::as_bytes)
            .map(String::from_utf8_lossy)
            .unwrap_or_default()
            .into_owned()
    }

    fn key(&self) -> Option<String> {
        let path = self.uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let key = if self.has_bucket_in_host { path } else { path.split_once('/')?.1 };
        query::unescape(key).filter(|key| !key.is_empty())
    }

    fn parameters(&self) -> Vec<(String, String)> {
        query::parse(self.uri.query().unwrap_or_default()).unwrap_or_default()
    }

    /// Such as `REST.GET.OBJECT`.
    fn operation(&self, key: Option<&str>, parameters: &[(String, String)]) -> String {
        if self.is_website {
            return format!("WEBSITE.{}.OBJECT", self.method);
        }
        if self.method == Method::OPTIONS {
            return "REST.OPTIONS.PREFLIGHT".to_owned();
        }
        let has = |wanted: &str| parameters.iter().any(|(name, _)| name == wanted);
        let is_object = key.is_some();
        let named = RESOURCES.iter().find(|(parameter, _, _)| has(parameter));
        let resource = match named {
            _ if is_object && has("uploadId") && has("partNumber") => "PART",
            _ if is_object && has("uploadId") => "UPLOAD",
            Some((_, _, of_object)) if is_object => of_object,
            Some((_, of_bucket, _)) => of_bucket,
            None if is_object => "OBJECT",
            None => "BUCKET",
        };
        let is_copy = self.method == Method::PUT && self.headers.contains_key("x-amz-copy-source");
        let method = if is_copy { "COPY" } else { self.method.as_str() };
        format!("REST.{}.{resource}", field(method))
    }

    /// Of the object that is read or written, in bytes.
    fn size(&self, answer: &HttpResponse) -> Option<u64> {
        let number = |text: &str| text.parse().ok();
        let told = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if [Method::GET, Method::HEAD].contains(&self.method) {
            if let Some(range) = told(header::CONTENT_RANGE) {
                return number(range.rsplit('/').next().unwrap_or_default());
            }
            let is_object = told(header::ETAG).is_some() && answer.status() == StatusCode::OK;
            return told(header::CONTENT_LENGTH).filter(|_| is_object).and_then(number);
        }
        if self.method != Method::PUT || !answer.status().is_success() {
            return None;
        }
        number(&self.header("x-amz-decoded-content-length"))
            .or_else(|| number(&self.header(header::CONTENT_LENGTH)))
    }
}

/// A request that is answered, but for the bytes of its answer.
pub struct Line {
    store: ObjectStore,
    whose: (String, String, Logging),
    at: Timestamp,
    heard: Instant,
    /// The fields before the number of bytes, those up to the times, and those behind them.
    start: String,
    size: String,
    turnaround: u128,
    end: String,
    /// Further lines, which are whole.
    others: String,
    sent: u64,
    has_body: bool,
}

impl Line {
    fn finish(&mut self) {
        let sent = if self.has_body && self.sent > 0 { Some(self.sent) } else { None };
        let line = format!(
            "{} {} {} {} {} {}\n{}",
            self.start,
            number(sent),
            self.size,
            self.heard.elapsed().as_millis(),
            self.turnaround,
            self.end,
            self.others
        );
        let (owner, bucket, logging) = self.whose.clone();
        self.store.0.logs.add(owner, bucket, logging, self.at, &line);
    }
}

impl ObjectStore {
    /// Follows an answer to its end and writes it down, if the bucket's requests are. `name` is the bucket of a request that
    /// came to nothing before that was looked for.
    pub(crate) fn log(
        &self,
        cx: &Cx,
        heard: &Heard,
        noted: &Noted,
        name: Option<&str>,
        answer: HttpResponse,
    ) -> HttpResponse {
        let found: Option<Arc<Bucket>> = match (noted.known(), name) {
            (Some(known), _) => Some(known.bucket.clone()),
            (None, Some(name)) => self.find_bucket(name).ok().flatten(),
            (None, None) => None,
        };
        let Some((bucket, logging)) =
            found.and_then(|bucket| Some((bucket.clone(), bucket.logging.clone()?)))
        else {
            return answer;
        };
        let requester = noted.known().and_then(|known| known.requester.clone());
        let is_error = answer.status().is_client_error() || answer.status().is_server_error();
        let code = match answer.headers().get(ERROR_CODE) {
            Some(code) => code.to_str().unwrap_or_default().to_owned(),
            None if is_error => {
                let text = answer.body().bytes().unwrap_or_default();
                markup::element(&String::from_utf8_lossy(&text), "Code")
            }
            None => String::new(),
        };
        let (key, parameters) = (heard.key(), heard.parameters());
        let parameter = |wanted: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let is_presigned = parameter("X-Amz-Signature").is_some();
        let proof = match (heard.headers.contains_key(header::AUTHORIZATION), is_presigned) {
            (_, true) => "QueryString",
            (true, false) => "AuthHeader",
            (false, false) => "-",
        };
        let told = answer.headers().get("x-amz-version-id").and_then(|value| value.to_str().ok());
        let version = told.or(parameter("versionId").map(String::as_str)).unwrap_or_default();
        let who = format!(
            "{} {} {} {} {} {}",
            field(&bucket.project_id),
            field(&bucket.name),
            time_of(cx.now()),
            cx.source().map_or_else(|| "-".to_owned(), |source| source.to_string()),
            field(requester.as_deref().unwrap_or_default()),
            field(cx.request_id())
        );
        let request =
            quoted(&format!("{} {} {:?}", heard.method, target(&heard.uri), heard.version), URI_MAX);
        let client = format!(
            "{} {}",
            quoted(&heard.header(header::REFERER), TEXT_MAX),
            quoted(&heard.header(header::USER_AGENT), TEXT_MAX)
        );
        // Host id; cipher suite; version of TLS, access point, whether a list of rights was needed, the source's region: unknown,
        // or not there.
        let transport = |version: &str| {
            let signed = if proof == "-" { "-" } else { "SigV4" };
            format!("{} - {signed} - {proof} {} - - - -", field(version), field(&heard.header(header::HOST)))
        };
        let operation = heard.operation(key.as_deref(), &parameters);
        let key = key.map_or_else(|| "-".to_owned(), |key| query::escape(&key, true));
        let others: String = noted
            .deletions()
            .iter()
            .map(|deletion| {
                let status = if deletion.error.is_none() { "204" } else { "-" };
                format!(
                    "{who} BATCH.DELETE.OBJECT {} {request} {status} {} - - - - {client} {}\n",
                    query::escape(&deletion.key, true),
                    field(deletion.error.as_deref().unwrap_or_default()),
                    transport(deletion.version.as_deref().unwrap_or_default())
                )
            })
            .collect();
        let line = Line {
            store: self.clone(),
            whose: (bucket.project_id.clone(), bucket.name.clone(), logging),
            at: cx.now(),
            heard: heard.at,
            start: format!("{who} {operation} {key} {request} {} {}", answer.status().as_u16(), field(&code)),
            size: number(heard.size(&answer)),
            turnaround: heard.at.elapsed().as_millis(),
            end: format!("{client} {}", transport(version)),
            others,
            sent: 0,
            has_body: heard.method != Method::HEAD,
        };
        answer.map(|body| s3s::Body::http_body_unsync(Followed { body, line }))
    }
}

/// A body whose bytes are counted. However it ends, the line is written.
struct Followed {
    body: s3s::Body,
    line: Line,
}

impl Body for Followed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.line.sent += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.line.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_ends_a_field_or_a_line() {
        assert_eq!(field(""), "-");
        assert_eq!(field("a b\"\n\u{e9}\\"), "a%20b%22%0A%C3%A9%5C");
        assert_eq!(quoted("Mozilla \"5.0\"\r\nx", 100), "\"Mozilla %225.0%22%0D%0Ax\"");
        assert_eq!(quoted("", 100), "\"-\"");
        assert_eq!(quoted("abc", 2), "\"ab\"");
    }

    #[test]
    fn signatures_are_not_written_down() {
        let uri = "/b/k?X-Amz-Signature=abc&x=1&x-amz-security-token=t&Signature=s".parse().unwrap();
        let shown = target(&uri);
        assert_eq!(
            shown,
            "/b/k?X-Amz-Signature=REDACTED&x=1&x-amz-security-token=REDACTED&Signature=REDACTED"
        );
    }

    #[test]
    fn times_are_those_of_log_files() {
        let at = Timestamp::parse("2019-02-06T00:00:38Z").unwrap();
        assert_eq!(time_of(at), "[06/Feb/2019:00:00:38 +0000]");
    }

    #[test]
    fn operations_are_named_by_what_they_are_about() {
        for (method, target, expected) in [
            ("GET", "/b", "REST.GET.BUCKET"),
            ("GET", "/b/", "REST.GET.BUCKET"),
            ("GET", "/b/k", "REST.GET.OBJECT"),
            ("PUT", "/b/k?tagging", "REST.PUT.OBJECT_TAGGING"),
            ("GET", "/b?policy", "REST.GET.BUCKETPOLICY"),
            ("POST", "/b?delete", "REST.POST.MULTI_OBJECT_DELETE"),
            ("POST", "/b/k?uploads", "REST.POST.UPLOADS"),
            ("PUT", "/b/k?uploadId=1&partNumber=1", "REST.PUT.PART"),
            ("POST", "/b/k?uploadId=1", "REST.POST.UPLOAD"),
            ("OPTIONS", "/b/k", "REST.OPTIONS.PREFLIGHT"),
        ] {
            let request = http::Request::builder().method(method).uri(target).body(()).unwrap();
            let heard = Heard::of(&request.into_parts().0, false, false);
            assert_eq!(heard.operation(heard.key().as_deref(), &heard.parameters()), expected, "{target}");
        }
    }
}
