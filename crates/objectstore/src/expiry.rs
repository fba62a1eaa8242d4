//! What the rules of the lifecycle end, is ended here, in the background: objects, versions that are not the current ones,
//! delete markers with nothing beneath, uploads that nobody ends. So are objects that end by themselves (`ending`).
//!
//! Each is looked at again in the transaction that deletes it, so that what was written meanwhile stays. A pass that is cut
//! off is made again from the beginning: what it did is done, and what it did not do is still due.

use std::time::Duration;

use hanse_core::{Result, Timestamp};
use hanse_logstore::{Change, View};
use tokio_util::sync::CancellationToken;

use crate::buckets::{current, delete_parts};
use crate::conditions::Conditions;
use crate::notifications::Origin;
use crate::record::{self, Bucket, LifecycleRule, Object, Upload};
use crate::versions::{Wanted, delete, name};
use crate::{ObjectStore, keys, quotas};

/// From the end of one pass to the start of the next, and before the first one.
const EVERY: Duration = Duration::from_secs(3600);
const FIRST: Duration = Duration::from_secs(60);
/// Keys that are looked at with one view, which keeps what is deleted on the disk as long as it lives.
const PAGE: usize = 1000;
/// Deletions of one transaction.
pub const BATCH: usize = 100;

const DAY: i64 = 86_400;

/// What has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// The object as it is seen, if this is still its current version. It becomes a delete marker where there are versions.
    Current {
        key: String,
        object: String,
        modified: Timestamp,
    },
    /// One version for good.
    Version {
        key: String,
        version: String,
        modified: Timestamp,
    },
    Upload {
        key: String,
        id: String,
    },
}

/// Whether so many days have passed: counted from the midnight (UTC) that follows, as S3 counts them.
fn have_passed(days: i32, since: Timestamp, now: Timestamp) -> bool {
    let day = |at: Timestamp| at.seconds().div_euclid(DAY);
    let midnight = if since.seconds().rem_euclid(DAY) == 0 { day(since) } else { day(since) + 1 };
    now.seconds() >= (midnight + i64::from(days)) * DAY
}

impl LifecycleRule {
    fn is_about(&self, key: &str, object: &Object) -> bool {
        let size = i64::try_from(object.head.size).unwrap_or(i64::MAX);
        self.has_prefix(key)
            && self.larger_than.is_none_or(|limit| size > limit)
            && self.smaller_than.is_none_or(|limit| size < limit)
            && self.tags.iter().all(|tag| object.rest.meta.tags.contains(tag))
    }

    fn has_prefix(&self, key: &str) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
    }

    fn expires(&self, modified: Timestamp, now: Timestamp) -> bool {
        self.expire_days.is_some_and(|days| have_passed(days, modified, now))
            || self.expire_date.is_some_and(|date| now.seconds() >= date)
    }
}

/// What of a key has to go: its current version, and the others from the newest to the oldest.
fn due_of(
    rules: &[&LifecycleRule],
    key: &str,
    current: &Object,
    others: &[Object],
    now: Timestamp,
) -> Vec<Due> {
    let mut due = Vec::new();
    if current.head.is_marker {
        let is_due = rules.iter().any(|rule| {
            let by_days = rule.tags.is_empty() && rule.expires(current.head.modified_at, now);
            rule.has_prefix(key) && (rule.expire_lone_markers || by_days)
        });
        if others.is_empty() && is_due {
            let (version, modified) = (name(&current.head), current.head.modified_at);
            due.push(Due::Version { key: key.to_owned(), version, modified });
        }
    } else if rules
        .iter()
        .any(|rule| rule.is_about(key, current) && rule.expires(current.head.modified_at, now))
    {
        let (object, modified) = (name(&current.head), current.head.modified_at);
        due.push(Due::Current { key: key.to_owned(), object, modified });
    }
    // A version stopped being the current one when the next was written.
    let mut since = current.head.modified_at;
    for (newer, object) in others.iter().enumerate() {
        let is_due = |rule: &&LifecycleRule| {
            let kept = usize::try_from(rule.noncurrent_kept.unwrap_or(0)).unwrap_or(0);
            rule.is_about(key, object)
                && newer >= kept
                && rule.noncurrent_days.is_some_and(|days| have_passed(days, since, now))
        };
        if rules.iter().any(is_due) {
            let (version, modified) = (name(&object.head), object.head.modified_at);
            due.push(Due::Version { key: key.to_owned(), version, modified });
        }
        since = object.head.modified_at;
    }
    // What is locked is looked at again when it is not any more.
    let is_held = |wanted: &str| {
        others
            .iter()
            .chain([current])
            .any(|object| name(&object.head) == wanted && object.rest.lock.holds(now, false))
    };
    due.retain(|due| !matches!(due, Due::Version { version, .. } if is_held(version)));
    due
}

/// The keys of a bucket behind one, and what of them has to go; the last key if there are more.
fn page(
    view: &View,
    bucket: &Bucket,
    rules: &[&LifecycleRule],
    after: Option<&str>,
    now: Timestamp,
) -> Result<(Vec<Due>, Option<String>)> {
    let start = keys::objects(&bucket.id);
    let mut scan = view.scan_prefix(&start)?;
    if let Some(after) = after {
        scan.seek(&[&start[..], after.as_bytes(), b"\0"].concat())?;
    }
    let (mut due, mut last) = (Vec::new(), None);
    for (count, found) in scan.enumerate() {
        let (place, record) = found?;
        let key = String::from_utf8_lossy(place.get(start.len()..).unwrap_or_default()).into_owned();
        let object = Object::decode(&record.value)?;
        let others = view.scan_prefix(&keys::versions(&bucket.id, &key))?;
        let others: Vec<Object> =
            others.map(|found| Object::decode(&found?.1.value)).collect::<Result<_>>()?;
        due.extend(due_of(rules, &key, &object, &others, now));
        last = Some(key);
        if count + 1 == PAGE {
            return Ok((due, last));
        }
    }
    drop(last);
    Ok((due, None))
}

fn uploads_due(view: &View, bucket: &Bucket, rules: &[&LifecycleRule], now: Timestamp) -> Result<Vec<Due>> {
    let start = keys::uploads(&bucket.id);
    let mut due = Vec::new();
    for found in view.scan_prefix(&start)? {
        let (place, found) = found?;
        let Some((key, id)) = place.get(start.len()..).and_then(keys::split_id) else { continue };
        let started = Timestamp(record::from_json::<Upload>(&found.value)?.started_at);
        let is_due = |rule: &&LifecycleRule| {
            rule.has_prefix(key) && rule.abort_days.is_some_and(|days| have_passed(days, started, now))
        };
        if rules.iter().any(is_due) {
            due.push(Due::Upload { key: key.to_owned(), id: id.to_owned() });
        }
    }
    Ok(due)
}

/// Ends one, if it is still as it was; says whether it did.
fn end(change: &mut Change<'_>, bucket: &Bucket, due: &Due, now: Timestamp, origin: &Origin) -> Result<bool> {
    let (key, version, modified) = match due {
        Due::Upload { key, id } => {
            let place = keys::upload(&bucket.id, key, id);
            if change.get(&place)?.is_none() {
                return Ok(false);
            }
            let freed = delete_parts(change, id)?;
            quotas::count(change, bucket, 0, -i128::from(freed))?;
            change.delete(&place)?;
            return Ok(true);
        }
        Due::Current { key, object, modified } => (key, object, modified),
        Due::Version { key, version, modified } => (key, version, modified),
    };
    let found = crate::versions::look_up(change, bucket, key, Some(version.as_str()))?;
    let is_same = match found {
        Some(found) => Object::decode(&found.value)?.head.modified_at == *modified,
        None => false,
    };
    let is_current = match (due, change.get(&keys::object(&bucket.id, key))?) {
        (Due::Current { .. }, Some(record)) => name(&record::Head::decode(&record.value)?.0) == *version,
        (Due::Current { .. }, None) => false,
        _ => true,
    };
    if !is_same || !is_current {
        return Ok(false);
    }
    let version = matches!(due, Due::Version { .. }).then(|| version.clone());
    let wanted = Wanted { key: key.clone(), version, conditions: Conditions::default(), bypasses: false };
    Ok(delete(change, bucket, &wanted, now, origin)?.is_ok())
}

impl ObjectStore {
    /// Ends what has to end, in all buckets; says how many objects, versions and uploads that were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn expire(&self) -> Result<usize> {
        let mut count = self.destroy_keys().await? + self.end_due().await?;
        let buckets: Vec<Bucket> = {
            let view = self.0.store.view()?;
            let all = view.scan_prefix(&keys::bucket(""))?.map(|found| record::from_json(&found?.1.value));
            all.collect::<Result<Vec<Bucket>>>()?
        };
        for bucket in buckets.iter().filter(|bucket| bucket.lifecycle.iter().any(|rule| rule.is_enabled)) {
            count += self.expire_in(bucket).await?;
        }
        Ok(count)
    }

    async fn expire_in(&self, bucket: &Bucket) -> Result<usize> {
        let now = self.0.cx.now();
        let rules: Vec<&LifecycleRule> = bucket.lifecycle.iter().filter(|rule| rule.is_enabled).collect();
        let uploads = uploads_due(&self.0.store.view()?, bucket, &rules, now)?;
        let mut count = self.end(bucket, uploads).await?;
        let mut after: Option<String> = None;
        loop {
            let (due, last) = page(&self.0.store.view()?, bucket, &rules, after.as_deref(), now)?;
            count += self.end(bucket, due).await?;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
            tokio::task::yield_now().await;
        }
        if count > 0 {
            tracing::info!(bucket = bucket.name, count, "ended what the rules of the lifecycle say");
        }
        Ok(count)
    }

    async fn end(&self, bucket: &Bucket, due: Vec<Due>) -> Result<usize> {
        let mut count = 0;
        for batch in due.chunks(BATCH) {
            let (bucket, batch, now) = (bucket.clone(), batch.to_vec(), self.0.cx.now());
            let origins: Vec<Origin> = batch.iter().map(|_| self.origin_of_lifecycle()).collect();
            count += self
                .write_and_tell(move |change| {
                    // Rules that were taken away, or changed, hold no more.
                    let is_same =
                        current(change, &bucket)?.is_some_and(|now| now.lifecycle == bucket.lifecycle);
                    let mut count = 0;
                    for (due, origin) in batch.iter().zip(&origins).filter(|_| is_same) {
                        count += usize::from(end(change, &bucket, due, now, origin)?);
                    }
                    Ok(count)
                })
                .await?;
        }
        Ok(count)
    }

    /// Follows the rules until `stop` is cancelled.
    pub(crate) async fn keep_expiring(&self, stop: &CancellationToken) {
        let mut wait = FIRST;
        while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
            let Some(done) = stop.run_until_cancelled(self.expire()).await else { return };
            if let Err(error) = done {
                tracing::warn!("cannot follow the rules of the lifecycle: {}", error.detail());
            }
            wait = EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_the_midnight_that_follows() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        for (days, since, now, expected) in [
            (1, "2026-01-01T10:30:00Z", "2026-01-02T23:59:59Z", false),
            (1, "2026-01-01T10:30:00Z", "2026-01-03T00:00:00Z", true),
            (3, "2026-01-15T10:30:00Z", "2026-01-18T23:59:59Z", false),
            (3, "2026-01-15T10:30:00Z", "2026-01-19T00:00:00Z", true),
            (1, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", true),
        ] {
            assert_eq!(have_passed(days, at(since), at(now)), expected, "{days} {since} {now}");
        }
    }
}
