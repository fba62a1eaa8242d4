//! What a bucket's policy may ask about a request.

use std::net::IpAddr;

use hanse_core::Timestamp;
use http::HeaderMap;
use s3s::S3Result;

use crate::policy::{Key, Principal};
use crate::{query, tagging};

/// Tags, as the header or the object has them.
pub type Tags = Vec<(String, String)>;

/// A request, as far as policies know it.
pub struct Facts {
    pub principal: Option<Principal>,
    pub source: Option<IpAddr>,
    pub is_tls: bool,
    pub now: Timestamp,
    pub headers: HeaderMap,
    pub query: Vec<(String, String)>,
}

impl Facts {
    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }

    /// When it was signed.
    fn signed_at(&self) -> Option<Timestamp> {
        let text = self.header("x-amz-date").or_else(|| self.parameter("X-Amz-Date"))?;
        let (day, time) = (text.get(..8)?, text.get(9..15)?);
        let part = |text: &str, range: std::ops::Range<usize>| text.get(range).map(str::to_owned);
        Timestamp::parse(&format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(day, 0..4)?,
            part(day, 4..6)?,
            part(day, 6..8)?,
            part(time, 0..2)?,
            part(time, 2..4)?,
            part(time, 4..6)?
        ))
        .ok()
    }

    /// The values of a key. `given` are the tags that the request gives, unless its header tells; `existing` finds those of
    /// the object that is there.
    ///
    /// # Errors
    /// What finding tags comes to.
    pub fn values(
        &self,
        key: &Key,
        given: Option<&Tags>,
        existing: &dyn Fn() -> S3Result<Tags>,
    ) -> S3Result<Vec<String>> {
        let given = || match given {
            Some(tags) => Ok(tags.clone()),
            None => tagging::of_header(self.header("x-amz-tagging").as_deref()),
        };
        let named = |tags: Tags, name: &str| {
            tags.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
        };
        let is_presigned = self.parameter("X-Amz-Signature").is_some();
        let value = match key {
            Key::SourceIp => self.source.map(|source| source.to_string()),
            Key::SecureTransport => Some(self.is_tls.to_string()),
            Key::CurrentTime => Some(self.now.iso_seconds()),
            Key::EpochTime => Some(self.now.seconds().to_string()),
            Key::Referer => self.header("referer"),
            Key::UserAgent => self.header("user-agent"),
            Key::Prefix => self.parameter("prefix"),
            Key::Delimiter => self.parameter("delimiter"),
            Key::MaxKeys => self.parameter("max-keys"),
            Key::VersionId => self.parameter("versionId"),
            Key::Acl => self.header("x-amz-acl"),
            Key::ServerSideEncryption => self.header("x-amz-server-side-encryption"),
            Key::KmsKeyId => self.header("x-amz-server-side-encryption-aws-kms-key-id"),
            Key::CopySource => self.header("x-amz-copy-source"),
            Key::MetadataDirective => self.header("x-amz-metadata-directive"),
            Key::ContentSha256 => self.header("x-amz-content-sha256"),
            Key::SignatureVersion => self.principal.as_ref().map(|_| "AWS4-HMAC-SHA256".to_owned()),
            Key::AuthType => match (&self.principal, is_presigned) {
                (None, _) => None,
                (Some(_), true) => Some("REST-QUERY-STRING".to_owned()),
                (Some(_), false) if self.headers.contains_key(http::header::AUTHORIZATION) => {
                    Some("REST-HEADER".to_owned())
                }
                (Some(_), false) => Some("POST".to_owned()),
            },
            Key::SignatureAge => {
                self.signed_at().map(|signed| (self.now.0.saturating_sub(signed.0) / 1000).max(0).to_string())
            }
            // Not known here: a condition on it finds nothing.
            Key::TlsVersion => None,
            Key::IfMatch => self.header("if-match"),
            Key::IfNoneMatch => self.header("if-none-match"),
            Key::ObjectLockMode => self.header("x-amz-object-lock-mode"),
            Key::ObjectLockRetainUntilDate => self.header("x-amz-object-lock-retain-until-date"),
            Key::ObjectLockLegalHold => self.header("x-amz-object-lock-legal-hold"),
            Key::ObjectLockRemainingRetentionDays => None,
            Key::RequestObjectTagKeys => return Ok(given()?.into_iter().map(|(key, _)| key).collect()),
            Key::RequestObjectTag(name) => named(given()?, name),
            Key::ExistingObjectTag(name) => named(existing()?, name),
        };
        Ok(value.into_iter().collect())
    }

    pub fn query_of(uri: &http::Uri) -> Vec<(String, String)> {
        query::parse(uri.query().unwrap_or_default()).unwrap_or_default()
    }
}
