//! Objects: put, post, delete.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::Body;
use s3s::dto::{ETagCondition, StreamingBlob};

use super::auth::Session;
use super::reply::{Done, Refused, empty, http_date, refused, set};
use super::{check_length, manifest, meta};
use crate::conditions::Conditions;
use crate::encryption::Under;
use crate::intake::PUT_MAX;
use crate::notifications::Cause;
use crate::objects::{Incoming, check_meta};
use crate::record::{Lock, Manifest, Meta, Object};
use crate::verbs::{DELETE_OBJECT, PUT_OBJECT};
use crate::versions::Wanted;

impl Session<'_> {
    /// What a write demands of what is there. Swift knows one such condition.
    ///
    /// # Errors
    /// 400 if it is another.
    pub fn onto(&self) -> Done<Conditions> {
        let only_new = match self.call.header("if-none-match")? {
            None => false,
            Some("*") => true,
            Some(_) => return Err(refused(StatusCode::BAD_REQUEST, "If-None-Match only supports *")),
        };
        Ok(Conditions { if_none_match: only_new.then_some(ETagCondition::Any), ..Conditions::default() })
    }

    /// The tag that the client says its object has, in hexadecimal digits.
    ///
    /// # Errors
    /// 422 if it can be none.
    pub fn claimed_etag(&self) -> Done<Option<String>> {
        let Some(etag) = self.call.header("etag")?.map(|etag| etag.trim_matches('"')) else {
            return Ok(None);
        };
        if etag.len() != 32 || !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StatusCode::UNPROCESSABLE_ENTITY.into());
        }
        Ok(Some(etag.to_ascii_lowercase()))
    }

    pub async fn put_object(&self, container: &str, object: &str, body: Body) -> Done {
        let call = self.call;
        let (decided, _) = self.within(PUT_OBJECT, container)?;
        check_length(&call.headers)?;
        let length = call.header("content-length")?.and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > PUT_MAX) {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "Your request is too large."));
        }
        let mut meta = meta::of_object(call)?;
        meta.content_type.get_or_insert_with(|| meta::DEFAULT_TYPE.to_owned());
        let mut headers = HeaderMap::new();
        if let Some(etag) = self.claimed_etag()? {
            let value = HeaderValue::from_str(&BASE64.encode(manifest::bytes_of(&etag)));
            headers
                .insert("content-md5", value.map_err(|_| Refused::from(StatusCode::UNPROCESSABLE_ENTITY))?);
        }
        let incoming = Incoming {
            key: object.to_owned(),
            body: Some(StreamingBlob::from(body)),
            meta,
            conditions: self.onto()?,
            headers,
            trailers: None,
            under: Under::Project,
            lock: Lock::default(),
            cause: Cause::Put,
            manifest: match self.link()? {
                Some(link) => Some(Manifest::Link(link)),
                None => self.dynamic()?,
            },
            ends_at: meta::end(call)?,
        };
        let object = self.store.put(&decided, incoming).await?;
        Ok(created(&object, &object.head.etag))
    }

    /// Replaces the metadata.
    pub async fn update_object(&self, container: &str, object: &str) -> Done {
        let (decided, bucket) = self.within(PUT_OBJECT, container)?;
        if self.call.headers.contains_key("x-symlink-target") {
            return Err(refused(
                StatusCode::BAD_REQUEST,
                "A PUT request is required to set a symlink target",
            ));
        }
        let given = meta::of_object(self.call)?;
        check_meta(&given)?;
        let (now, manifest, ends_at) = (decided.asker.cx.now(), self.dynamic()?, meta::end(self.call)?);
        let replace = move |object: &mut Object| {
            let old = std::mem::take(&mut object.rest.meta);
            // The type stays unless it is said anew.
            let content_type = given.content_type.clone().or(old.content_type);
            object.rest.meta = Meta { content_type, tags: old.tags, ..given };
            object.rest.manifest = manifest.or(object.rest.manifest.take());
            // It ends when it is said anew, or not at all.
            object.head.ends_at = ends_at;
            // Never back: versions are in the order of their times.
            object.head.modified_at = object.head.modified_at.max(now);
            Ok(())
        };
        let found = self.find(&self.store.0.store.view()?, &bucket, object, None)?;
        self.store.change_object(bucket, object.to_owned(), None, replace).await?;
        if let Some(Manifest::Link(link)) = &found.object.rest.manifest {
            // The link has it now. Whether its target shall have it, too, is for the client to say.
            let mut headers = HeaderMap::new();
            set(&mut headers, header::LOCATION.as_str(), link.encoded());
            return Ok(empty(StatusCode::TEMPORARY_REDIRECT, headers));
        }
        Ok(empty(StatusCode::ACCEPTED, HeaderMap::new()))
    }

    pub async fn delete_object(&self, container: &str, object: &str) -> Done {
        let (decided, bucket) = self.within(DELETE_OBJECT, container)?;
        // What is not there is not found.
        let conditions = Conditions { if_match: Some(ETagCondition::Any), ..Conditions::default() };
        let wanted = Wanted { key: object.to_owned(), version: None, conditions, bypasses: false };
        let deleted = self.store.delete(&decided, bucket, wanted).await?;
        let mut headers = HeaderMap::new();
        if let Some(version) = deleted.version {
            set(&mut headers, "x-object-version-id", version);
        }
        Ok(empty(StatusCode::NO_CONTENT, headers))
    }
}

/// The answer to whoever made an object.
pub fn created(object: &Object, etag: &str) -> s3s::HttpResponse {
    let mut headers = HeaderMap::new();
    set(&mut headers, header::ETAG.as_str(), etag);
    set(&mut headers, header::LAST_MODIFIED.as_str(), http_date(object.head.modified_at));
    if let Some(version) = &object.head.version {
        set(&mut headers, "x-object-version-id", version);
    }
    empty(StatusCode::CREATED, headers)
}
