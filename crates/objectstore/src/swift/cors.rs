//! Cross-origin requests, as the metadata of a container allow them: a rule beside those that S3 has for the bucket. Both count for
//! both APIs.
//!
//! Source: OpenStack Swift, "CORS".

use super::{bucket_name, project_of, split_names};
use crate::query;
use crate::record::{CorsRule, Swift};

/// The names of the metadata, behind `x-container-meta-`.
const ORIGINS: &str = "access-control-allow-origin";
const EXPOSE: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";

/// What a page may see of every answer.
const EXPOSED: [&str; 10] = [
    "cache-control",
    "content-language",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "x-openstack-request-id",
    "x-timestamp",
    "x-trans-id",
];
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "COPY", "DELETE"];

/// Whether a value can stand in the metadata of this name.
pub fn is_fine(name: &str, value: &str) -> bool {
    match name {
        ORIGINS => value.split_whitespace().all(|origin| origin.matches('*').count() <= 1),
        MAX_AGE => value.parse::<u32>().is_ok_and(|seconds| i32::try_from(seconds).is_ok()),
        _ => true,
    }
}

/// The rule that a container's metadata make.
pub fn rule(swift: &Swift) -> Option<CorsRule> {
    let words = |name: &str| {
        let text = swift.meta.get(name).map(String::as_str).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let origins = words(ORIGINS);
    if origins.is_empty() {
        return None;
    }
    Some(CorsRule {
        id: None,
        methods: METHODS.map(str::to_owned).to_vec(),
        origins,
        headers: vec!["*".to_owned()],
        expose: EXPOSED.into_iter().map(str::to_owned).chain(words(EXPOSE)).collect(),
        max_age: swift.meta.get(MAX_AGE).and_then(|seconds| seconds.parse().ok()),
    })
}

/// The bucket that the container of a path is.
pub fn bucket_of(path: &str) -> Option<String> {
    let path = query::unescape(path)?;
    let (account, names) = path.strip_prefix("/v1/")?.split_once('/')?;
    Some(bucket_name(project_of(account)?, &split_names(names).ok()?.0))
}
