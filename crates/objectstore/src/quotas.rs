//! What a project may have. The limits are identity's (Keystone's unified limits of the service `s3`) and the quota of the
//! project's account of Swift's: both hold, so that the lower one counts. Use is counted in the transaction that changes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_logstore::Change;

use s3s::S3Result;

use crate::access::Decided;
use crate::fault;
use crate::look::Look;
use crate::ports::{Limits, Quota};
use crate::record::{self, Bucket, Usage};
use crate::swift::account;
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

    /// The limits of a project; `own` reads those that are kept here.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn of(&self, cx: &Cx, project_id: &str, own: impl FnOnce() -> Result<Quota>) -> Result<Quota> {
        let now = cx.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(project_id).copied();
        if let Some((at, quota)) = known
            && at <= now
            && now.since(at) < HOLDS
        {
            return Ok(quota);
        }
        let quota = self.limits.of(cx, project_id).await?.and(own()?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(project_id.to_owned(), (now, quota));
        Ok(quota)
    }

    /// Those of this project were changed here.
    pub fn forget(&self, project_id: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(project_id);
    }
}

/// Whether what `whose` uses is within its limits.
///
/// # Errors
/// `QuotaExceeded`.
fn check(whose: &str, quota: &Quota, usage: &Usage) -> Result<()> {
    let exceeded = |what: &str, limit: u64| {
        let message = format!(
            "The {whose} may have {limit} {what}, and would have more. Delete some, or ask for a higher limit."
        );
        Err(Error::over_quota(message).named(EXCEEDED))
    };
    match (
        quota.bytes.filter(|limit| usage.bytes > *limit),
        quota.objects.filter(|limit| usage.objects > *limit),
    ) {
        (Some(limit), _) => exceeded("bytes", limit),
        (None, Some(limit)) => exceeded("objects", limit),
        (None, None) => Ok(()),
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

impl ObjectStore {
    /// What a project may have in all.
    ///
    /// # Errors
    /// If that cannot be told now.
    pub(crate) async fn quota_of(&self, cx: &Cx, project_id: &str) -> Result<Quota> {
        let own = || Ok(account::read(self, project_id)?.account_quota());
        self.0.quotas.of(cx, project_id, own).await
    }

    /// Whether a project has room for so many bytes more, before they are sent. What they replace is not known yet, so that
    /// whoever is at the limit cannot write anew what they have.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) async fn check_room(&self, cx: &Cx, project_id: &str, more: u64) -> Result<()> {
        let quota = self.quota_of(cx, project_id).await?;
        if more == 0 || quota.bytes.is_none() {
            return Ok(());
        }
        let mut usage = used(&self.0.store.view()?, &keys::usage(project_id))?;
        usage.bytes = usage.bytes.saturating_add(more);
        check("project", &Quota { objects: None, ..quota }, &usage)
    }

    /// A transaction that may add something to the bucket of a request. Nothing of it is done if what it adds would be too
    /// much for the project, or for the bucket as a container of Swift, whichever API fills it.
    ///
    /// # Errors
    /// `QuotaExceeded`, and what the transaction comes to.
    pub(crate) async fn add<T: Send + 'static>(
        &self,
        decided: &Decided,
        job: impl FnOnce(&mut Change<'_>) -> Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let bucket = decided.bucket()?.clone();
        let quota = self.quota_of(&decided.asker.cx, &bucket.project_id).await;
        let limits = [
            ("project", quota.map_err(|error| fault::of(&error))?, keys::usage(&bucket.project_id)),
            ("container", bucket.swift.quota(), keys::bucket_usage(&bucket.id)),
        ];
        let run = move |change: &mut Change<'_>| {
            let limits = limits.into_iter().filter(|(_, quota, _)| *quota != Quota::default());
            let before =
                limits.map(|limit| Ok((used(change, &limit.2)?, limit))).collect::<Result<Vec<_>>>()?;
            let done = job(change)?;
            for (before, (whose, quota, place)) in before {
                let after = used(change, &place)?;
                // Whoever has too much already may do what adds nothing.
                if after.bytes > before.bytes || after.objects > before.objects {
                    check(whose, &quota, &after)?;
                }
            }
            Ok(done)
        };
        self.write_and_tell(run).await.map_err(|error| fault::of(&error))
    }
}
