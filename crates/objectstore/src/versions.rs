//! Versions of objects. Source: S3 User Guide, "Retaining multiple versions of objects with S3 Versioning".
//!
//! The current version of an object lies where an object without versions lies, so that whoever does not ask for versions
//! pays nothing for them. The others lie beside, the newest first: the id of a version begins with the time until the
//! end of the numbers. A delete marker is a version without bytes.

use std::sync::Arc;

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_logstore::{Change, Record};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use crate::access::{Decided, no_such_bucket};
use crate::buckets::{current, owner, turn};
use crate::conditions::{Conditions, time};
use crate::fault::{self, error};
use crate::lists::{common_prefixes, encoder, most};
use crate::look::Look;
use crate::notifications::{self, Cause, Origin};
use crate::objects::{etag, no_such_key};
use crate::record::{Bucket, Head, Object, Rest, Versioning};
use crate::swift::archiving;
use crate::{ObjectStore, ending, keys, lock, quotas};

/// How the version without an id is called.
pub const NULL: &str = "null";

/// Sixteen digits: less for what is later.
fn until_the_end(at: Timestamp) -> String {
    format!("{:016x}", u64::MAX - u64::try_from(at.0).unwrap_or(0))
}

/// What of a new id is not time.
pub fn chance(cx: &Cx) -> String {
    cx.hex_id().split_off(keys::ID / 2)
}

/// When a version is written that follows another: later than that, whatever the clock says, since the order of versions is
/// the order of their times.
pub fn follows(now: Timestamp, old: Option<&Head>) -> Timestamp {
    old.map_or(now, |old| now.max(Timestamp(old.modified_at.0.saturating_add(1))))
}

/// Where a version lies once it is not the current one any more.
fn place(bucket: &Bucket, key: &str, head: &Head) -> Vec<u8> {
    // There is one version without an id, so the time of its writing is enough.
    let id =
        head.version.clone().unwrap_or_else(|| until_the_end(head.modified_at) + &"0".repeat(keys::ID / 2));
    keys::version(&bucket.id, key, &id)
}

/// Where a version lies now.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn seat(change: &Change<'_>, bucket: &Bucket, key: &str, head: &Head) -> Result<Vec<u8>> {
    let seat = keys::object(&bucket.id, key);
    let is_current = match change.get(&seat)? {
        Some(record) => Head::decode(&record.value)?.0.version == head.version,
        None => false,
    };
    Ok(if is_current { seat } else { place(bucket, key, head) })
}

pub fn name(head: &Head) -> String {
    head.version.clone().unwrap_or_else(|| NULL.to_owned())
}

/// What answers call the version: nothing where there never were versions.
pub fn shown(bucket: &Bucket, head: &Head) -> Option<String> {
    (!bucket.versioning.is_off()).then(|| name(head))
}

pub fn no_such_version() -> S3Error {
    error(S3ErrorCode::NoSuchVersion, "The specified version does not exist.")
}

/// Makes room for a new current version; says when it is written and which id it gets. Usage is counted but for what is new.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn make_room(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    old: Option<(Record, Head)>,
    now: Timestamp,
    chance: &str,
) -> Result<(Timestamp, Option<String>)> {
    let at = follows(now, old.as_ref().map(|(_, head)| head));
    if let Some((_, head)) = &old {
        ending::leave(change, bucket, key, head)?;
    }
    let keeps_nothing =
        |change: &mut Change<'_>, head: &Head| quotas::count(change, bucket, -1, -i128::from(head.size));
    match bucket.versioning {
        Versioning::Off => {
            if let Some((_, head)) = old {
                keeps_nothing(change, &head)?;
            }
            Ok((now, None))
        }
        Versioning::Enabled => {
            if let Some((record, head)) = old {
                change.put(&place(bucket, key, &head), record.value, &record.payloads)?;
            }
            Ok((at, Some(until_the_end(at) + chance)))
        }
        // What is written now takes the place of the version without an id, wherever that lies.
        Versioning::Suspended => {
            match old {
                Some((record, head)) if head.version.is_some() => {
                    change.put(&place(bucket, key, &head), record.value, &record.payloads)?;
                    if let Some((at, old)) = null_version(change, bucket, key)? {
                        keeps_nothing(change, &Head::decode(&old.value)?.0)?;
                        change.delete(&at)?;
                    }
                }
                Some((_, head)) => keeps_nothing(change, &head)?,
                None => {}
            }
            Ok((at, None))
        }
    }
}

fn null_version(change: &Change<'_>, bucket: &Bucket, key: &str) -> Result<Option<(Vec<u8>, Record)>> {
    for found in change.scan_prefix(&keys::versions(&bucket.id, key))? {
        let (at, record) = found?;
        if Head::decode(&record.value)?.0.version.is_none() {
            return Ok(Some((at, record)));
        }
    }
    Ok(None)
}

/// What a request to delete came to.
#[derive(Debug, Default)]
pub struct Deleted {
    pub version: Option<String>,
    pub is_marker: bool,
}

/// What a request wants to delete.
pub struct Wanted {
    pub key: String,
    /// One version for good; or else the object as it is seen.
    pub version: Option<String>,
    pub conditions: Conditions,
    /// Whether it passes over retention in governance mode.
    pub bypasses: bool,
}

/// Deletes an object in a transaction: one of its versions, or the object as it is seen.
///
/// # Errors
/// Internal if the store cannot be read; the inner error is the client's.
pub fn delete(
    change: &mut Change<'_>,
    bucket: &Bucket,
    wanted: &Wanted,
    now: Timestamp,
    origin: &Origin,
) -> Result<S3Result<Deleted>> {
    let Some(bucket) = current(change, bucket)? else { return Ok(Err(no_such_bucket())) };
    let seat = keys::object(&bucket.id, &wanted.key);
    let old = match change.get(&seat)? {
        Some(record) => {
            let head = Head::decode(&record.value)?.0;
            Some((record, head))
        }
        None => None,
    };
    if let Some(version) = &wanted.version {
        return delete_version(change, &bucket, wanted, version, old, now, origin);
    }
    let seen = old.as_ref().map(|(_, head)| head).filter(|head| !head.is_gone(now));
    if let Err(refused) = wanted.conditions.check_write(seen) {
        return Ok(Err(refused));
    }
    if bucket.versioning.is_off() {
        let kept = archiving::keep_deleted(change, &bucket, &wanted.key, old.as_ref(), now, origin)?;
        if let Err(refused) = kept {
            return Ok(Err(refused));
        }
        if let Some((_, head)) = &old {
            ending::leave(change, &bucket, &wanted.key, head)?;
            quotas::count(change, &bucket, -1, -i128::from(head.size))?;
            change.delete(&seat)?;
            notifications::removed(change, &bucket, &wanted.key, None, false, now, origin)?;
        }
        archiving::bring_back(change, &bucket, &wanted.key, now)?;
        return Ok(Ok(Deleted::default()));
    }
    let (modified_at, version) = make_room(change, &bucket, &wanted.key, old, now, &origin.chance)?;
    let head = Head { modified_at, size: 0, etag: String::new(), version, is_marker: true, ends_at: None };
    let deleted = Deleted { version: Some(name(&head)), is_marker: true };
    quotas::count(change, &bucket, 1, 0)?;
    change.put(&seat, Object { head, rest: Rest::default() }.encode()?, &[])?;
    let version = deleted.version.clone();
    notifications::removed(change, &bucket, &wanted.key, version, true, modified_at, origin)?;
    Ok(Ok(deleted))
}

/// Deletes one version for good. If it is the current one, the newest of the others takes its place.
fn delete_version(
    change: &mut Change<'_>,
    bucket: &Bucket,
    wanted: &Wanted,
    version: &str,
    current: Option<(Record, Head)>,
    now: Timestamp,
    origin: &Origin,
) -> Result<S3Result<Deleted>> {
    let (key, seat) = (&wanted.key, keys::object(&bucket.id, &wanted.key));
    let current = current.filter(|(_, head)| name(head) == version).map(|(record, _)| record);
    let is_current = current.is_some();
    let found = match current {
        Some(record) => Some((seat.clone(), record)),
        None if version == NULL => null_version(change, bucket, key)?,
        None => {
            let at = keys::version(&bucket.id, key, version);
            change.get(&at)?.map(|record| (at, record))
        }
    };
    // That it is not there is no error, as for objects.
    let Some((at, record)) = found else {
        return Ok(Ok(Deleted { version: Some(version.to_owned()), is_marker: false }));
    };
    let Object { head, rest } = Object::decode(&record.value)?;
    if rest.lock.holds(now, wanted.bypasses) {
        return Ok(Err(lock::locked()));
    }
    quotas::count(change, bucket, -1, -i128::from(head.size))?;
    let others = keys::versions(&bucket.id, key);
    let newest = if is_current { change.scan_prefix(&others)?.next().transpose()? } else { None };
    if is_current {
        ending::leave(change, bucket, key, &head)?;
    }
    match newest {
        Some((at, record)) => {
            ending::enter(change, bucket, key, &Head::decode(&record.value)?.0)?;
            change.put(&seat, record.value, &record.payloads)?;
            change.delete(&at)?;
        }
        None => change.delete(&at)?,
    }
    let shown = shown(bucket, &head);
    notifications::removed(change, bucket, key, shown, false, now, origin)?;
    Ok(Ok(Deleted {
        version: (!bucket.versioning.is_off()).then(|| version.to_owned()),
        is_marker: head.is_marker,
    }))
}

/// An id that can be one.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_id(id: Option<&str>) -> S3Result<Option<&str>> {
    match id {
        None | Some("") => Ok(None),
        Some(NULL) => Ok(Some(NULL)),
        Some(id) if id.len() == keys::ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Some(id)),
        Some(_) => Err(error(S3ErrorCode::InvalidArgument, "Invalid version id specified")),
    }
}

/// The record of a version, or of the current one.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn look_up(
    view: &impl Look,
    bucket: &Bucket,
    key: &str,
    version: Option<&str>,
) -> Result<Option<Record>> {
    let current = view.get(&keys::object(&bucket.id, key))?;
    let Some(version) = version else { return Ok(current) };
    if let Some(record) = current
        && name(&Head::decode(&record.value)?.0) == version
    {
        return Ok(Some(record));
    }
    if version != NULL {
        return view.get(&keys::version(&bucket.id, key, version));
    }
    view.first(&keys::versions(&bucket.id, key), |record| {
        Ok(Head::decode(&record.value)?.0.version.is_none())
    })
}

/// What whoever asks for a delete marker gets.
pub fn marked(bucket: &Bucket, head: &Head, by_version: bool) -> S3Error {
    let mut refused = if by_version {
        error(S3ErrorCode::MethodNotAllowed, "The specified method is not allowed against this resource.")
    } else {
        no_such_key()
    };
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amz-delete-marker", http::HeaderValue::from_static("true"));
    if let Some(id) = shown(bucket, head).and_then(|id| http::HeaderValue::from_str(&id).ok()) {
        headers.insert("x-amz-version-id", id);
    }
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
    refused.set_headers(headers);
    refused
}

/// A line of a list of versions: the key, and whether it is the current one.
pub enum Line {
    Version(String, Head, bool),
    CommonPrefix(String),
}

impl ObjectStore {
    pub(crate) fn versioning(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketVersioningOutput>> {
        let status = match decided.bucket()?.versioning {
            // Told by leaving it out.
            Versioning::Off => None,
            Versioning::Enabled => Some(dto::BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(dto::BucketVersioningStatus::SUSPENDED),
        };
        let status = status.map(dto::BucketVersioningStatus::from_static);
        Ok(S3Response::new(dto::GetBucketVersioningOutput { status, mfa_delete: None }))
    }

    pub(crate) async fn put_versioning(
        &self,
        input: dto::PutBucketVersioningInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketVersioningOutput>> {
        let wanted = input.versioning_configuration;
        if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() == dto::MFADelete::ENABLED) {
            return Err(error(S3ErrorCode::NotImplemented, "Deleting with a second factor is not offered."));
        }
        let versioning = match wanted.status.as_ref().map(dto::BucketVersioningStatus::as_str) {
            Some(dto::BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(dto::BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                return Err(error(
                    S3ErrorCode::MalformedXML,
                    "The status of versioning is Enabled or Suspended.",
                ));
            }
        };
        self.try_configure(&decided, move |bucket| turn(bucket, versioning)).await?;
        Ok(S3Response::new(dto::PutBucketVersioningOutput {}))
    }

    /// Deletes an object, or one version of it.
    pub(crate) async fn delete(
        &self,
        decided: &Decided,
        bucket: Arc<Bucket>,
        mut wanted: Wanted,
    ) -> S3Result<Deleted> {
        check_id(wanted.version.as_deref())?;
        wanted.version = wanted.version.filter(|version| !version.is_empty());
        let (now, origin) = (decided.asker.cx.now(), self.origin(decided, Cause::Delete));
        let deleted = self.write_and_tell(move |change| delete(change, &bucket, &wanted, now, &origin)).await;
        deleted.map_err(|error| fault::of(&error))?
    }

    /// Changes what stands beside the bytes of an object, or of one of its versions.
    ///
    /// # Errors
    /// `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`, `MethodNotAllowed`, and what `set` answers: then nothing has changed.
    pub(crate) async fn change_object(
        &self,
        bucket: Arc<Bucket>,
        key: String,
        version: Option<String>,
        set: impl FnOnce(&mut Object) -> S3Result<()> + Send + 'static,
    ) -> S3Result<()> {
        self.change_and_tell(bucket, key, version, set, None).await
    }

    /// The same, and tells of it if there is something to tell.
    ///
    /// # Errors
    /// As for [`ObjectStore::change_object`].
    pub(crate) async fn change_and_tell(
        &self,
        bucket: Arc<Bucket>,
        key: String,
        version: Option<String>,
        set: impl FnOnce(&mut Object) -> S3Result<()> + Send + 'static,
        told: Option<(Timestamp, Origin)>,
    ) -> S3Result<()> {
        let version = check_id(version.as_deref())?.map(str::to_owned);
        let now = self.0.cx.now();
        let done = self
            .write_and_tell(move |change| {
                let Some(bucket) = current(change, &bucket)? else { return Ok(Err(no_such_bucket())) };
                let missing = || if version.is_some() { no_such_version() } else { no_such_key() };
                let Some(found) = look_up(change, &bucket, &key, version.as_deref())? else {
                    return Ok(Err(missing()));
                };
                let mut object = Object::decode(&found.value)?;
                if object.head.is_marker {
                    return Ok(Err(marked(&bucket, &object.head, version.is_some())));
                }
                if version.is_none() && object.head.has_ended(now) {
                    return Ok(Err(no_such_key()));
                }
                let place = seat(change, &bucket, &key, &object.head)?;
                let old = object.head.clone();
                if let Err(refused) = set(&mut object) {
                    return Ok(Err(refused));
                }
                if place == keys::object(&bucket.id, &key) {
                    ending::leave(change, &bucket, &key, &old)?;
                    ending::enter(change, &bucket, &key, &object.head)?;
                }
                change.put(&place, object.encode()?, &found.payloads)?;
                if let Some((now, origin)) = told {
                    notifications::changed(change, &bucket, &key, &object.head, now, &origin)?;
                }
                Ok(Ok(()))
            })
            .await;
        done.map_err(|error| fault::of(&error))?
    }

    pub(crate) fn list_versions(
        &self,
        input: dto::ListObjectVersionsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListObjectVersionsOutput>> {
        let limit = most(input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let marker = (
            input.key_marker.as_deref().unwrap_or_default(),
            input.version_id_marker.as_deref().filter(|id| !id.is_empty()),
        );
        let count = usize::try_from(limit).unwrap_or_default();
        let listed = self.lines(decided.bucket()?, prefix, delimiter, marker, count);
        let (lines, is_truncated) = listed.map_err(|error| fault::of(&error))?;
        let (next_key_marker, next_version_id_marker) = match lines.last().filter(|_| is_truncated) {
            Some(Line::Version(key, head, _)) => (Some(encode(key)), Some(name(head))),
            Some(Line::CommonPrefix(prefix)) => (Some(encode(prefix)), None),
            None => (None, None),
        };
        let owner = owner(&decided.project_id);
        let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            match line {
                Line::Version(key, head, is_latest) if head.is_marker => {
                    markers.push(dto::DeleteMarkerEntry {
                        key: Some(encode(&key)),
                        version_id: Some(name(&head)),
                        is_latest: Some(is_latest),
                        last_modified: Some(time(head.modified_at)),
                        owner: Some(owner.clone()),
                    })
                }
                Line::Version(key, head, is_latest) => versions.push(dto::ObjectVersion {
                    key: Some(encode(&key)),
                    version_id: Some(name(&head)),
                    is_latest: Some(is_latest),
                    e_tag: Some(etag(&head)),
                    last_modified: Some(time(head.modified_at)),
                    size: i64::try_from(head.size).ok(),
                    storage_class: Some(dto::ObjectVersionStorageClass::from_static(
                        dto::ObjectVersionStorageClass::STANDARD,
                    )),
                    owner: Some(owner.clone()),
                    ..Default::default()
                }),
                Line::CommonPrefix(prefix) => prefixes.push(prefix),
            }
        }
        Ok(S3Response::new(dto::ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(prefix)),
            key_marker: Some(encode(marker.0)),
            version_id_marker: input.version_id_marker.clone(),
            max_keys: Some(limit),
            is_truncated: Some(is_truncated),
            versions: Some(versions),
            delete_markers: Some(markers),
            common_prefixes: common_prefixes(prefixes, encode),
            next_key_marker,
            next_version_id_marker,
            delimiter: input.delimiter.as_deref().map(encode),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    /// The versions of a bucket behind a marker, each object's current one before its others.
    pub(crate) fn lines(
        &self,
        bucket: &Bucket,
        prefix: &str,
        delimiter: Option<&str>,
        (key_marker, id_marker): (&str, Option<&str>),
        count: usize,
    ) -> Result<(Vec<Line>, bool)> {
        let view = self.0.store.view()?;
        let (mut lines, start) = (Vec::new(), keys::objects(&bucket.id));
        if count == 0 {
            return Ok((lines, false));
        }
        let mut objects = view.scan_prefix(&[&start[..], prefix.as_bytes()].concat())?;
        if !key_marker.is_empty() {
            let at = [&start[..], key_marker.as_bytes()].concat();
            let is_prefix = delimiter.is_some_and(|delimiter| key_marker.ends_with(delimiter));
            objects.seek(&match (id_marker, is_prefix) {
                // Within the versions of this one.
                (Some(_), _) => at,
                (None, true) => [&at[..], &[0xff]].concat(),
                (None, false) => [&at[..], b"\0"].concat(),
            })?;
        }
        while let Some(found) = objects.next() {
            let (place, record) = found?;
            let key = place.get(start.len()..).and_then(|key| std::str::from_utf8(key).ok());
            let key = key.ok_or_else(|| Error::internal("a key of an object is no UTF-8"))?;
            if lines.len() == count {
                return Ok((lines, true));
            }
            let rest = key.get(prefix.len()..).unwrap_or_default();
            if let Some((delimiter, at)) = delimiter.and_then(|own| rest.find(own).map(|at| (own, at))) {
                let common = key.get(..prefix.len() + at + delimiter.len()).unwrap_or_default();
                objects.seek(&[&start[..], common.as_bytes(), &[0xff]].concat())?;
                lines.push(Line::CommonPrefix(common.to_owned()));
                continue;
            }
            // The marker names the last one that was shown.
            let mut skips = if key == key_marker { id_marker } else { None };
            let head = Head::decode(&record.value)?.0;
            let others = view.scan_prefix(&keys::versions(&bucket.id, key))?;
            let others = others.map(|found| Ok((Head::decode(&found?.1.value)?.0, false)));
            for item in std::iter::once(Ok((head, true))).chain(others) {
                let (head, is_latest): (Head, bool) = item?;
                if let Some(last) = skips {
                    if name(&head) == last {
                        skips = None;
                    }
                    continue;
                }
                if lines.len() == count {
                    return Ok((lines, true));
                }
                lines.push(Line::Version(key.to_owned(), head, is_latest));
            }
        }
        Ok((lines, false))
    }
}
