//! Objects: put, get, head, delete.

use std::ops::Range;

use hanse_core::Result;
use hanse_logstore::{Change, PayloadId, Record};
use http::HeaderMap;
use s3s::dto::{self, ETag, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};

use crate::access::{Decided, no_such_bucket};
use crate::buckets::{add_usage, check_acl, current};
use crate::conditions::{Conditions, time};
use crate::fault::{self, error};
use crate::intake::{self, Taken};
use crate::outgoing::{self, Opener};
use crate::record::{Bucket, Checksum, Head, Meta, Object, Rest};
use crate::sums::Claimed;
use crate::{ObjectStore, keys, versions};

/// Of user metadata, in bytes. Source: S3 User Guide, "Working with object metadata".
const USER_META_MAX: usize = 2048;

pub fn no_such_key() -> S3Error {
    error(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub fn etag(head: &Head) -> ETag {
    ETag::Strong(head.etag.clone())
}

/// What all that is written has at rest.
pub fn encryption() -> Option<dto::ServerSideEncryption> {
    Some(dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AES256))
}

/// Refuses what is asked of a write and not offered.
///
/// # Errors
/// `NotImplemented`, `InvalidArgument`, `AccessControlListNotSupported`.
pub fn check_offered(headers: &HeaderMap) -> S3Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let missing = |what: &str| Err(error(S3ErrorCode::NotImplemented, format!("{what} is not offered.")));
    check_acl(text("x-amz-acl"))?;
    for (name, _) in headers {
        match name.as_str() {
            name if name.starts_with("x-amz-grant-") => {
                return Err(error(
                    S3ErrorCode::AccessControlListNotSupported,
                    "The bucket does not allow ACLs",
                ));
            }
            name if name.contains("server-side-encryption-customer") => {
                return missing("Encryption with a key of the client's own");
            }
            name if name.starts_with("x-amz-object-lock-") => return missing("Object lock"),
            "x-amz-website-redirect-location" => return missing("Website redirection"),
            "x-amz-write-offset-bytes" => return missing("Appending"),
            _ => {}
        }
    }
    match text("x-amz-server-side-encryption") {
        None | Some("AES256") => {}
        Some("aws:kms" | "aws:kms:dsse") => return missing("Encryption with a key of a key manager"),
        Some(_) => {
            return Err(error(
                S3ErrorCode::InvalidArgument,
                "The encryption method specified is not supported",
            ));
        }
    }
    match text("x-amz-storage-class") {
        None | Some("STANDARD") => Ok(()),
        Some(_) => {
            Err(error(S3ErrorCode::InvalidStorageClass, "The storage class you specified is not valid"))
        }
    }
}

/// Takes the headers that stand beside the bytes out of an input.
macro_rules! meta {
    ($input:expr) => {{
        let input = $input;
        crate::record::Meta {
            content_type: input.content_type.as_ref().map(|kind| kind.to_string()),
            cache_control: input.cache_control.clone(),
            content_disposition: input.content_disposition.clone(),
            content_encoding: input.content_encoding.as_deref().and_then(crate::objects::without_chunked),
            content_language: input.content_language.clone(),
            expires: input.expires.as_ref().map(crate::conditions::seconds),
            website_redirect_location: None,
            user: input.metadata.clone().unwrap_or_default().into_iter().collect(),
            tags: crate::tagging::of_header(input.tagging.as_deref())?,
        }
    }};
}
pub(crate) use meta;

/// `aws-chunked` is how it came, and not what it is.
pub fn without_chunked(encoding: &str) -> Option<String> {
    let rest: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "aws-chunked")
        .collect();
    (!rest.is_empty()).then(|| rest.join(","))
}

/// # Errors
/// `MetadataTooLarge`.
pub fn check_meta(meta: &Meta) -> S3Result<()> {
    let size: usize = meta.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > USER_META_MAX {
        return Err(error(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size",
        ));
    }
    Ok(())
}

/// Shows a checksum in an output.
macro_rules! show_checksum {
    ($output:expr, $checksum:expr) => {{
        let output = $output;
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match crate::sums::Algorithm::named(&checksum.algorithm) {
                Some(crate::sums::Algorithm::Crc32) => output.checksum_crc32 = value,
                Some(crate::sums::Algorithm::Crc32c) => output.checksum_crc32c = value,
                Some(crate::sums::Algorithm::Crc64Nvme) => output.checksum_crc64nvme = value,
                Some(crate::sums::Algorithm::Sha1) => output.checksum_sha1 = value,
                Some(crate::sums::Algorithm::Sha256) => output.checksum_sha256 = value,
                None => {}
            }
        }
    }};
}
pub(crate) use show_checksum;

/// Shows what stands beside the bytes in an output.
macro_rules! show_meta {
    ($output:expr, $meta:expr) => {{
        let (output, meta): (_, &crate::record::Meta) = ($output, $meta);
        let kind = meta.content_type.as_deref().unwrap_or("binary/octet-stream");
        output.content_type = kind.parse().ok();
        output.cache_control = meta.cache_control.clone();
        output.content_disposition = meta.content_disposition.clone();
        output.content_encoding = meta.content_encoding.clone();
        output.content_language = meta.content_language.clone();
        output.expires =
            meta.expires.map(|at| crate::conditions::time(hanse_core::Timestamp::from_seconds(at)));
        output.metadata = Some(meta.user.clone().into_iter().collect());
    }};
}

pub fn checksum_type(checksum: &Checksum) -> dto::ChecksumType {
    let name =
        if checksum.is_composite { dto::ChecksumType::COMPOSITE } else { dto::ChecksumType::FULL_OBJECT };
    dto::ChecksumType::from_static(name)
}

/// An object with where its bytes are.
pub struct Found {
    pub object: Object,
    pub payloads: Vec<PayloadId>,
}

/// What a transaction that puts an object came to.
pub enum Put {
    Done,
    NoBucket,
    Refused(S3Error),
}

/// Puts an object in the place of what is there, in a transaction; `version` is its id, if the bucket has versions.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn put(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    object: &mut Object,
    payloads: &[PayloadId],
    conditions: &Conditions,
    version: &str,
) -> Result<Put> {
    let Some(bucket) = current(change, bucket)? else { return Ok(Put::NoBucket) };
    let place = keys::object(&bucket.id, key);
    let old = match change.get(&place)? {
        Some(found) => {
            let head = Head::decode(&found.value)?.0;
            Some((found, head))
        }
        None => None,
    };
    let seen = old.as_ref().map(|(_, head)| head).filter(|head| !head.is_marker);
    if let Err(refused) = conditions.check_write(seen) {
        return Ok(Put::Refused(refused));
    }
    object.head.version = versions::make_room(change, &bucket, key, old, version)?;
    add_usage(change, &bucket.project_id, 1, i128::from(object.head.size))?;
    change.put(&place, object.encode()?, payloads)?;
    Ok(Put::Done)
}

impl Put {
    /// # Errors
    /// What it came to, unless it was done.
    pub fn done(self) -> S3Result<()> {
        match self {
            Put::Done => Ok(()),
            Put::NoBucket => Err(no_such_bucket()),
            Put::Refused(error) => Err(error),
        }
    }
}

/// Everything about an object that is put in one request.
pub struct Incoming {
    pub key: String,
    pub body: Option<StreamingBlob>,
    pub meta: Meta,
    pub conditions: Conditions,
    pub headers: HeaderMap,
    pub trailers: Option<TrailingHeaders>,
}

impl ObjectStore {
    /// Takes in the bytes of a request, with all that the client says about them.
    pub(crate) async fn take(
        &self,
        decided: &Decided,
        body: Option<StreamingBlob>,
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Taken> {
        let claimed = Claimed::of(headers).map_err(|refused| {
            let code = match refused.name() {
                Some("InvalidDigest") => S3ErrorCode::InvalidDigest,
                _ => S3ErrorCode::InvalidRequest,
            };
            error(code, refused.message())
        })?;
        let project =
            self.0.projects.of(&decided.cx, &decided.project_id).await.map_err(|e| fault::of(&e))?;
        intake::take(&decided.cx, &self.0.store, &project, body, &claimed, trailers).await
    }

    pub(crate) async fn put(&self, decided: &Decided, incoming: Incoming) -> S3Result<Object> {
        let bucket = decided.bucket()?.clone();
        check_offered(&incoming.headers)?;
        check_meta(&incoming.meta)?;
        let taken = self.take(decided, incoming.body, &incoming.headers, incoming.trailers).await?;
        let object = Object {
            head: Head {
                modified_at: decided.cx.now(),
                size: taken.piece.size,
                etag: taken.etag(),
                version: None,
                is_marker: false,
            },
            rest: Rest {
                meta: incoming.meta,
                pieces: vec![taken.piece],
                is_multipart: false,
                checksum: taken.checksum,
            },
        };
        let (key, conditions, version) = (incoming.key, incoming.conditions, versions::new_id(&decided.cx));
        let (mut object, staged) = (object, taken.staged);
        let (done, object) = self
            .0
            .store
            .write(move |change| {
                let payloads: Vec<PayloadId> =
                    staged.map(|staged| change.attach(staged)).into_iter().collect();
                let done = put(change, &bucket, &key, &mut object, &payloads, &conditions, &version)?;
                Ok((done, object))
            })
            .await
            .map_err(|error| fault::of(&error))?;
        done.done()?;
        Ok(object)
    }

    pub(crate) async fn put_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = request.input;
        let incoming = Incoming {
            meta: meta!(&input),
            conditions: Conditions {
                if_match: input.if_match,
                if_none_match: input.if_none_match,
                ..Conditions::default()
            },
            key: input.key,
            body: input.body,
            headers: request.headers,
            trailers: request.trailing_headers,
        };
        let object = self.put(&decided, incoming).await?;
        let mut output = dto::PutObjectOutput {
            e_tag: Some(etag(&object.head)),
            version_id: object.head.version.clone(),
            server_side_encryption: encryption(),
            checksum_type: object.rest.checksum.as_ref().map(checksum_type),
            ..Default::default()
        };
        show_checksum!(&mut output, &object.rest.checksum);
        Ok(S3Response::new(output))
    }

    /// An object of the bucket, or a version of it.
    pub(crate) fn find(
        &self,
        view: &hanse_logstore::View,
        bucket: &Bucket,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<Found> {
        let version = versions::check_id(version)?;
        let read = || -> Result<Option<(Object, Record)>> {
            let Some(found) = versions::look_up(view, bucket, key, version)? else { return Ok(None) };
            Ok(Some((Object::decode(&found.value)?, found)))
        };
        let missing = || if version.is_some() { versions::no_such_version() } else { no_such_key() };
        let (object, record) = read().map_err(|error| fault::of(&error))?.ok_or_else(missing)?;
        if object.head.is_marker {
            return Err(versions::marked(bucket, &object.head, version.is_some()));
        }
        Ok(Found { object, payloads: record.payloads })
    }

    pub(crate) async fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = request.input;
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let bucket = decided.bucket()?;
        let found = self.find(&view, bucket, &input.key, input.version_id.as_deref())?;
        let Object { head, rest } = &found.object;
        let conditions = Conditions {
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        conditions.check_read(head)?;
        let range = wanted(&found.object, input.range.as_ref(), input.part_number)?;
        let project =
            self.0.projects.of(&decided.cx, &decided.project_id).await.map_err(|e| fault::of(&e))?;
        let whole = range.clone().unwrap_or(0..head.size);
        let length = whole.end - whole.start;
        let (start, end) = (whole.start, whole.end);
        let opener = Opener::new(view, &project, &rest.pieces, &found.payloads, whole);
        let body = match opener {
            Ok(opener) => outgoing::body(opener, length).await,
            Err(error) => Err(error),
        };
        let mut output = dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body.map_err(|error| fault::of(&error))?),
            content_length: i64::try_from(length).ok(),
            content_range: range
                .as_ref()
                .map(|_| format!("bytes {start}-{}/{}", end.saturating_sub(1), head.size)),
            e_tag: Some(etag(head)),
            last_modified: Some(time(head.modified_at)),
            version_id: versions::shown(bucket, head),
            server_side_encryption: encryption(),
            parts_count: parts_count(&found.object, input.part_number),
            tag_count: tag_count(rest),
            ..Default::default()
        };
        if input.checksum_mode.is_some() && range.is_none() {
            output.checksum_type = rest.checksum.as_ref().map(checksum_type);
            show_checksum!(&mut output, &rest.checksum);
        }
        show_meta!(&mut output, &rest.meta);
        // Source: S3 API Reference, GetObject, "Overriding response header values through the request".
        if let Some(kind) = input.response_content_type {
            output.content_type = kind.to_string().parse().ok();
        }
        if let Some(text) = input.response_cache_control {
            output.cache_control = Some(text);
        }
        if let Some(text) = input.response_content_disposition {
            output.content_disposition = Some(text);
        }
        if let Some(text) = input.response_content_encoding {
            output.content_encoding = Some(text);
        }
        if let Some(text) = input.response_content_language {
            output.content_language = Some(text);
        }
        if let Some(at) = input.response_expires {
            output.expires = Some(at);
        }
        let mut response = S3Response::new(output);
        if range.is_some() {
            response.status = Some(http::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    pub(crate) fn head_object(
        &self,
        input: &dto::HeadObjectInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let bucket = decided.bucket()?;
        let found = self.find(&view, bucket, &input.key, input.version_id.as_deref())?;
        let Object { head, rest } = &found.object;
        let conditions = Conditions {
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        conditions.check_read(head)?;
        let range = wanted(&found.object, input.range.as_ref(), input.part_number)?;
        let length = range.as_ref().map_or(head.size, |range| range.end - range.start);
        let mut output = dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range: range
                .as_ref()
                .map(|range| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), head.size)),
            e_tag: Some(etag(head)),
            last_modified: Some(time(head.modified_at)),
            version_id: versions::shown(bucket, head),
            server_side_encryption: encryption(),
            parts_count: parts_count(&found.object, input.part_number),
            ..Default::default()
        };
        if input.checksum_mode.is_some() && range.is_none() {
            output.checksum_type = rest.checksum.as_ref().map(checksum_type);
            show_checksum!(&mut output, &rest.checksum);
        }
        show_meta!(&mut output, &rest.meta);
        let mut response = S3Response::new(output);
        if range.is_some() {
            response.status = Some(http::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    pub(crate) async fn delete_object(
        &self,
        input: dto::DeleteObjectInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(error(S3ErrorCode::NotImplemented, "These conditions are for directory buckets."));
        }
        let conditions = Conditions { if_match: input.if_match, ..Conditions::default() };
        let bucket = decided.bucket()?.clone();
        let deleted = self.delete(&decided, bucket, input.key, input.version_id, conditions).await?;
        let output = dto::DeleteObjectOutput {
            delete_marker: deleted.is_marker.then_some(true),
            version_id: deleted.version,
            request_charged: None,
        };
        Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let input = request.input;
        let bucket = decided.bucket()?;
        if input.delete.objects.len() > 1000 || input.delete.objects.is_empty() {
            return Err(error(S3ErrorCode::MalformedXML, "A request deletes one to a thousand objects."));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let pending = input.delete.objects.into_iter().map(async |object| {
            let conditions =
                Conditions { if_match: object.e_tag.map(dto::ETagCondition::ETag), ..Conditions::default() };
            let (key, version) = (object.key.clone(), object.version_id.clone());
            let done = self.delete(&decided, bucket.clone(), key, version, conditions).await;
            (object.key, object.version_id, done)
        });
        // All at once: they share a sync of the disk.
        for (key, version_id, done) in futures_util::future::join_all(pending).await {
            match done {
                Ok(done) => deleted.push(dto::DeletedObject {
                    key: Some(key),
                    delete_marker: done.is_marker.then_some(true),
                    delete_marker_version_id: done.version.filter(|_| done.is_marker),
                    version_id,
                }),
                Err(error) => errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(key),
                    version_id,
                }),
            }
        }
        let is_quiet = input.delete.quiet == Some(true);
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted: (!is_quiet).then_some(deleted),
            errors: Some(errors),
            request_charged: None,
        }))
    }
}

fn tag_count(rest: &Rest) -> Option<i32> {
    i32::try_from(rest.meta.tags.len()).ok().filter(|count| *count > 0)
}

fn parts_count(object: &Object, asked: Option<i32>) -> Option<i32> {
    asked.and_then(|_| object.rest.is_multipart.then(|| i32::try_from(object.rest.pieces.len()).ok())?)
}

/// The bytes that a request wants; `None` for all of them.
fn wanted(object: &Object, range: Option<&dto::Range>, part: Option<i32>) -> S3Result<Option<Range<u64>>> {
    let unsatisfiable = || error(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    match (range, part) {
        (Some(_), Some(_)) => Err(error(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (None, None) => Ok(None),
        (Some(range), None) => range.check(object.head.size).map(Some).map_err(|_| unsatisfiable()),
        (None, Some(number)) => {
            let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            let index =
                index.ok_or_else(|| error(S3ErrorCode::InvalidArgument, "Part number must be at least 1"))?;
            let pieces = &object.rest.pieces;
            let piece = pieces.get(index).ok_or_else(|| {
                let status = http::StatusCode::RANGE_NOT_SATISFIABLE;
                fault::named("InvalidPartNumber", status, "The requested partnumber is not satisfiable")
            })?;
            let start: u64 = pieces.iter().take(index).map(|piece| piece.size).sum();
            Ok(Some(start..start + piece.size))
        }
    }
}
