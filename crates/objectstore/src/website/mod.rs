//! Buckets as static websites: how the configuration is put and shown. `serve` answers by it.
//!
//! Source: S3 API Reference, PutBucketWebsite, `WebsiteConfiguration`; S3 User Guide, "Hosting a static website using Amazon
//! S3".

mod serve;

pub use serve::{ERROR_CODE, Site};

use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use crate::ObjectStore;
use crate::access::Decided;
use crate::fault::{error, named};

/// Source: S3 User Guide, "Configuring a webpage redirect".
const RULES_MAX: usize = 50;
/// Of keys and of what stands for a part of one, in bytes.
const KEY_MAX: usize = 1024;
/// Of a name of a host: RFC 1035, with a port behind it.
const HOST_MAX: usize = 261;
/// Of `x-amz-website-redirect-location`. Source: S3 User Guide, "Configuring a webpage redirect".
const LOCATION_MAX: usize = 2048;

/// A bucket as a website.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Website {
    /// What a path that ends in a slash is completed with.
    pub index: Option<String>,
    /// The key of the page that tells of errors.
    pub error: Option<String>,
    /// Where every request is sent; then there is nothing else.
    pub redirect_all: Option<Redirect>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RoutingRule>,
}

/// When a request is sent elsewhere, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingRule {
    /// What the key begins with.
    pub prefix: Option<String>,
    /// The status that the request would be answered with.
    pub status: Option<u16>,
    pub redirect: Redirect,
}

/// What of a request's address is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// `http` or `https`; that of the request if it is left out.
    pub protocol: Option<String>,
    pub host: Option<String>,
    /// 301 if it is left out.
    pub code: Option<u16>,
    /// Takes the place of the prefix of the rule.
    pub prefix: Option<String>,
    /// Takes the place of the whole key.
    pub key: Option<String>,
}

fn malformed(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::MalformedXML, message)
}

fn invalid(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

pub fn no_website() -> S3Error {
    error(
        S3ErrorCode::NoSuchWebsiteConfiguration,
        "The specified bucket does not have a website configuration",
    )
}

fn check_key(key: String, what: &str, may_be_empty: bool) -> S3Result<String> {
    if key.len() > KEY_MAX || key.is_empty() && !may_be_empty || key.chars().any(char::is_control) {
        return Err(invalid(format!("The {what} is not well formed")));
    }
    Ok(key)
}

/// A host, with a port perhaps: it stands in a header of answers.
fn check_host(host: String) -> S3Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || host.len() > HOST_MAX || !host.bytes().all(is_plain) {
        return Err(invalid(format!("The host name '{host}' provided is not valid")));
    }
    Ok(host)
}

fn check_protocol(protocol: &dto::Protocol) -> S3Result<String> {
    match protocol.as_str() {
        known @ (dto::Protocol::HTTP | dto::Protocol::HTTPS) => Ok(known.to_owned()),
        _ => Err(invalid(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

/// A status within a range of them.
fn check_status(text: &str, range: std::ops::Range<u16>, message: &str) -> S3Result<u16> {
    let read = text.parse().ok().filter(|status| range.contains(status));
    read.ok_or_else(|| invalid(format!("The provided HTTP code ({text}) is not valid. {message}")))
}

fn read_rule(rule: dto::RoutingRule) -> S3Result<RoutingRule> {
    let (mut prefix, mut status) = (None, None);
    if let Some(condition) = rule.condition {
        prefix = condition.key_prefix_equals;
        status = condition.http_error_code_returned_equals;
        if prefix.is_none() && status.is_none() {
            return Err(malformed("A condition of a routing rule has a prefix or an error code."));
        }
    }
    let given = rule.redirect;
    if given.replace_key_prefix_with.is_some() && given.replace_key_with.is_some() {
        return Err(invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    let redirect = Redirect {
        protocol: given.protocol.as_ref().map(check_protocol).transpose()?,
        host: given.host_name.map(check_host).transpose()?,
        code: given
            .http_redirect_code
            .map(|code| check_status(&code, 301..400, "Valid codes are 3XX except 300."))
            .transpose()?,
        prefix: given
            .replace_key_prefix_with
            .map(|prefix| check_key(prefix, "ReplaceKeyPrefixWith", true))
            .transpose()?,
        key: given.replace_key_with.map(|key| check_key(key, "ReplaceKeyWith", true)).transpose()?,
    };
    if redirect == Redirect::default() {
        return Err(malformed("A redirect says what it replaces."));
    }
    Ok(RoutingRule {
        prefix: prefix.map(|prefix| check_key(prefix, "KeyPrefixEquals", true)).transpose()?,
        status: status
            .map(|status| check_status(&status, 400..600, "Valid codes are 4XX or 5XX."))
            .transpose()?,
        redirect,
    })
}

fn read(given: dto::WebsiteConfiguration) -> S3Result<Website> {
    if let Some(all) = given.redirect_all_requests_to {
        if given.index_document.is_some() || given.error_document.is_some() || given.routing_rules.is_some() {
            return Err(invalid(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            ));
        }
        let redirect_all = Some(Redirect {
            protocol: all.protocol.as_ref().map(check_protocol).transpose()?,
            host: Some(check_host(all.host_name)?),
            ..Redirect::default()
        });
        return Ok(Website { redirect_all, ..Website::default() });
    }
    let suffix = given.index_document.map(|index| index.suffix).ok_or_else(|| {
        invalid("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")
    })?;
    if suffix.contains('/') {
        return Err(invalid("The IndexDocument Suffix is not well formed"));
    }
    let rules = given.routing_rules.unwrap_or_default();
    if rules.len() > RULES_MAX {
        return Err(invalid(format!("The number of routing rules must not exceed {RULES_MAX}.")));
    }
    Ok(Website {
        index: Some(check_key(suffix, "IndexDocument Suffix", false)?),
        error: given
            .error_document
            .map(|document| check_key(document.key, "ErrorDocument Key", false))
            .transpose()?,
        redirect_all: None,
        rules: rules.into_iter().map(read_rule).collect::<S3Result<_>>()?,
    })
}

fn show_rule(rule: &RoutingRule) -> dto::RoutingRule {
    let Redirect { protocol, host, code, prefix, key } = rule.redirect.clone();
    let condition = (rule.prefix.is_some() || rule.status.is_some()).then(|| dto::Condition {
        http_error_code_returned_equals: rule.status.map(|status| status.to_string()),
        key_prefix_equals: rule.prefix.clone(),
    });
    dto::RoutingRule {
        condition,
        redirect: dto::Redirect {
            host_name: host,
            http_redirect_code: code.map(|code| code.to_string()),
            protocol: protocol.map(dto::Protocol::from),
            replace_key_prefix_with: prefix,
            replace_key_with: key,
        },
    }
}

/// Whether an object may send whoever asks for it there.
///
/// # Errors
/// `InvalidRedirectLocation`.
pub fn check_location(location: Option<&str>) -> S3Result<()> {
    let wrong = |message: &str| Err(named("InvalidRedirectLocation", http::StatusCode::BAD_REQUEST, message));
    let Some(location) = location else { return Ok(()) };
    if !["/", "http://", "https://"].iter().any(|start| location.starts_with(start)) {
        return wrong("The website redirect location must have a prefix of 'http://' or 'https://' or '/'.");
    }
    if location.len() > LOCATION_MAX {
        return wrong("The length of website redirect location cannot exceed 2,048 characters.");
    }
    Ok(())
}

impl ObjectStore {
    pub(crate) fn show_website(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketWebsiteOutput>> {
        let website = decided.bucket()?.website.as_ref().ok_or_else(no_website)?;
        let redirect_all = website.redirect_all.as_ref().map(|all| dto::RedirectAllRequestsTo {
            host_name: all.host.clone().unwrap_or_default(),
            protocol: all.protocol.clone().map(dto::Protocol::from),
        });
        let rules: Vec<_> = website.rules.iter().map(show_rule).collect();
        Ok(S3Response::new(dto::GetBucketWebsiteOutput {
            error_document: website.error.clone().map(|key| dto::ErrorDocument { key }),
            index_document: website.index.clone().map(|suffix| dto::IndexDocument { suffix }),
            redirect_all_requests_to: redirect_all,
            routing_rules: (!rules.is_empty()).then_some(rules),
        }))
    }

    pub(crate) async fn put_website(
        &self,
        input: dto::PutBucketWebsiteInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketWebsiteOutput>> {
        let website = read(input.website_configuration)?;
        self.configure(&decided, move |bucket| bucket.website = Some(website.clone())).await?;
        Ok(S3Response::new(dto::PutBucketWebsiteOutput {}))
    }

    pub(crate) async fn delete_website(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteBucketWebsiteOutput>> {
        self.configure(&decided, |bucket| bucket.website = None).await?;
        Ok(S3Response::with_status(dto::DeleteBucketWebsiteOutput {}, http::StatusCode::NO_CONTENT))
    }
}
