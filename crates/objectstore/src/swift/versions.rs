//! Versions of objects in Swift's words: those that S3 keeps, under the ids that it gives them.
//!
//! Source: OpenStack Swift, middleware "Object Versioning".

use http::{HeaderMap, StatusCode};
use s3s::{HttpResponse, S3Result};
use serde_json::json;

use super::archiving::{DELETED, ETAG_OF_NOTHING};
use super::auth::Session;
use super::listing::{self, Asked, Named};
use super::meta::DEFAULT_TYPE;
use super::reply::{Done, Refused, empty, refused, set};
use crate::buckets::turn;
use crate::conditions::Conditions;
use crate::record::{self, Bucket, Head, Versioning};
use crate::verbs::DELETE_OBJECT;
use crate::versions::{self, Line, Wanted, look_up, name};

/// Turns versions on, or off again: then those that there are stay.
///
/// # Errors
/// As [`turn`].
pub fn set_enabled(bucket: &mut Bucket, is_on: bool) -> S3Result<()> {
    match (is_on, bucket.versioning) {
        (true, Versioning::Enabled) | (false, Versioning::Off | Versioning::Suspended) => Ok(()),
        (true, _) => turn(bucket, Versioning::Enabled),
        (false, _) => turn(bucket, Versioning::Suspended),
    }
}

/// Shows which version an answer is about.
pub fn show_version(bucket: &Bucket, head: &Head, headers: &mut HeaderMap) {
    if let Some(id) = versions::shown(bucket, head) {
        set(headers, "x-object-version-id", id);
    }
}

impl Session<'_> {
    /// The version that a request is about.
    pub fn version(&self) -> Option<&str> {
        self.call.parameter("version-id").filter(|id| !id.is_empty())
    }

    /// Lists all versions, each object's newest first.
    pub fn list_versions(
        &self,
        named: &Named<'_>,
        bucket: &Bucket,
        asked: &Asked<'_>,
        headers: HeaderMap,
    ) -> Done {
        if asked.is_reverse || asked.is_path {
            let message = "Versions are listed neither backwards nor by path.";
            return Err(refused(StatusCode::NOT_IMPLEMENTED, message));
        }
        let marker = (asked.marker, self.call.parameter("version_marker").filter(|id| !id.is_empty()));
        let (lines, _) = self.store.lines(bucket, &asked.prefix, asked.delimiter, marker, asked.limit)?;
        let view = self.store.0.store.view()?;
        let mut shown = Vec::new();
        for line in lines {
            let (key, head, is_latest) = match line {
                Line::Version(key, head, is_latest) => (key, head, is_latest),
                Line::CommonPrefix(prefix) => {
                    shown.push((prefix.clone(), listing::subdir(prefix)));
                    continue;
                }
            };
            let id = name(&head);
            let kind = match head.is_marker {
                true => Some(DELETED.to_owned()),
                // It may have gone since it was listed.
                false => match look_up(&view, bucket, &key, Some(&id))? {
                    Some(found) => record::content_type(Head::decode(&found.value)?.1)?,
                    None => None,
                },
            };
            let etag = if head.is_marker { ETAG_OF_NOTHING } else { &head.etag };
            shown.push((
                key.clone(),
                vec![
                    ("name", json!(key)),
                    ("hash", json!(etag)),
                    ("bytes", json!(head.size)),
                    ("content_type", json!(kind.as_deref().unwrap_or(DEFAULT_TYPE))),
                    ("last_modified", json!(head.modified_at.iso_naive())),
                    ("version_id", json!(id)),
                    ("is_latest", json!(is_latest)),
                ],
            ));
        }
        if let Some(end) = asked.end_marker {
            shown.retain(|(name, _)| name.as_str() < end);
        }
        let lines = shown.into_iter().map(|(_, line)| line).collect();
        Ok(listing::show(asked.format, named, lines, headers))
    }

    /// Deletes one version for good.
    pub async fn delete_version(&self, container: &str, object: &str, version: &str) -> Done {
        let (decided, bucket) = self.within(DELETE_OBJECT, container)?;
        let id = versions::check_id(Some(version))?;
        if look_up(&self.store.0.store.view()?, &bucket, object, id)?.is_none() {
            return Err(Refused::from(StatusCode::NOT_FOUND));
        }
        let wanted = Wanted {
            key: object.to_owned(),
            version: Some(version.to_owned()),
            conditions: Conditions::default(),
            bypasses: false,
        };
        self.store.delete(&decided, bucket.clone(), wanted).await?;
        let mut headers = HeaderMap::new();
        set(&mut headers, "x-object-version-id", version);
        if let Some(found) = look_up(&self.store.0.store.view()?, &bucket, object, None)? {
            set(&mut headers, "x-object-current-version-id", name(&Head::decode(&found.value)?.0));
        }
        Ok(empty(StatusCode::NO_CONTENT, headers))
    }

    /// Makes a version the current one again, as a new one with its bytes.
    pub async fn restore(&self, container: &str, object: &str, version: &str) -> Done<HttpResponse> {
        if self.call.header("content-length")?.is_some_and(|length| length != "0") {
            let message = "A version is restored by a request without a body.";
            return Err(refused(StatusCode::BAD_REQUEST, message));
        }
        let here = self.here(container, object);
        self.copy(self.here(container, object), here, Some(version)).await
    }
}
