//! Cross-origin requests. Source: S3 User Guide, "Using cross-origin resource sharing (CORS)"; Fetch Standard, "CORS
//! protocol".

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::Decided;
use crate::fault::{error, named};
use crate::record::{Bucket, CorsRule};
use crate::swift;

const RULES_MAX: usize = 100;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// Whether a pattern, in which one `*` stands for anything, is this text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

/// The rule for a request, and how its origin is answered.
fn rule<'r>(
    rules: &'r [CorsRule],
    origin: &str,
    method: &str,
    headers: &[String],
) -> Option<(&'r CorsRule, &'r str)> {
    rules.iter().find_map(|rule| {
        let allowed = rule.origins.iter().find(|pattern| matches(pattern, origin))?;
        let is_method = rule.methods.iter().any(|own| own == method);
        let are_headers = headers
            .iter()
            .all(|header| rule.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), header)));
        (is_method && are_headers).then_some((rule, allowed.as_str()))
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn allow(to: &mut HeaderMap, rule: &CorsRule, allowed: &str, origin: &str) {
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            to.insert(name, value);
        }
    };
    if allowed == "*" {
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    set(header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !rule.expose.is_empty() {
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
    }
    if let Some(seconds) = rule.max_age {
        set(header::ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    set(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
}

fn forbidden(message: &'static str) -> S3Error {
    named("AccessForbidden", StatusCode::FORBIDDEN, message)
}

impl ObjectStore {
    /// Answers what a browser asks before it sends something.
    ///
    /// # Errors
    /// `AccessForbidden`, `BadRequest`.
    pub(crate) fn preflight(&self, bucket: Option<&str>, headers: &HeaderMap) -> S3Result<HeaderMap> {
        let bad = |message: &'static str| named("BadRequest", StatusCode::BAD_REQUEST, message);
        let origin = text(headers, header::ORIGIN)
            .ok_or_else(|| bad("Insufficient information. Origin request header needed."))?;
        let method = text(headers, header::ACCESS_CONTROL_REQUEST_METHOD)
            .ok_or_else(|| bad("Invalid Access-Control-Request-Method: null"))?;
        let asked = text(headers, header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let asked: Vec<String> = asked
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        // A bucket that is not there is answered as one without rules.
        let rules = self.rules(bucket)?;
        if rules.is_empty() {
            return Err(forbidden("CORSResponse: CORS is not enabled for this bucket."));
        }
        let (rule, allowed) = rule(&rules, origin, method, &asked)
            .ok_or_else(|| forbidden("CORSResponse: This CORS request is not allowed."))?;
        let mut answer = HeaderMap::new();
        allow(&mut answer, rule, allowed, origin);
        if !asked.is_empty()
            && let Ok(value) = HeaderValue::from_str(&asked.join(", "))
        {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, value);
        }
        Ok(answer)
    }

    fn rules(&self, bucket: Option<&str>) -> S3Result<Vec<CorsRule>> {
        let Some(name) = bucket else { return Ok(Vec::new()) };
        let found = self.find_bucket(name).map_err(|error| crate::fault::of(&error))?;
        let rules = |found: Arc<Bucket>| {
            let of_container = swift::cors::rule(&found.swift);
            found.cors.iter().cloned().chain(of_container).collect()
        };
        Ok(found.map(rules).unwrap_or_default())
    }

    /// Lets the browser show the answer to the page that asked, if the bucket's rules allow it.
    pub(crate) fn expose(&self, bucket: Option<&str>, origin: &str, method: &Method, answer: &mut HeaderMap) {
        if let Ok(rules) = self.rules(bucket)
            && let Some((rule, allowed)) = rule(&rules, origin, method.as_str(), &[])
        {
            allow(answer, rule, allowed, origin);
        }
    }

    pub(crate) fn show_cors(&self, decided: &Decided) -> S3Result<S3Response<dto::GetBucketCorsOutput>> {
        let bucket = decided.bucket()?;
        if bucket.cors.is_empty() {
            return Err(error(S3ErrorCode::NoSuchCORSConfiguration, "The CORS configuration does not exist"));
        }
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let shown = bucket.cors.iter().map(|rule| dto::CORSRule {
            id: rule.id.clone(),
            allowed_methods: rule.methods.clone(),
            allowed_origins: rule.origins.clone(),
            allowed_headers: some(&rule.headers),
            expose_headers: some(&rule.expose),
            max_age_seconds: rule.max_age,
        });
        Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules: Some(shown.collect()) }))
    }

    pub(crate) async fn put_cors(
        &self,
        input: dto::PutBucketCorsInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketCorsOutput>> {
        let rules = input.cors_configuration.cors_rules;
        if rules.is_empty() || rules.len() > RULES_MAX {
            return Err(error(S3ErrorCode::MalformedXML, "A CORS configuration has 1 to 100 rules."));
        }
        let mut kept = Vec::new();
        for rule in rules {
            if let Some(wrong) =
                rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str()))
            {
                return Err(error(
                    S3ErrorCode::InvalidRequest,
                    format!("Found unsupported HTTP method in CORS config. Unsupported method is {wrong}"),
                ));
            }
            let headers = rule.allowed_headers.unwrap_or_default();
            for pattern in rule.allowed_origins.iter().chain(&headers) {
                if pattern.matches('*').count() > 1 {
                    return Err(error(
                        S3ErrorCode::InvalidRequest,
                        format!("\"{pattern}\" can not have more than one wildcard."),
                    ));
                }
            }
            if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
                return Err(error(S3ErrorCode::MalformedXML, "A CORS rule has methods and origins."));
            }
            kept.push(CorsRule {
                id: rule.id,
                methods: rule.allowed_methods,
                origins: rule.allowed_origins,
                headers,
                expose: rule.expose_headers.unwrap_or_default(),
                max_age: rule.max_age_seconds,
            });
        }
        self.configure(&decided, move |bucket| bucket.cors.clone_from(&kept)).await?;
        Ok(S3Response::new(dto::PutBucketCorsOutput {}))
    }

    pub(crate) async fn delete_cors(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteBucketCorsOutput>> {
        self.configure(&decided, |bucket| bucket.cors.clear()).await?;
        Ok(S3Response::with_status(dto::DeleteBucketCorsOutput {}, StatusCode::NO_CONTENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_origin_method_and_headers() {
        let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rules = [
            CorsRule {
                methods: text(&["PUT"]),
                origins: text(&["https://*.example.org"]),
                headers: text(&["X-Amz-*"]),
                ..CorsRule::default()
            },
            CorsRule { methods: text(&["GET"]), origins: text(&["*"]), ..CorsRule::default() },
        ];
        let found = |origin: &str, method: &str, headers: &[&str]| {
            rule(&rules, origin, method, &text(headers)).map(|(_, allowed)| allowed.to_owned())
        };
        assert_eq!(found("https://a.example.org", "PUT", &["x-amz-date"]).unwrap(), "https://*.example.org");
        assert_eq!(found("https://a.example.org", "PUT", &["content-type"]), None);
        assert_eq!(found("https://example.com", "PUT", &[]), None);
        assert_eq!(found("https://example.com", "GET", &[]).unwrap(), "*");
        assert_eq!(found("https://example.com", "DELETE", &[]), None);
        assert!(!matches("ab*ba", "aba"), "start and end do not overlap");
    }
}
