//! Copies. The copy names the payloads of its source, so that no bytes move: only the keys that they are encrypted under are
//! wrapped anew, if the copy is another project's or has another key of the client's.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use s3s::dto::{self, CopySource, ETagCondition};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::{Decided, denied, expect_owner};
use crate::buckets::current;
use crate::conditions::{Conditions, time};
use crate::customer::{self, given_key};
use crate::encryption::{Under, show_encryption};
use crate::fault::error;
use crate::lock::asked_lock;
use crate::notifications::Cause;
use crate::objects::{Put, check_meta, etag, meta, no_such_key, put, show_checksum};
use crate::offered::{self, asked};
use crate::record::{Bucket, Head, Meta, Object, Rest};
use crate::versions;

fn condition(headers: &HeaderMap, name: HeaderName) -> S3Result<Option<ETagCondition>> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let read = ETagCondition::parse_http_header(value.as_bytes());
    read.map(Some)
        .map_err(|_| error(S3ErrorCode::InvalidArgument, format!("The header {name} does not read.")))
}

/// The largest object that is copied in one request. Source: S3 API Reference, CopyObject.
const COPY_MAX: u64 = 5 << 30;

impl ObjectStore {
    /// The bucket, the key and the version of a source, if the caller may read there.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`, `NotImplemented`.
    pub(crate) fn source(
        &self,
        decided: &Decided,
        source: &CopySource,
        expected_owner: Option<&str>,
    ) -> S3Result<(Arc<Bucket>, String, Option<String>)> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(error(S3ErrorCode::NotImplemented, "Access points are not offered."));
        };
        let version = versions::check_id(version_id.as_deref())?.map(str::to_owned);
        let object = (&**key, version.as_deref());
        let bucket = self.bucket_for(&decided.asker, bucket, "GetObject", object)?;
        expect_owner(expected_owner, &bucket)?;
        Ok((bucket, key.to_string(), version))
    }

    pub(crate) async fn copy_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CopyObjectOutput>> {
        let input = request.input;
        let asked = asked!(&input);
        offered::check(&asked)?;
        let (customer, source_customer) = (given_key!(&input), given_key!(source & input));
        let (customer, source_customer) = (customer.read(&decided)?, source_customer.read(&decided)?);
        let (source, source_key, version) =
            self.source(&decided, &input.copy_source, input.expected_source_bucket_owner.as_deref())?;
        let bucket = decided.bucket()?.clone();
        let replaces = match input.metadata_directive.as_ref().map(dto::MetadataDirective::as_str) {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(error(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
        };
        let replaces_tags = match input.tagging_directive.as_ref().map(dto::TaggingDirective::as_str) {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(error(S3ErrorCode::InvalidArgument, "Unknown tagging directive.")),
        };
        if source.id == bucket.id
            && source_key == input.key
            && version.is_none()
            && !replaces
            && !replaces_tags
            && input.website_redirect_location.is_none()
            && customer.is_none()
            && source_customer.is_none()
            && asked.encryption.is_none()
        {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
                 metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let under = self.under(&decided, &asked, customer).await?;
        let context = input.ssekms_encryption_context.clone().filter(|_| under.managed().is_some());
        let given: Meta = meta!(&input);
        let lock = asked_lock!(&input, decided.asker.cx.now())?;
        let hides_missing = self.hides_missing(&decided.asker, &source);
        check_meta(&given)?;
        let demands = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        // `s3s` does not know conditions about the target yet.
        let onto = Conditions {
            if_match: condition(&request.headers, header::IF_MATCH)?,
            if_none_match: condition(&request.headers, header::IF_NONE_MATCH)?,
            ..Conditions::default()
        };
        let (now, origin, key) = (decided.asker.cx.now(), self.origin(&decided, Cause::Copy), input.key);
        let proof = under.proof(&decided)?;
        let source_under = Under::of(None, source_customer.clone());
        let from_key = self.wrapping(&decided, &source.project_id, &source_under).await?;
        let to_key = self.wrapping(&decided, &decided.project_id, &under).await?;
        let (cx, store, asker) = (decided.asker.cx.clone(), self.clone(), decided.asker.clone());
        let managed = under.managed().cloned();
        let copied = self
            .add(&decided, move |change| {
                let found = match current(change, &source)? {
                    Some(_) => versions::look_up(change, &source, &source_key, version.as_deref())?,
                    None => None,
                };
                let missing = || match version {
                    _ if hides_missing => denied(),
                    Some(_) => versions::no_such_version(),
                    None => no_such_key(),
                };
                let Some(found) = found else { return Ok(Err(Put::Refused(missing()))) };
                let Object { head, rest } = Object::decode(&found.value)?;
                if head.is_marker {
                    let marked = || versions::marked(&source, &head, version.is_some());
                    return Ok(Err(Put::Refused(if hides_missing { denied() } else { marked() })));
                }
                if version.is_none() && head.has_ended(now) {
                    return Ok(Err(Put::Refused(missing())));
                }
                if let Err(refused) = customer::check(rest.customer.as_deref(), source_customer.as_ref()) {
                    return Ok(Err(Put::Refused(refused)));
                }
                let from = versions::shown(&source, &head);
                if let Err(refused) = demands.check_source(&head) {
                    return Ok(Err(Put::Refused(refused)));
                }
                if head.size > COPY_MAX {
                    let message = "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120";
                    return Ok(Err(Put::Refused(error(S3ErrorCode::InvalidRequest, message))));
                }
                let tags = if replaces_tags { given.tags.clone() } else { rest.meta.tags.clone() };
                // It is never copied. Source: S3 API Reference, CopyObject, `x-amz-website-redirect-location`.
                let website_redirect_location = given.website_redirect_location.clone();
                let meta =
                    Meta { tags, website_redirect_location, ..if replaces { given } else { rest.meta } };
                let mut pieces = rest.pieces;
                let from_key = match &rest.managed {
                    Some(used) => match store.managed(change, &asker, &source.project_id, used) {
                        Ok(key) => key,
                        Err(refused) => return Ok(Err(Put::Refused(refused))),
                    },
                    None => from_key,
                };
                // What a manifest of Swift names is of no use in another project, and none of its business.
                let manifest = rest.manifest.filter(|_| source.project_id == bucket.project_id);
                if !Arc::ptr_eq(&from_key, &to_key) {
                    for piece in &mut pieces {
                        piece.key = from_key.rewrap(&cx, &piece.key, &to_key)?;
                    }
                }
                // Once another key than the project's is involved, the tag tells nothing of what is within.
                let kept = [rest.customer.is_some(), proof.is_some(), rest.managed.is_some(), managed.is_some()];
                let etag = if kept.contains(&true) { cx.hex_id() } else { head.etag };
                let mut object = Object {
                    head: Head { modified_at: now, etag, ends_at: None, ..head },
                    rest: Rest { meta, pieces, customer: proof, managed, lock, manifest, ..rest },
                };
                match put(change, &bucket, &key, &mut object, &found.payloads, &onto, &origin)? {
                    Put::Done => Ok(Ok((object, from))),
                    other => Ok(Err(other)),
                }
            })
            .await?;
        let (object, from) = match copied {
            Ok(copied) => copied,
            Err(other) => {
                other.done()?;
                return Err(error(S3ErrorCode::InternalError, "The copy was not made."));
            }
        };
        let mut result = dto::CopyObjectResult {
            e_tag: Some(etag(&object.head)),
            last_modified: Some(time(object.head.modified_at)),
            ..Default::default()
        };
        show_checksum!(&mut result, &object.rest.checksum);
        let mut output = dto::CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: from,
            version_id: object.head.version.clone(),
            ssekms_encryption_context: context,
            ..Default::default()
        };
        show_encryption!(self, &decided.project_id, &mut output, under);
        Ok(S3Response::new(output))
    }
}
