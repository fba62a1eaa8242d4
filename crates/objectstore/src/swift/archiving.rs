//! What is overwritten or deleted in one container goes to another (`X-Versions-Location`, `X-History-Location`), in the same
//! transaction and whichever API does it. No bytes move: the record does. Versions of S3, and of `X-Versions-Enabled`, are
//! another thing, and a bucket has one of the two.
//!
//! Source: OpenStack Swift, middleware "Versioned Writes".

use std::ops::Bound;

use hanse_core::{Result, Timestamp};
use hanse_logstore::{Change, Record};
use s3s::{S3ErrorCode, S3Result};

use super::reply::timestamp;
use super::{OBJECT_NAME_MAX, bucket_name};
use crate::conditions::Conditions;
use crate::fault::error;
use crate::notifications::Origin;
use crate::objects::put;
use crate::record::{self, Bucket, Head, Object, Rest};
use crate::{ending, keys, quotas};

/// The type of what says that an object was deleted.
pub const DELETED: &str = "application/x-deleted;swift_versions_deleted=1";
/// Behind every time that a name can show, in units of ten microseconds.
const END: i64 = 1_000_000_000_000_000;
/// The MD5 of nothing.
pub const ETAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// What the names of all that was called so begin with: the length of the name in three hexadecimal digits goes before it, so
/// that no name begins as another one does.
fn prefix(key: &str) -> String {
    format!("{:03x}{key}/", key.chars().count())
}

/// The container for a bucket's old objects; `None` if it keeps none.
fn target(change: &Change<'_>, bucket: &Bucket) -> Result<Option<S3Result<Bucket>>> {
    let Some(archive) = &bucket.swift.archive else { return Ok(None) };
    let name = bucket_name(&bucket.project_id, &archive.container);
    let found = change.get(&keys::bucket(&name))?;
    let found = found.map(|found| record::from_json::<Bucket>(&found.value)).transpose()?;
    let missing = || error(S3ErrorCode::PreconditionFailed, "The container for old versions is not there.");
    Ok(Some(found.filter(|found| found.project_id == bucket.project_id).ok_or_else(missing)))
}

/// What the name of an old object ends with: when it was written, in units of ten microseconds.
fn suffix(units: i64) -> String {
    format!("{:0>16}", timestamp(Timestamp(units * 10)))
}

/// The newest of what is kept of a name. Names are in the order of their times, so that halving the time finds it, however
/// many there are.
fn newest(change: &Change<'_>, target: &Bucket, key: &str) -> Result<Option<(Vec<u8>, Record)>> {
    let at = |end: &str| keys::object(&target.id, &(prefix(key) + end));
    // Behind all digits.
    let end = at(":");
    let since = |units: i64| -> Result<Option<(Vec<u8>, Record)>> {
        let start = at(&suffix(units));
        change.scan((Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice())))?.next().transpose()
    };
    // There is one at or after `low`, and none at or after `high`.
    let (mut low, mut high) = (0, END);
    let Some(mut found) = since(low)? else { return Ok(None) };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match since(middle)? {
            Some(later) => (low, found) = (middle, later),
            None => high = middle,
        }
    }
    Ok(Some(found))
}

/// Puts an object behind all that is kept of its name.
fn append(
    change: &mut Change<'_>,
    target: &Bucket,
    key: &str,
    mut object: Object,
    record: Option<&Record>,
    origin: &Origin,
) -> Result<S3Result<()>> {
    // In units that names show.
    let mut at = object.head.modified_at;
    let name = loop {
        let name = prefix(key) + &suffix(at.0 / 10);
        if change.get(&keys::object(&target.id, &name))?.is_none() {
            break name;
        }
        at = Timestamp(at.0 + 10);
    };
    if name.len() > OBJECT_NAME_MAX {
        let message = "The name is too long for the container for old versions.";
        return Ok(Err(error(S3ErrorCode::KeyTooLongError, message)));
    }
    let payloads = record.map(|record| record.payloads.clone()).unwrap_or_default();
    object.head.version = None;
    Ok(put(change, target, &name, &mut object, &payloads, &Conditions::default(), origin)?.done())
}

/// Keeps what is about to be overwritten.
///
/// # Errors
/// Internal if the store cannot be read; the inner error is `PreconditionFailed` if there is nowhere to keep it.
pub fn keep(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    record: &Record,
    head: &Head,
    origin: &Origin,
) -> Result<S3Result<()>> {
    if head.is_marker {
        return Ok(Ok(()));
    }
    match target(change, bucket)? {
        None => Ok(Ok(())),
        Some(Err(refused)) => Ok(Err(refused)),
        Some(Ok(target)) => {
            append(change, &target, key, Object::decode(&record.value)?, Some(record), origin)
        }
    }
}

/// Keeps what is about to be deleted, where deletions are kept.
///
/// # Errors
/// As [`keep`].
pub fn keep_deleted(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    old: Option<&(Record, Head)>,
    now: Timestamp,
    origin: &Origin,
) -> Result<S3Result<()>> {
    let target = match target(change, bucket)? {
        None => return Ok(Ok(())),
        Some(Err(refused)) => return Ok(Err(refused)),
        Some(Ok(target)) => target,
    };
    let is_history = bucket.swift.archive.as_ref().is_some_and(|archive| archive.is_history);
    let Some((record, head)) = old.filter(|_| is_history) else { return Ok(Ok(())) };
    if let Err(refused) = keep(change, bucket, key, record, head, origin)? {
        return Ok(Err(refused));
    }
    let mut rest = Rest::default();
    rest.meta.content_type = Some(DELETED.to_owned());
    let modified_at = now.max(Timestamp(head.modified_at.0 + 10));
    let etag = ETAG_OF_NOTHING.to_owned();
    let head = Head { modified_at, size: 0, etag, version: None, is_marker: false, ends_at: None };
    append(change, &target, key, Object { head, rest }, None, origin)
}

/// Brings the object back that was there before one that has been deleted, where deletions are not kept.
///
/// # Errors
/// Internal if the store cannot be read or written.
pub fn bring_back(change: &mut Change<'_>, bucket: &Bucket, key: &str, now: Timestamp) -> Result<()> {
    let is_history = bucket.swift.archive.as_ref().is_some_and(|archive| archive.is_history);
    let Some(Ok(target)) = target(change, bucket)?.filter(|_| !is_history) else { return Ok(()) };
    let Some((place, record)) = newest(change, &target, key)? else { return Ok(()) };
    let object = Object::decode(&record.value)?;
    if object.head.is_marker || object.rest.lock.holds(now, false) || !target.versioning.is_off() {
        return Ok(());
    }
    let name = String::from_utf8_lossy(place.get(keys::objects(&target.id).len()..).unwrap_or_default());
    ending::leave(change, &target, &name, &object.head)?;
    quotas::count(change, &target, -1, -i128::from(object.head.size))?;
    change.delete(&place)?;
    // What came last may have been a deletion.
    if object.rest.meta.content_type.as_deref() != Some(DELETED) {
        quotas::count(change, bucket, 1, i128::from(object.head.size))?;
        ending::enter(change, bucket, key, &object.head)?;
        change.put(&keys::object(&bucket.id, key), record.value, &record.payloads)?;
    }
    Ok(())
}
