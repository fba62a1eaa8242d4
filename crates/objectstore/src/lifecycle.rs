//! The rules by which objects, versions and uploads end: how they are put and shown. `expiry` follows them.
//!
//! Source: S3 User Guide, "Managing the lifecycle of objects"; S3 API Reference, `LifecycleRule`.

use hanse_core::Timestamp;
use s3s::dto::{self, ExpirationStatus};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::Decided;
use crate::conditions::{seconds, time};
use crate::fault::error;
use crate::record::LifecycleRule;
use crate::tagging;

/// Source: S3 User Guide, "Lifecycle configuration elements".
const RULES_MAX: usize = 1000;
const ID_MAX: usize = 255;
const KEPT_MAX: i32 = 100;
const DAY: i64 = 86_400;

fn malformed(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::MalformedXML, message)
}

fn invalid(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidArgument, message)
}

fn days(days: Option<i32>, what: &str) -> S3Result<Option<i32>> {
    match days {
        Some(days) if days < 1 => Err(invalid(format!("'{what}' must be a positive integer"))),
        days => Ok(days),
    }
}

/// What of the objects a rule is about.
fn filter(rule: &mut LifecycleRule, filter: dto::LifecycleRuleFilter) -> S3Result<()> {
    let many = [
        filter.and.is_some(),
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    if many.iter().filter(|is_there| **is_there).count() > 1 {
        return Err(malformed("A filter has one condition; And joins more."));
    }
    let (and, tag) = (filter.and, filter.tag);
    rule.prefix = filter.prefix;
    rule.larger_than = filter.object_size_greater_than;
    rule.smaller_than = filter.object_size_less_than;
    let mut tags: Vec<dto::Tag> = tag.into_iter().collect();
    if let Some(and) = and {
        rule.prefix = and.prefix;
        rule.larger_than = and.object_size_greater_than;
        rule.smaller_than = and.object_size_less_than;
        tags = and.tags.unwrap_or_default();
    }
    rule.tags = tagging::checked(tags)?;
    if rule.larger_than.is_some_and(|size| size < 0) || rule.smaller_than.is_some_and(|size| size < 1) {
        return Err(invalid("The size of a filter is not valid."));
    }
    if let (Some(larger), Some(smaller)) = (rule.larger_than, rule.smaller_than)
        && larger >= smaller
    {
        return Err(invalid("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'"));
    }
    Ok(())
}

/// # Errors
/// `MalformedXML`, `InvalidArgument`; `NotImplemented` for moves to other storage classes.
fn read(given: dto::LifecycleRule, index: usize) -> S3Result<LifecycleRule> {
    let not_offered = given.transitions.is_some_and(|all| !all.is_empty())
        || given.noncurrent_version_transitions.is_some_and(|all| !all.is_empty());
    if not_offered {
        let message = "There are no other storage classes that objects could be moved to.";
        return Err(error(S3ErrorCode::NotImplemented, message));
    }
    let mut rule = LifecycleRule {
        id: given.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("rule-{}", index + 1)),
        is_enabled: match given.status.as_str() {
            ExpirationStatus::ENABLED => true,
            ExpirationStatus::DISABLED => false,
            _ => return Err(malformed("The status of a rule is Enabled or Disabled.")),
        },
        ..LifecycleRule::default()
    };
    if rule.id.len() > ID_MAX {
        return Err(invalid("ID length should not exceed allowed limit of 255"));
    }
    match (given.filter, given.prefix) {
        (Some(_), Some(_)) | (None, None) => return Err(malformed("A rule has a filter.")),
        (Some(given), None) => filter(&mut rule, given)?,
        (None, Some(prefix)) => (rule.prefix, rule.is_old) = (Some(prefix), true),
    }
    if let Some(expiration) = given.expiration {
        rule.expire_days = days(expiration.days, "Days")?;
        rule.expire_date = expiration.date.as_ref().map(seconds);
        rule.expire_lone_markers = expiration.expired_object_delete_marker == Some(true);
        let ways = [
            rule.expire_days.is_some(),
            rule.expire_date.is_some(),
            expiration.expired_object_delete_marker.is_some(),
        ];
        if ways.iter().filter(|is_there| **is_there).count() != 1 {
            return Err(malformed("An expiration has days, or a date, or is about delete markers."));
        }
        if rule.expire_date.is_some_and(|date| date % DAY != 0) {
            return Err(invalid("'Date' must be at midnight GMT"));
        }
        if rule.expire_lone_markers && !rule.tags.is_empty() {
            return Err(error(
                S3ErrorCode::InvalidRequest,
                "Delete markers have no tags that a filter could be about.",
            ));
        }
    }
    if let Some(noncurrent) = given.noncurrent_version_expiration {
        rule.noncurrent_days = days(noncurrent.noncurrent_days, "NoncurrentDays")?;
        rule.noncurrent_kept = noncurrent.newer_noncurrent_versions;
        if rule.noncurrent_days.is_none() {
            return Err(malformed("The expiration of noncurrent versions has days."));
        }
        if rule.noncurrent_kept.is_some_and(|kept| !(1..=KEPT_MAX).contains(&kept)) {
            return Err(invalid("'NewerNoncurrentVersions' must be between 1 and 100"));
        }
    }
    if let Some(abort) = given.abort_incomplete_multipart_upload {
        rule.abort_days = days(abort.days_after_initiation, "DaysAfterInitiation")?;
        if rule.abort_days.is_none() {
            return Err(malformed("What aborts uploads has days."));
        }
        if !rule.tags.is_empty() || rule.larger_than.is_some() || rule.smaller_than.is_some() {
            let message = "AbortIncompleteMultipartUpload cannot be specified with tags or sizes: uploads have none yet.";
            return Err(error(S3ErrorCode::InvalidRequest, message));
        }
    }
    let does = [
        rule.expire_days.is_some() || rule.expire_date.is_some() || rule.expire_lone_markers,
        rule.noncurrent_days.is_some(),
        rule.abort_days.is_some(),
    ];
    if !does.contains(&true) {
        return Err(error(
            S3ErrorCode::InvalidRequest,
            "At least one action needs to be specified in a rule.",
        ));
    }
    Ok(rule)
}

fn shown(rule: &LifecycleRule) -> dto::LifecycleRule {
    let tag =
        |(key, value): &(String, String)| dto::Tag { key: Some(key.clone()), value: Some(value.clone()) };
    let conditions = usize::from(rule.prefix.is_some())
        + rule.tags.len()
        + usize::from(rule.larger_than.is_some())
        + usize::from(rule.smaller_than.is_some());
    let mut filter = dto::LifecycleRuleFilter::default();
    if conditions > 1 {
        filter.and = Some(dto::LifecycleRuleAndOperator {
            prefix: rule.prefix.clone(),
            tags: (!rule.tags.is_empty()).then(|| rule.tags.iter().map(tag).collect()),
            object_size_greater_than: rule.larger_than,
            object_size_less_than: rule.smaller_than,
        });
    } else {
        filter.prefix.clone_from(&rule.prefix);
        filter.tag = rule.tags.first().map(tag);
        filter.object_size_greater_than = rule.larger_than;
        filter.object_size_less_than = rule.smaller_than;
    }
    let expires = rule.expire_days.is_some() || rule.expire_date.is_some() || rule.expire_lone_markers;
    let expiration = expires.then(|| dto::LifecycleExpiration {
        days: rule.expire_days,
        date: rule.expire_date.map(|date| time(Timestamp::from_seconds(date))),
        expired_object_delete_marker: rule.expire_lone_markers.then_some(true),
    });
    let noncurrent = rule.noncurrent_days.map(|days| dto::NoncurrentVersionExpiration {
        noncurrent_days: Some(days),
        newer_noncurrent_versions: rule.noncurrent_kept,
    });
    let abort =
        rule.abort_days.map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: Some(days) });
    let status = if rule.is_enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    dto::LifecycleRule {
        id: Some(rule.id.clone()),
        status: ExpirationStatus::from_static(status),
        prefix: rule.prefix.clone().filter(|_| rule.is_old),
        filter: (!rule.is_old).then_some(filter),
        expiration,
        noncurrent_version_expiration: noncurrent,
        abort_incomplete_multipart_upload: abort,
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

impl ObjectStore {
    pub(crate) fn show_lifecycle(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketLifecycleConfigurationOutput>> {
        let rules = &decided.bucket()?.lifecycle;
        if rules.is_empty() {
            return Err(error(
                S3ErrorCode::NoSuchLifecycleConfiguration,
                "The lifecycle configuration does not exist",
            ));
        }
        let rules = Some(rules.iter().map(shown).collect());
        Ok(S3Response::new(dto::GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
    }

    pub(crate) async fn put_lifecycle(
        &self,
        input: dto::PutBucketLifecycleConfigurationInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketLifecycleConfigurationOutput>> {
        let given = input.lifecycle_configuration.map(|given| given.rules).unwrap_or_default();
        if given.is_empty() || given.len() > RULES_MAX {
            return Err(malformed("A configuration has one to a thousand rules."));
        }
        let rules: Vec<LifecycleRule> =
            given.into_iter().enumerate().map(|(index, rule)| read(rule, index)).collect::<S3Result<_>>()?;
        for (index, rule) in rules.iter().enumerate() {
            if rules.iter().take(index).any(|other| other.id == rule.id) {
                return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
            }
        }
        self.configure(&decided, move |bucket| bucket.lifecycle.clone_from(&rules)).await?;
        Ok(S3Response::new(dto::PutBucketLifecycleConfigurationOutput::default()))
    }

    pub(crate) async fn delete_lifecycle(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteBucketLifecycleOutput>> {
        self.configure(&decided, |bucket| bucket.lifecycle.clear()).await?;
        Ok(S3Response::with_status(dto::DeleteBucketLifecycleOutput {}, http::StatusCode::NO_CONTENT))
    }
}
