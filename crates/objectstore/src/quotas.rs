//! What a project may have. The limits are identity's (Keystone's unified limits of the service `s3`), and use is counted in
//! the transaction that changes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_logstore::Change;

use crate::ports::{Limits, Quota};
use crate::record::{self, Bucket, Usage};
use crate::versions::Look;
use crate::{ObjectStore, keys};

/// A limit that was changed counts after this time.
const HOLDS: Duration = Duration::from_secs(1);
/// Of so many projects limits are remembered.
const KNOWN_MAX: usize = 10_000;

/// The name of the error. Source: Ceph Object Gateway, "S3 API error responses".
pub const EXCEEDED: &str = "QuotaExceeded";

/// The limits of projects, asked for once in a second.
pub struct Quotas {
    limits: Arc<dyn Limits>,
    known: Mutex<HashMap<String, (Timestamp, Quota)>>,
}

impl Quotas {
    pub fn new(limits: Arc<dyn Limits>) -> Quotas {
        Quotas { limits, known: Mutex::default() }
    }

    /// # Errors
    /// If they cannot be read.
    pub async fn of(&self, cx: &Cx, project_id: &str) -> Result<Quota> {
        let now = cx.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(project_id).copied();
        if let Some((at, quota)) = known
            && at <= now
            && now.since(at) < HOLDS
        {
            return Ok(quota);
        }
        let quota = self.limits.of(cx, project_id).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(project_id.to_owned(), (now, quota));
        Ok(quota)
    }
}

fn exceeded(what: &str, limit: u64) -> Error {
    Error::over_quota(format!("There would be more than the {limit} {what} that there may be."))
        .named(EXCEEDED)
}

/// Whether what a project or a bucket uses is within its limits.
///
/// # Errors
/// `QuotaExceeded`.
pub fn check(quota: &Quota, usage: &Usage) -> Result<()> {
    if let Some(limit) = quota.bytes.filter(|limit| usage.bytes > *limit) {
        return Err(exceeded("bytes", limit));
    }
    match quota.objects.filter(|limit| usage.objects > *limit) {
        Some(limit) => Err(exceeded("objects", limit)),
        None => Ok(()),
    }
}

/// Counts what a bucket and its project use, in the transaction that changes it.
///
/// # Errors
/// Internal if that does not read.
pub fn count(change: &mut Change<'_>, bucket: &Bucket, objects: i64, bytes: i128) -> Result<()> {
    if objects == 0 && bytes == 0 {
        return Ok(());
    }
    for place in [keys::usage(&bucket.project_id), keys::bucket_usage(&bucket.id)] {
        let mut usage = used(change, &place)?;
        usage.objects = usage.objects.saturating_add_signed(objects);
        usage.bytes = u64::try_from((i128::from(usage.bytes) + bytes).max(0)).unwrap_or(u64::MAX);
        change.put(&place, record::to_json(&usage)?, &[])?;
    }
    Ok(())
}

/// What was counted there.
///
/// # Errors
/// Internal if it does not read.
pub fn used(view: &impl Look, place: &[u8]) -> Result<Usage> {
    match view.get(place)? {
        Some(found) => record::from_json(&found.value),
        None => Ok(Usage::default()),
    }
}

/// At the end of a transaction that adds something: nothing of it is done if that would be too much for the project, or for the
/// bucket as a container of Swift, whichever API fills it.
///
/// # Errors
/// `QuotaExceeded`.
pub fn check_change(change: &Change<'_>, bucket: &Bucket, quota: &Quota) -> Result<()> {
    check(quota, &used(change, &keys::usage(&bucket.project_id))?)?;
    let own = bucket.swift.quota();
    if own == Quota::default() {
        return Ok(());
    }
    check(&own, &used(change, &keys::bucket_usage(&bucket.id))?)
}

impl ObjectStore {
    /// The limits of a project, if it has room for so many bytes more. What it replaces is not known yet, so that whoever is
    /// at the limit cannot write anew what they have.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) async fn quota(&self, cx: &Cx, project_id: &str, more: u64) -> Result<Quota> {
        let quota = self.0.quotas.of(cx, project_id).await?;
        if quota.bytes.is_some() {
            let mut usage = used(&self.0.store.view()?, &keys::usage(project_id))?;
            usage.bytes = usage.bytes.saturating_add(more);
            check(&Quota { objects: None, ..quota }, &usage)?;
        }
        Ok(quota)
    }
}
