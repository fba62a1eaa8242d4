//! Objects: put, get, head, delete.

use hanse_core::Result;
use hanse_logstore::{Change, PayloadId, Record};
use http::HeaderMap;
use s3s::dto::{self, ETag, StreamingBlob};
use s3s::stream::ByteStream as _;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders};

use crate::access::{Decided, no_such_bucket};
use crate::buckets::current;
use crate::conditions::Conditions;
use crate::customer::given_key;
use crate::encryption::{Under, show_encryption};
use crate::fault::{self, error};
use crate::intake::{self, Taken};
use crate::lock::{self, asked_lock};
use crate::logging::{Deletion, Noted};
use crate::notifications::{self, Cause, Origin};
use crate::offered::asked;
use crate::record::{Bucket, Checksum, Head, Lock, Manifest, Meta, Object, Rest};
use crate::sums::{Algorithm, Claimed};
use crate::swift::archiving;
use crate::versions::Wanted;
use crate::{ObjectStore, ending, keys, offered, quotas, tagging, versions, website};

/// Of user metadata, in bytes. Source: S3 User Guide, "Working with object metadata".
pub const USER_META_MAX: usize = 2048;

pub fn no_such_key() -> S3Error {
    error(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

fn for_directory_buckets() -> S3Error {
    error(S3ErrorCode::NotImplemented, "Conditions about size and time are for directory buckets.")
}

pub fn etag(head: &Head) -> ETag {
    ETag::Strong(head.etag.clone())
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
            website_redirect_location: input.website_redirect_location.clone(),
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
/// `MetadataTooLarge`, `InvalidRedirectLocation`.
pub fn check_meta(meta: &Meta) -> S3Result<()> {
    website::check_location(meta.website_redirect_location.as_deref())?;
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

pub fn shown_type(is_composite: bool) -> dto::ChecksumType {
    let name = if is_composite { dto::ChecksumType::COMPOSITE } else { dto::ChecksumType::FULL_OBJECT };
    dto::ChecksumType::from_static(name)
}

pub fn checksum_type(checksum: &Checksum) -> dto::ChecksumType {
    shown_type(checksum.is_composite)
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

/// Puts an object in the place of what is there, in a transaction.
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
    origin: &Origin,
) -> Result<Put> {
    let Some(bucket) = current(change, bucket)? else { return Ok(Put::NoBucket) };
    object.rest.lock = match lock::of_new(&bucket, object.rest.lock, object.head.modified_at) {
        Ok(lock) => lock,
        Err(refused) => return Ok(Put::Refused(refused)),
    };
    let place = keys::object(&bucket.id, key);
    let old = match change.get(&place)? {
        Some(found) => {
            let head = Head::decode(&found.value)?.0;
            Some((found, head))
        }
        None => None,
    };
    let now = object.head.modified_at;
    let seen = old.as_ref().map(|(_, head)| head).filter(|head| !head.is_gone(now));
    if let Err(refused) = conditions.check_write(seen) {
        return Ok(Put::Refused(refused));
    }
    if let Some((record, head)) = old.as_ref().filter(|(_, head)| !head.is_gone(now))
        && let Err(refused) = archiving::keep(change, &bucket, key, record, head, origin)?
    {
        return Ok(Put::Refused(refused));
    }
    (object.head.modified_at, object.head.version) =
        versions::make_room(change, &bucket, key, old, now, &origin.chance)?;
    quotas::count(change, &bucket, 1, i128::from(object.head.size))?;
    ending::enter(change, &bucket, key, &object.head)?;
    change.put(&place, object.encode()?, payloads)?;
    notifications::changed(change, &bucket, key, &object.head, object.head.modified_at, origin)?;
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

/// A form says in its fields what other requests say in headers.
fn claims_of_form(input: &dto::PutObjectInput, headers: &mut HeaderMap) {
    let fields = [
        ("content-md5", &input.content_md5),
        (Algorithm::Crc32.header(), &input.checksum_crc32),
        (Algorithm::Crc32c.header(), &input.checksum_crc32c),
        (Algorithm::Crc64Nvme.header(), &input.checksum_crc64nvme),
        (Algorithm::Sha1.header(), &input.checksum_sha1),
        (Algorithm::Sha256.header(), &input.checksum_sha256),
    ];
    for (name, value) in fields {
        match value.as_deref().map(http::HeaderValue::from_str) {
            Some(Ok(value)) => {
                headers.insert(name, value);
            }
            // What is no header is no checksum either.
            Some(Err(_)) => {
                headers.insert(name, http::HeaderValue::from_static("-"));
            }
            None => {
                headers.remove(name);
            }
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
    pub under: Under,
    pub lock: Lock,
    pub manifest: Option<Manifest>,
    pub cause: Cause,
    /// As in [`Head`].
    pub ends_at: Option<i64>,
}

impl ObjectStore {
    /// What the client says about the bytes that it sends.
    ///
    /// # Errors
    /// `InvalidDigest`, `InvalidRequest`.
    pub(crate) fn claimed(&self, headers: &HeaderMap) -> S3Result<Claimed> {
        Claimed::of(headers).map_err(|refused| {
            let code = match refused.name() {
                Some("InvalidDigest") => S3ErrorCode::InvalidDigest,
                _ => S3ErrorCode::InvalidRequest,
            };
            error(code, refused.message())
        })
    }

    /// Takes in the bytes of a request.
    pub(crate) async fn take(
        &self,
        decided: &Decided,
        body: Option<StreamingBlob>,
        claimed: &Claimed,
        trailers: Option<TrailingHeaders>,
        under: &Under,
    ) -> S3Result<Taken> {
        let key = self.wrapping(decided, &decided.project_id, under).await?;
        let length = body.as_ref().map(|body| body.remaining_length().exact());
        let length = length.flatten().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
        // Before it is sent, so that nobody sends gigabytes for nothing.
        let room = self.check_room(&decided.asker.cx, &decided.project_id, length).await;
        room.map_err(|error| fault::of(&error))?;
        let (cx, store, hashing) = (&decided.asker.cx, &self.0.store, &self.0.hashing);
        let mut taken = intake::take(cx, store, hashing, &key, body, claimed, trailers).await?;
        if !under.is_projects() {
            // Lists show it to those who may not have the key: it must not tell what is within.
            taken.md5 = decided.asker.cx.bytes();
        }
        Ok(taken)
    }

    pub(crate) async fn put(&self, decided: &Decided, incoming: Incoming) -> S3Result<Object> {
        let bucket = decided.bucket()?.clone();
        check_meta(&incoming.meta)?;
        let claimed = self.claimed(&incoming.headers)?;
        let under = incoming.under;
        let taken = self.take(decided, incoming.body, &claimed, incoming.trailers, &under).await?;
        let object = Object {
            head: Head {
                modified_at: decided.asker.cx.now(),
                size: taken.piece.size,
                etag: taken.etag(),
                version: None,
                is_marker: false,
                ends_at: incoming.ends_at,
            },
            rest: Rest {
                meta: incoming.meta,
                pieces: vec![taken.piece],
                is_multipart: false,
                checksum: taken.checksum,
                customer: under.proof(decided)?,
                managed: under.managed().cloned(),
                lock: incoming.lock,
                manifest: incoming.manifest,
            },
        };
        let (key, conditions, origin) =
            (incoming.key, incoming.conditions, self.origin(decided, incoming.cause));
        let (mut object, staged) = (object, taken.staged);
        let put = move |change: &mut Change<'_>| {
            let payloads: Vec<PayloadId> = staged.map(|staged| change.attach(staged)).into_iter().collect();
            let done = put(change, &bucket, &key, &mut object, &payloads, &conditions, &origin)?;
            Ok((done, object))
        };
        let (done, object) = self.add(decided, put).await?;
        done.done()?;
        Ok(object)
    }

    pub(crate) async fn put_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let input = request.input;
        let asked = asked!(&input);
        offered::check(&asked)?;
        let customer = given_key!(&input).read(&decided)?;
        let under = self.under(&decided, &asked, customer).await?;
        let context = input.ssekms_encryption_context.clone().filter(|_| under.managed().is_some());
        let lock = asked_lock!(&input, decided.asker.cx.now())?;
        let mut headers = request.headers;
        let is_form = request.method == http::Method::POST;
        if is_form {
            claims_of_form(&input, &mut headers);
            let bucket = decided.bucket()?;
            if bucket.policy.is_some() {
                // Now that the key is known.
                let (object, tags) =
                    ((input.key.as_str(), None), tagging::of_header(input.tagging.as_deref())?);
                self.may(&decided.asker, bucket, "PostObject", Some(object), Some(&tags))?;
            }
        }
        let incoming = Incoming {
            meta: meta!(&input),
            conditions: Conditions {
                if_match: input.if_match,
                if_none_match: input.if_none_match,
                ..Conditions::default()
            },
            key: input.key,
            body: input.body,
            headers,
            trailers: request.trailing_headers,
            under: under.clone(),
            lock,
            manifest: None,
            cause: if is_form { Cause::Post } else { Cause::Put },
            ends_at: None,
        };
        let object = self.put(&decided, incoming).await?;
        let mut output = dto::PutObjectOutput {
            e_tag: Some(etag(&object.head)),
            version_id: object.head.version.clone(),
            checksum_type: object.rest.checksum.as_ref().map(checksum_type),
            ssekms_encryption_context: context,
            ..Default::default()
        };
        show_encryption!(self, &decided.project_id, &mut output, under);
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
        if version.is_none() && object.head.has_ended(self.0.cx.now()) {
            return Err(missing());
        }
        Ok(Found { object, payloads: record.payloads })
    }

    pub(crate) async fn delete_object(
        &self,
        input: dto::DeleteObjectInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(for_directory_buckets());
        }
        let conditions = Conditions { if_match: input.if_match, ..Conditions::default() };
        let bucket = decided.bucket()?.clone();
        let object = (input.key.as_str(), input.version_id.as_deref());
        let bypasses = self.bypasses(&decided, input.bypass_governance_retention, object)?;
        let wanted = Wanted { key: input.key, version: input.version_id, conditions, bypasses };
        let deleted = self.delete(&decided, bucket, wanted).await?;
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
        let (input, noted) = (request.input, request.extensions.get::<Noted>());
        let bucket = decided.bucket()?;
        if input.delete.objects.len() > 1000 || input.delete.objects.is_empty() {
            return Err(error(S3ErrorCode::MalformedXML, "A request deletes one to a thousand objects."));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let pending = input.delete.objects.into_iter().map(async |object| {
            let conditions =
                Conditions { if_match: object.e_tag.map(dto::ETagCondition::ETag), ..Conditions::default() };
            let (key, version) = (object.key.clone(), object.version_id.clone());
            let named = (key.as_str(), version.as_deref().filter(|version| !version.is_empty()));
            let may = match &bucket.policy {
                Some(_) => self.may(&decided.asker, bucket, "DeleteObject", Some(named), None),
                None => Ok(()),
            };
            let bypasses =
                may.and_then(|()| self.bypasses(&decided, input.bypass_governance_retention, named));
            let done = match bypasses {
                Ok(bypasses) => {
                    let wanted = Wanted { key, version, conditions, bypasses };
                    self.delete(&decided, bucket.clone(), wanted).await
                }
                Err(refused) => Err(refused),
            };
            (object.key, object.version_id, done)
        });
        // All at once: they share a sync of the disk.
        for (key, version_id, done) in futures_util::future::join_all(pending).await {
            if let Some(noted) = noted {
                let error = done.as_ref().err().map(|error| error.code().as_str().to_owned());
                noted.deleted(Deletion { key: key.clone(), version: version_id.clone(), error });
            }
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
