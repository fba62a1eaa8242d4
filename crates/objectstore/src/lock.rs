//! Object lock: versions that cannot be deleted until a day, or while somebody holds them. Nothing here keeps anybody from
//! writing a new version, or from a delete marker: what is locked stays beneath.
//!
//! Source: S3 User Guide, "Locking objects with Object Lock".

use hanse_core::Timestamp;
use s3s::dto::{self, ObjectLockLegalHoldStatus as Hold, ObjectLockRetentionMode as Mode};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use time::{Duration, OffsetDateTime};

use crate::ObjectStore;
use crate::access::Decided;
use crate::conditions::time;
use crate::fault::{self, error};
use crate::record::{
    Bucket, BucketLock, DefaultRetention, Lock, Period, Retention, RetentionMode, Versioning,
};

/// Source: S3 API Reference, `DefaultRetention`.
const DAYS_MAX: i32 = 36_500;
const YEARS_MAX: i32 = 100;
const MICROS: i64 = 1_000_000;

fn invalid(message: &str) -> S3Error {
    error(S3ErrorCode::InvalidRequest, message)
}

fn malformed(message: &str) -> S3Error {
    error(S3ErrorCode::MalformedXML, message)
}

pub fn no_lock() -> S3Error {
    invalid("Bucket is missing Object Lock Configuration")
}

pub fn locked() -> S3Error {
    error(S3ErrorCode::AccessDenied, "Access Denied because object protected by object lock.")
}

fn mode(name: &str) -> S3Result<RetentionMode> {
    match name {
        Mode::GOVERNANCE => Ok(RetentionMode::Governance),
        Mode::COMPLIANCE => Ok(RetentionMode::Compliance),
        _ => Err(malformed("The retention mode is GOVERNANCE or COMPLIANCE.")),
    }
}

pub fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => Mode::GOVERNANCE,
        RetentionMode::Compliance => Mode::COMPLIANCE,
    }
}

fn hold(name: &str) -> S3Result<bool> {
    match name {
        Hold::ON => Ok(true),
        Hold::OFF => Ok(false),
        _ => Err(malformed("The legal hold is ON or OFF.")),
    }
}

pub fn hold_name(is_held: bool) -> &'static str {
    if is_held { Hold::ON } else { Hold::OFF }
}

fn micros(date: &dto::Timestamp) -> i64 {
    let nanos = OffsetDateTime::from(date.clone()).unix_timestamp_nanos();
    i64::try_from(nanos / 1000).unwrap_or(i64::MAX)
}

fn retention(mode: RetentionMode, until: &dto::Timestamp, now: Timestamp) -> S3Result<Retention> {
    let until = micros(until);
    if until <= now.0 {
        return Err(error(S3ErrorCode::InvalidArgument, "The retain until date must be in the future!"));
    }
    Ok(Retention { mode, until })
}

/// What a write asks for.
///
/// # Errors
/// `InvalidRequest`, `InvalidArgument`, `MalformedXML`.
pub fn asked(
    name: Option<&str>,
    until: Option<&dto::Timestamp>,
    held: Option<&str>,
    now: Timestamp,
) -> S3Result<Lock> {
    let retention = match (name, until) {
        (None, None) => None,
        (Some(name), Some(until)) => Some(retention(mode(name)?, until, now)?),
        _ => {
            return Err(error(
                S3ErrorCode::InvalidArgument,
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    Ok(Lock { retention, legal_hold: held.map(hold).transpose()?.unwrap_or(false) })
}

/// Takes that out of an input of PutObject, CopyObject or CreateMultipartUpload.
macro_rules! asked_lock {
    ($input:expr, $now:expr) => {
        crate::lock::asked(
            $input.object_lock_mode.as_ref().map(|mode| mode.as_str()),
            $input.object_lock_retain_until_date.as_ref(),
            $input.object_lock_legal_hold_status.as_ref().map(|status| status.as_str()),
            $now,
        )
    };
}
pub(crate) use asked_lock;

impl DefaultRetention {
    fn from(&self, now: Timestamp) -> Retention {
        let at = OffsetDateTime::from_unix_timestamp(now.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let until = match self.period {
            Period::Days(days) => at.saturating_add(Duration::days(i64::from(days))),
            // The 29th of February has no day in other years; the 28th is one too early.
            Period::Years(years) => at
                .replace_year(at.year().saturating_add(years))
                .or_else(|_| at.saturating_add(Duration::DAY).replace_year(at.year().saturating_add(years)))
                .unwrap_or_else(|_| at.saturating_add(Duration::days(i64::from(years) * 366))),
        };
        let until = until.unix_timestamp().saturating_mul(MICROS).saturating_add(now.0.rem_euclid(MICROS));
        Retention { mode: self.mode, until }
    }
}

impl Lock {
    /// Whether a version that has this cannot be deleted now.
    pub fn holds(&self, now: Timestamp, bypasses_governance: bool) -> bool {
        self.legal_hold
            || self.retention.is_some_and(|own| {
                own.until > now.0 && !(bypasses_governance && own.mode == RetentionMode::Governance)
            })
    }
}

/// The lock that a new version gets.
///
/// # Errors
/// `InvalidRequest` if the bucket has no locks.
pub fn of_new(bucket: &Bucket, asked: Lock, now: Timestamp) -> S3Result<Lock> {
    match &bucket.lock {
        None if asked.is_none() => Ok(asked),
        None => Err(no_lock()),
        Some(own) => {
            let default = || own.default.as_ref().map(|default| default.from(now));
            Ok(Lock { retention: asked.retention.or_else(default), ..asked })
        }
    }
}

/// Whether one retention may take the place of another.
fn check_change(
    old: Option<Retention>,
    new: Option<Retention>,
    now: Timestamp,
    bypasses: bool,
) -> S3Result<()> {
    let Some(old) = old.filter(|old| old.until > now.0) else { return Ok(()) };
    let is_longer = new.is_some_and(|new| new.until >= old.until);
    let fine = match old.mode {
        RetentionMode::Compliance => {
            is_longer && new.is_some_and(|new| new.mode == RetentionMode::Compliance)
        }
        // To the mode that nobody can end, or a longer time, needs no right.
        RetentionMode::Governance => is_longer || bypasses,
    };
    if fine { Ok(()) } else { Err(locked()) }
}

impl ObjectStore {
    /// Whether the request says that it passes over retention in governance mode, and the caller may.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn bypasses(
        &self,
        decided: &Decided,
        asked: Option<bool>,
        object: (&str, Option<&str>),
    ) -> S3Result<bool> {
        if asked != Some(true) {
            return Ok(false);
        }
        let bucket = decided.bucket()?;
        self.may(&decided.asker, bucket, "BypassGovernanceRetention", Some(object), None)?;
        Ok(true)
    }

    pub(crate) fn lock_configuration(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetObjectLockConfigurationOutput>> {
        let lock = decided.bucket()?.lock.as_ref().ok_or_else(|| {
            error(
                S3ErrorCode::ObjectLockConfigurationNotFoundError,
                "Object Lock configuration does not exist for this bucket",
            )
        })?;
        let rule = lock.default.as_ref().map(|default| {
            let (days, years) = match default.period {
                Period::Days(days) => (Some(days), None),
                Period::Years(years) => (None, Some(years)),
            };
            let mode = Some(Mode::from_static(mode_name(default.mode)));
            dto::ObjectLockRule { default_retention: Some(dto::DefaultRetention { days, mode, years }) }
        });
        let enabled = Some(dto::ObjectLockEnabled::from_static(dto::ObjectLockEnabled::ENABLED));
        let configuration = dto::ObjectLockConfiguration { object_lock_enabled: enabled, rule };
        Ok(S3Response::new(dto::GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(configuration),
        }))
    }

    pub(crate) async fn put_lock_configuration(
        &self,
        input: dto::PutObjectLockConfigurationInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectLockConfigurationOutput>> {
        let wanted =
            input.object_lock_configuration.ok_or_else(|| malformed("There is no configuration."))?;
        let enabled = wanted.object_lock_enabled.as_ref().map(dto::ObjectLockEnabled::as_str);
        if enabled != Some(dto::ObjectLockEnabled::ENABLED) {
            return Err(malformed("ObjectLockEnabled is Enabled."));
        }
        let default = match wanted.rule.and_then(|rule| rule.default_retention) {
            None => None,
            Some(default) => {
                let name = default.mode.ok_or_else(|| malformed("A default retention has a mode."))?;
                let period = match (default.days, default.years) {
                    (Some(days), None) if (1..=DAYS_MAX).contains(&days) => Period::Days(days),
                    (None, Some(years)) if (1..=YEARS_MAX).contains(&years) => Period::Years(years),
                    (None, None) | (Some(_), Some(_)) => {
                        return Err(malformed("A default retention has either days or years."));
                    }
                    _ => {
                        let message =
                            "Default retention period must be a positive integer value of at most 100 years";
                        return Err(error(S3ErrorCode::InvalidArgument, message));
                    }
                };
                Some(DefaultRetention { mode: mode(name.as_str())?, period })
            }
        };
        let set = move |bucket: &mut Bucket| {
            if bucket.versioning != Versioning::Enabled {
                let message =
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
                return Err(error(S3ErrorCode::InvalidBucketState, message));
            }
            bucket.lock = Some(BucketLock { default: default.clone() });
            Ok(())
        };
        self.try_configure(&decided, set).await?;
        Ok(S3Response::new(dto::PutObjectLockConfigurationOutput::default()))
    }

    /// The lock of an object in a bucket that has locks.
    fn lock_of(&self, decided: &Decided, key: &str, version: Option<&str>) -> S3Result<Lock> {
        let bucket = decided.bucket()?;
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let found = self.find(&view, bucket, key, version).map_err(|e| decided.missing(e))?;
        if bucket.lock.is_none() {
            return Err(no_lock());
        }
        Ok(found.object.rest.lock)
    }

    pub(crate) fn retention(
        &self,
        input: &dto::GetObjectRetentionInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetObjectRetentionOutput>> {
        let own =
            self.lock_of(decided, &input.key, input.version_id.as_deref())?.retention.ok_or_else(missing)?;
        let retention = dto::ObjectLockRetention {
            mode: Some(Mode::from_static(mode_name(own.mode))),
            retain_until_date: Some(time(Timestamp(own.until))),
        };
        Ok(S3Response::new(dto::GetObjectRetentionOutput { retention: Some(retention) }))
    }

    pub(crate) fn legal_hold(
        &self,
        input: &dto::GetObjectLegalHoldInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetObjectLegalHoldOutput>> {
        let lock = self.lock_of(decided, &input.key, input.version_id.as_deref())?;
        if lock.is_none() {
            return Err(missing());
        }
        let status = Some(Hold::from_static(hold_name(lock.legal_hold)));
        Ok(S3Response::new(dto::GetObjectLegalHoldOutput {
            legal_hold: Some(dto::ObjectLockLegalHold { status }),
        }))
    }

    pub(crate) async fn put_retention(
        &self,
        input: dto::PutObjectRetentionInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectRetentionOutput>> {
        let now = decided.asker.cx.now();
        let wanted = input.retention.ok_or_else(|| malformed("There is no retention."))?;
        // An empty one takes away what is there.
        let new = match (wanted.mode, wanted.retain_until_date) {
            (None, None) => None,
            (Some(name), Some(until)) => Some(retention(mode(name.as_str())?, &until, now)?),
            _ => return Err(malformed("A retention has a mode and a date.")),
        };
        let object = (input.key.as_str(), input.version_id.as_deref());
        let bypasses = self.bypasses(&decided, input.bypass_governance_retention, object)?;
        let set = move |lock: &mut Lock| {
            check_change(lock.retention, new, now, bypasses)?;
            lock.retention = new;
            Ok(())
        };
        self.set_lock(&decided, input.key, input.version_id, set).await?;
        Ok(S3Response::new(dto::PutObjectRetentionOutput::default()))
    }

    pub(crate) async fn put_legal_hold(
        &self,
        input: dto::PutObjectLegalHoldInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectLegalHoldOutput>> {
        let status = input.legal_hold.and_then(|wanted| wanted.status);
        let is_held = hold(status.as_ref().map_or("", Hold::as_str))?;
        let set = move |lock: &mut Lock| {
            lock.legal_hold = is_held;
            Ok(())
        };
        self.set_lock(&decided, input.key, input.version_id, set).await?;
        Ok(S3Response::new(dto::PutObjectLegalHoldOutput::default()))
    }

    async fn set_lock(
        &self,
        decided: &Decided,
        key: String,
        version: Option<String>,
        set: impl FnOnce(&mut Lock) -> S3Result<()> + Send + 'static,
    ) -> S3Result<()> {
        let bucket = decided.bucket()?.clone();
        if bucket.lock.is_none() {
            return Err(no_lock());
        }
        self.change_object(bucket, key, version, move |object| set(&mut object.rest.lock)).await
    }
}

fn missing() -> S3Error {
    error(
        S3ErrorCode::NoSuchObjectLockConfiguration,
        "The specified object does not have a ObjectLock configuration",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mode: RetentionMode, until: i64) -> Option<Retention> {
        Some(Retention { mode, until })
    }

    #[test]
    fn a_retention_gives_way_only_to_what_holds_longer() {
        use RetentionMode::{Compliance, Governance};
        let now = Timestamp(10);
        for (old, new, alone, with_right) in [
            (None, None, true, true),
            (None, until(Compliance, 20), true, true),
            (until(Governance, 20), until(Governance, 21), true, true),
            (until(Governance, 20), until(Compliance, 20), true, true),
            (until(Governance, 20), until(Governance, 19), false, true),
            (until(Governance, 20), None, false, true),
            (until(Compliance, 20), until(Compliance, 21), true, true),
            (until(Compliance, 20), until(Compliance, 19), false, false),
            (until(Compliance, 20), until(Governance, 30), false, false),
            (until(Compliance, 20), None, false, false),
            // Over.
            (until(Compliance, 10), None, true, true),
        ] {
            assert_eq!(check_change(old, new, now, false).is_ok(), alone, "{old:?} {new:?}");
            assert_eq!(check_change(old, new, now, true).is_ok(), with_right, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_default_counts_days_and_years_of_the_calendar() {
        let default = |period| DefaultRetention { mode: RetentionMode::Governance, period };
        let day = |text: &str| Timestamp::parse(text).unwrap();
        for (from, period, until) in [
            ("2026-11-29T10:00:00Z", Period::Days(3), "2026-12-02T10:00:00Z"),
            ("2026-11-29T10:00:00Z", Period::Years(2), "2028-11-29T10:00:00Z"),
            ("2028-02-29T10:00:00Z", Period::Years(1), "2029-03-01T10:00:00Z"),
        ] {
            assert_eq!(default(period).from(day(from)).until, day(until).0, "{from} {period:?}");
        }
    }
}
