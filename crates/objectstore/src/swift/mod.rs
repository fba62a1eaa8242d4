//! OpenStack Swift beside S3: the same objects behind the same listener. A container is a bucket, and metadata of objects are
//! those that S3 knows. What is not offered is refused, and `/info` says what is.
//!
//! Source: OpenStack Object Storage API Reference, v1.

pub mod account;
mod acl;
mod archive;
pub mod archiving;
mod auth;
mod bulk;
mod container;
mod copy;
pub mod cors;
mod info;
pub mod kept;
mod link;
mod listing;
mod manifest;
mod meta;
mod object;
mod reading;
mod reply;
mod slo;
mod tempurl;
mod versions;
mod walk;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hanse_core::Cx;
use http::{HeaderMap, Method, Request, StatusCode, header};
use s3s::{Body, HttpResponse};

use crate::access::Tls;
use crate::buckets::{RESERVED, check_name};
use crate::{ObjectStore, query};

use auth::Session;
use reply::{Done, Refused, refused};

/// Of the path and the query together, in bytes.
const URI_MAX: usize = 16 << 10;
/// Source: OpenStack Object Storage API Reference, "Object Storage API overview", length limits.
pub const CONTAINER_NAME_MAX: usize = 256;
/// As for keys of S3.
pub const OBJECT_NAME_MAX: usize = 1024;
/// What stands before the project's id in an account's name.
const RESELLER: &str = "AUTH_";

/// Whether a request is one of Swift's: S3 has no buckets of these names, on whatever host, and says so to who would make one.
pub fn is_for(bucket: Option<&str>, method: &Method, path: &str) -> bool {
    bucket.is_some_and(|bucket| RESERVED.contains(&bucket))
        && match path {
            "/info" | "/healthcheck" => method == Method::GET || method == Method::HEAD,
            path => path.starts_with("/v1/"),
        }
}

/// The name of the bucket that a container is. What S3 would not take as a name is the project's own: with a slash in it, so
/// that it is the name of nobody's bucket.
pub fn bucket_name(project_id: &str, container: &str) -> String {
    if check_name(container).is_ok() { container.to_owned() } else { format!("{project_id}/{container}") }
}

/// A request, as far as its head says what it is.
#[derive(Clone)]
pub struct Call {
    pub cx: Cx,
    pub method: Method,
    pub headers: HeaderMap,
    /// Decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// The id of the project.
    pub account: String,
    pub container: Option<String>,
    pub object: Option<String>,
    pub is_tls: bool,
}

/// A container and an object of a path such as `<container>/<object>`, decoded.
///
/// # Errors
/// 400 if the names are too long, or no names.
pub fn split_names(path: &str) -> Done<(String, Option<String>)> {
    let (container, object) = match path.split_once('/') {
        Some((container, object)) => (container, Some(object).filter(|name| !name.is_empty())),
        None => (path, None),
    };
    let is_name = |name: &str, most: usize| !name.is_empty() && name.len() <= most && !name.contains('\0');
    if !is_name(container, CONTAINER_NAME_MAX) {
        let length = container.len();
        let message = match length > CONTAINER_NAME_MAX {
            true => format!("Container name length of {length} longer than {CONTAINER_NAME_MAX}"),
            false => "A container's name is not empty.".to_owned(),
        };
        return Err(refused(StatusCode::BAD_REQUEST, message));
    }
    if object.is_some_and(|object| !is_name(object, OBJECT_NAME_MAX)) {
        let message = format!("An object's name has at most {OBJECT_NAME_MAX} bytes.");
        return Err(refused(StatusCode::BAD_REQUEST, message));
    }
    Ok((container.to_owned(), object.map(str::to_owned)))
}

impl Call {
    fn read(cx: Cx, parts: &http::request::Parts) -> Done<Call> {
        let bad = |message: &str| refused(StatusCode::PRECONDITION_FAILED, message);
        if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > URI_MAX {
            return Err(refused(StatusCode::URI_TOO_LONG, "The URI is too long."));
        }
        let path = query::unescape(parts.uri.path()).ok_or_else(|| bad("Invalid UTF8 or contains NULL"))?;
        let query = query::parse(parts.uri.query().unwrap_or_default())
            .ok_or_else(|| bad("The query does not decode."))?;
        let not_found = || Refused::from(StatusCode::NOT_FOUND);
        let rest = path.strip_prefix("/v1/").ok_or_else(not_found)?;
        let (account, names) = rest.split_once('/').unwrap_or((rest, ""));
        let project = project_of(account).ok_or_else(not_found)?;
        let (container, object) = match names {
            "" => (None, None),
            names => {
                let (container, object) = split_names(names)?;
                (Some(container), object)
            }
        };
        Ok(Call {
            cx,
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            query,
            account: project.to_owned(),
            container,
            object,
            is_tls: parts.extensions.get::<Tls>().is_some(),
            path,
        })
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A header that is there and is text.
    ///
    /// # Errors
    /// 400 if it stands twice, or is no UTF-8.
    pub fn header(&self, name: &str) -> Done<Option<&str>> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| values.next().is_none());
        let wrong = || refused(StatusCode::BAD_REQUEST, format!("The header {name} does not read."));
        text.map(|text| Some(text.trim())).ok_or_else(wrong)
    }

    /// As [`Call::header`], where a boolean is meant.
    ///
    /// # Errors
    /// 400 if it does not read.
    pub fn is_set(&self, name: &str) -> Done<bool> {
        Ok(self.header(name)?.is_some_and(listing::is_true))
    }
}

/// The project of an account's name, if that can be one: ids are what Keystone makes, and what an operator may choose.
pub fn project_of(account: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let id = account.strip_prefix(RESELLER)?;
    ((1..=64).contains(&id.len()) && id.bytes().all(is_plain)).then_some(id)
}

/// Gathers a body of which at most so much is read.
///
/// # Errors
/// 413 if it is longer; 499 if it broke off.
pub async fn gather(mut body: Body, most: usize) -> Done<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = body.next().await {
        let bytes: Bytes = bytes.map_err(|_| reply::broken_off())?;
        if all.len() + bytes.len() > most {
            return Err(refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body has more than {most} bytes."),
            ));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

impl ObjectStore {
    /// Answers a request of Swift's.
    pub(crate) async fn swift(&self, request: Request<Body>) -> HttpResponse {
        let (parts, body) = request.into_parts();
        let cx = parts.extensions.get::<Cx>().cloned().unwrap_or_else(|| self.0.cx.clone());
        let id = cx.request_id().to_owned();
        let mut answer = match self.dispatch(cx.clone(), &parts, body).await {
            Ok(answer) => answer,
            Err(refused) => refused.answer(),
        };
        reply::set(answer.headers_mut(), "x-trans-id", transaction_id(&cx, &id));
        reply::set(answer.headers_mut(), "x-openstack-request-id", &id);
        answer
    }

    async fn dispatch(&self, cx: Cx, parts: &http::request::Parts, body: Body) -> Done {
        match parts.uri.path() {
            "/info" => return Ok(info::show()),
            "/healthcheck" => return self.healthcheck(),
            _ => {}
        }
        let call = Call::read(cx, parts)?;
        let session = Session::open(self, &call).await?;
        let bulk = call.parameter("bulk-delete").is_some();
        if let ("PUT", Some(packing)) = (call.method.as_str(), call.parameter("extract-archive")) {
            return session.extract(packing, body).await;
        }
        let of_manifest = call.parameter("multipart-manifest");
        let version = session.version();
        if version.is_some() && (of_manifest.is_some() || call.method == Method::POST) {
            let message = "Manifests of versions are not offered, nor is changing a version.";
            return Err(refused(StatusCode::NOT_IMPLEMENTED, message));
        }
        match (call.method.as_str(), call.container.as_deref(), call.object.as_deref()) {
            ("POST" | "DELETE", _, None) if bulk => session.bulk_delete(body).await,
            ("GET" | "HEAD", None, _) => session.show_account(),
            ("POST", None, _) => session.update_account().await,
            ("PUT", Some(container), None) => session.create_container(container).await,
            ("GET" | "HEAD", Some(container), None) => session.show_container(container),
            ("POST", Some(container), None) => session.update_container(container).await,
            ("DELETE", Some(container), None) => session.delete_container(container).await,
            ("PUT", Some(container), Some(object)) => match of_manifest {
                _ if let Some(version) = version => session.restore(container, object, version).await,
                Some("put") => session.put_slo(container, object, body).await,
                _ if call.headers.contains_key("x-copy-from") => session.copy_from(container, object).await,
                _ => session.put_object(container, object, body).await,
            },
            ("GET" | "HEAD", Some(container), Some(object)) => match of_manifest {
                Some("get") => session.show_slo(container, object).await,
                _ => session.show_object(container, object).await,
            },
            ("POST", Some(container), Some(object)) => session.update_object(container, object).await,
            ("DELETE", Some(container), Some(object)) => match of_manifest {
                Some("delete") => session.delete_slo(container, object).await,
                _ if let Some(version) = version => session.delete_version(container, object, version).await,
                _ => session.delete_object(container, object).await,
            },
            ("COPY", Some(container), Some(object)) => session.copy_to(container, object).await,
            _ => Err(StatusCode::METHOD_NOT_ALLOWED.into()),
        }
    }

    /// Source: OpenStack Swift, middleware "Healthcheck".
    fn healthcheck(&self) -> Done {
        if let Some(failure) = self.0.store.failure() {
            return Err(failure.into());
        }
        Ok(reply::text("OK"))
    }
}

/// The request's id as Swift writes it, with the time in it: clients look at its form.
fn transaction_id(cx: &Cx, id: &str) -> String {
    let digits: String =
        id.trim_start_matches("req-").chars().filter(char::is_ascii_hexdigit).take(21).collect();
    format!("tx{digits:0<21}-{:010x}", cx.now().seconds())
}

/// Whether the client says how long the body is, or sends it in chunks.
///
/// # Errors
/// 411.
pub fn check_length(headers: &HeaderMap) -> Done<()> {
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(());
    }
    Err(refused(StatusCode::LENGTH_REQUIRED, "Missing Content-Length header."))
}
