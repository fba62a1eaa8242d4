//! What is refused before S3's own rules are asked. `s3s` 0.14.1 lets a header that nobody signed change what a signed
//! request does, takes the first of two `Host` headers, and knows the signatures of version 2.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::fault::error;
use crate::query;

/// Of the path and the query together, in bytes: a key of 1,024 bytes, each escaped, and a presigned query.
const URI_MAX: usize = 16 << 10;
/// Source: S3 User Guide, "Expiration" of presigned URLs: seven days.
const EXPIRES_MAX: u64 = 7 * 24 * 3600;

/// Headers that mean something once.
const ONCE: [&str; 9] = [
    "host",
    "authorization",
    "content-length",
    "content-type",
    "content-md5",
    "range",
    "if-match",
    "if-none-match",
    "transfer-encoding",
];

/// These two enter the signature whether or not they are named in it.
const BOUND: [&str; 2] = ["x-amz-content-sha256", "x-amz-date"];

/// How a request proves who it is from.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    None,
    /// The headers that are signed, in small letters, and the credential's scope.
    Signed {
        headers: Vec<String>,
        scope: String,
    },
}

fn invalid(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

fn proof(uri: &Uri, headers: &HeaderMap) -> S3Result<Proof> {
    let query = query::parse(uri.query().unwrap_or_default())
        .ok_or_else(|| error(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."))?;
    let parameter =
        |wanted: &str| query.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v);
    for (index, (name, _)) in query.iter().enumerate() {
        let is_ours = name.to_ascii_lowercase().starts_with("x-amz-");
        if is_ours && query.iter().skip(index + 1).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(invalid(format!("The parameter {name} stands twice.")));
        }
    }
    if parameter("AWSAccessKeyId").is_some() || parameter("Signature").is_some() {
        return Err(version_2());
    }
    let is_presigned = ["X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential"]
        .iter()
        .any(|name| parameter(name).is_some());
    let header = match headers.get(AUTHORIZATION) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| invalid("The authorization header is malformed."))?),
    };
    if is_presigned && header.is_some() {
        return Err(error(
            S3ErrorCode::InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the \
             Authorization header should be specified",
        ));
    }
    if is_presigned {
        let wrong = |message: &str| Err(error(S3ErrorCode::AuthorizationQueryParametersError, message));
        let expires = parameter("X-Amz-Expires").and_then(|text| text.parse::<u64>().ok());
        match expires {
            None => return wrong("X-Amz-Expires should be a number"),
            Some(0) => return wrong("X-Amz-Expires must be positive"),
            Some(seconds) if seconds > EXPIRES_MAX => {
                return wrong(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
                );
            }
            Some(_) => {}
        }
        let text = |name: &str| parameter(name).cloned().unwrap_or_default();
        return Ok(signed(&text("X-Amz-SignedHeaders"), &text("X-Amz-Credential")));
    }
    let Some(header) = header else { return Ok(Proof::None) };
    if header.starts_with("AWS ") {
        return Err(version_2());
    }
    let Some(fields) = header.strip_prefix("AWS4-HMAC-SHA256") else {
        return Err(error(S3ErrorCode::InvalidArgument, "Unsupported Authorization Type"));
    };
    let field = |name: &str| fields.split(',').map(str::trim).find_map(|field| field.strip_prefix(name));
    let malformed = |what: &str| {
        error(S3ErrorCode::AuthorizationHeaderMalformed, format!("The authorization header has no {what}."))
    };
    Ok(signed(
        field("SignedHeaders=").ok_or_else(|| malformed("SignedHeaders"))?,
        field("Credential=").ok_or_else(|| malformed("Credential"))?,
    ))
}

fn signed(headers: &str, scope: &str) -> Proof {
    Proof::Signed {
        headers: headers.split(';').map(str::to_ascii_lowercase).collect(),
        scope: scope.to_owned(),
    }
}

/// Whether the region is one that signatures are checked in: any in small letters. Of a credential
/// `<access key>/<date>/<region>/s3/aws4_request`, where an access key may have slashes.
fn has_region(scope: &str) -> bool {
    let region = scope.rsplit('/').nth(2).unwrap_or_default();
    !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn version_2() -> S3Error {
    invalid("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

/// Looks at the head of a request.
///
/// # Errors
/// `InvalidRequest`, `AccessDenied` and others that say what is wrong.
pub fn check(uri: &Uri, headers: &HeaderMap, region: &str) -> S3Result<()> {
    if uri.path().len() + uri.query().map_or(0, str::len) > URI_MAX {
        return Err(error(S3ErrorCode::InvalidURI, "The URI is too long."));
    }
    for name in headers.keys() {
        let name = name.as_str();
        let is_once = name.starts_with("x-amz-") || ONCE.contains(&name);
        if is_once && headers.get_all(name).iter().nth(1).is_some() {
            return Err(invalid(format!("The header {name} stands twice.")));
        }
    }
    if headers.contains_key("x-amz-security-token") {
        return Err(error(
            S3ErrorCode::InvalidToken,
            "The provided token is malformed or otherwise invalid.",
        ));
    }
    // Such a request can do nothing but what anybody may.
    let Proof::Signed { headers: signed, scope } = proof(uri, headers)? else { return Ok(()) };
    if !has_region(&scope) {
        let named = scope.rsplit('/').nth(2).unwrap_or_default();
        return Err(error(
            S3ErrorCode::AuthorizationHeaderMalformed,
            format!(
                "The authorization header is malformed; the region '{named}' is wrong; expecting '{region}'"
            ),
        ));
    }
    let is_signed = |name: &str| signed.iter().any(|own| own == name);
    if !is_signed("host") {
        return Err(error(S3ErrorCode::AccessDenied, "The host header must be signed."));
    }
    let unsigned: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && !BOUND.contains(name) && !is_signed(name))
        .collect();
    if !unsigned.is_empty() {
        return Err(error(
            S3ErrorCode::AccessDenied,
            format!(
                "There were headers present in the request which were not signed: {}",
                unsigned.join(", ")
            ),
        ));
    }
    Ok(())
}

fn host<'h>(uri: &'h Uri, headers: &'h HeaderMap) -> Option<&'h str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.or(uri.authority().map(http::uri::Authority::as_str))
}

/// The bucket in the host's name, below a domain.
pub fn in_host(uri: &Uri, headers: &HeaderMap, domain: Option<&str>) -> Option<String> {
    virtual_bucket(host(uri, headers)?, domain?)
}

/// The bucket at the beginning of the path.
pub fn in_path(uri: &Uri) -> Option<String> {
    uri.path().trim_start_matches('/').split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The bucket in a host's name; `None` if it is the domain itself or another name.
pub fn virtual_bucket(host: &str, domain: &str) -> Option<String> {
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    let host = host.to_ascii_lowercase();
    host.strip_suffix(domain)?.strip_suffix('.').filter(|bucket| !bucket.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=a/b/20261129/r/s3/aws4_request, SignedHeaders=host;x-amz-date;x-amz-acl, Signature=00";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn code(uri: &str, pairs: &[(&str, &str)]) -> Option<String> {
        check(&uri.parse().unwrap(), &headers(pairs), "regionone")
            .err()
            .map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_header_that_nobody_signed_is_refused() {
        let base = [
            ("host", "s3"),
            ("authorization", SIGNED),
            ("x-amz-date", "d"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ];
        assert_eq!(code("/b/k", &base), None);
        assert_eq!(code("/b/k", &[&base[..], &[("x-amz-acl", "private")]].concat()), None);
        for name in ["x-amz-copy-source", "x-amz-meta-a", "x-amz-tagging", "x-amz-server-side-encryption"] {
            assert_eq!(
                code("/b/k", &[&base[..], &[(name, "x")]].concat()).unwrap(),
                "AccessDenied",
                "{name}"
            );
        }
        let presigned = "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20261129/r/s3/aws4_request&X-Amz-Date=d&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
        assert_eq!(code(presigned, &[("host", "s3")]), None);
        assert_eq!(
            code(presigned, &[("host", "s3"), ("x-amz-copy-source", "/other/k")]).unwrap(),
            "AccessDenied"
        );
        let too_long = presigned.replace("=60", "=604801");
        assert_eq!(code(&too_long, &[("host", "s3")]).unwrap(), "AuthorizationQueryParametersError");
        let no_host = presigned.replace("Headers=host", "Headers=range");
        assert_eq!(code(&no_host, &[("host", "s3")]).unwrap(), "AccessDenied");
        let twice = format!("{presigned}&x-amz-expires=60");
        assert_eq!(code(&twice, &[("host", "s3")]).unwrap(), "InvalidRequest");
    }

    #[test]
    fn what_stands_twice_is_refused_and_so_are_old_signatures() {
        for name in ["host", "authorization", "x-amz-date", "content-md5", "content-length"] {
            let pairs = [("host", "s3"), (name, "1"), (name, "1")];
            assert_eq!(code("/", &pairs).unwrap(), "InvalidRequest", "{name}");
        }
        assert_eq!(code("/", &[("host", "s3"), ("authorization", "AWS a:b")]).unwrap(), "InvalidRequest");
        assert_eq!(
            code("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[("host", "s3")]).unwrap(),
            "InvalidRequest"
        );
        assert_eq!(code("/", &[("host", "s3"), ("authorization", "Basic YTpi")]).unwrap(), "InvalidArgument");
        assert_eq!(
            code("/", &[("host", "s3"), ("authorization", "AWS4-HMAC-SHA256 x")]).unwrap(),
            "AuthorizationHeaderMalformed"
        );
        let capital = SIGNED.replace("/r/", "/RegionOne/");
        assert_eq!(
            code("/", &[("host", "s3"), ("authorization", &capital)]).unwrap(),
            "AuthorizationHeaderMalformed"
        );
        let both = "/?X-Amz-Signature=1";
        assert_eq!(code(both, &[("host", "s3"), ("authorization", SIGNED)]).unwrap(), "InvalidArgument");
        assert_eq!(code("/?a=%zz", &[("host", "s3")]).unwrap(), "InvalidURI");
        assert_eq!(code(&format!("/{}", "a".repeat(URI_MAX)), &[("host", "s3")]).unwrap(), "InvalidURI");
        assert_eq!(code("/", &[("host", "s3"), ("x-amz-security-token", "t")]).unwrap(), "InvalidToken");
        assert_eq!(code("/", &[("host", "s3")]), None, "nobody: for the operation to refuse");
    }

    #[test]
    fn the_bucket_stands_in_the_host_or_in_the_path() {
        let of = |uri: &str, host: &str| {
            let uri = uri.parse().unwrap();
            in_host(&uri, &headers(&[("host", host)]), Some("s3.example.org")).or_else(|| in_path(&uri))
        };
        assert_eq!(of("/k", "bu.cket.s3.example.org:8444").unwrap(), "bu.cket");
        assert_eq!(of("/bucket/k", "s3.example.org").unwrap(), "bucket");
        assert_eq!(of("/bucket/k", "127.0.0.1:8444").unwrap(), "bucket");
        assert_eq!(of("/bucket/k", "evils3.example.org").unwrap(), "bucket", "another name");
        assert_eq!(of("/", "s3.example.org"), None);
    }
}
