//! Conditions of requests. Source: RFC 9110, section 13; S3 User Guide, "Conditional requests".

use hanse_core::Timestamp;
use s3s::dto::{ETagCondition, Timestamp as S3Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};
use time::OffsetDateTime;

use crate::fault;
use crate::record::Head;

/// What a request demands of the object that is there.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<S3Timestamp>,
    pub if_unmodified_since: Option<S3Timestamp>,
}

fn failed(which: &str) -> S3Error {
    fault::error(
        S3ErrorCode::PreconditionFailed,
        format!("At least one of the pre-conditions you specified did not hold: {which}"),
    )
}

/// With what tells the client which version it has. Source: RFC 9110, 15.4.5.
fn not_modified(head: &Head) -> S3Error {
    let mut error = fault::error(S3ErrorCode::NotModified, "Not Modified");
    if let Ok(tag) = http::HeaderValue::from_str(&format!("\"{}\"", head.etag)) {
        error.set_headers(http::HeaderMap::from_iter([(http::header::ETAG, tag)]));
    }
    error
}

/// Whether the tag is the one of the condition. Weak tags are never ours.
fn is(condition: &ETagCondition, head: &Head) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|tag| tag.value() == head.etag)
}

/// Seconds since 1970: dates in headers have no fractions.
pub fn seconds(time: &S3Timestamp) -> i64 {
    OffsetDateTime::from(time.clone()).unix_timestamp()
}

impl Conditions {
    /// For whoever reads: 304 where the client has it already.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NotModified`.
    pub fn check_read(&self, head: &Head) -> S3Result<()> {
        let modified = head.modified_at.seconds();
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !is(wanted, head) => return Err(failed("If-Match")),
            (None, Some(since)) if modified > seconds(since) => return Err(failed("If-Unmodified-Since")),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) if is(known, head) => Err(not_modified(head)),
            (None, Some(since)) if modified <= seconds(since) => Err(not_modified(head)),
            _ => Ok(()),
        }
    }

    /// For the source of a copy, where nothing is "not modified".
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check_source(&self, head: &Head) -> S3Result<()> {
        self.check_read(head).map_err(|_| failed("one about the source of the copy"))
    }

    /// For whoever writes; `None` if nothing is there.
    ///
    /// # Errors
    /// `PreconditionFailed`; `NoSuchKey` if something must be there and is not.
    pub fn check_write(&self, head: Option<&Head>) -> S3Result<()> {
        if let Some(wanted) = &self.if_match {
            let Some(head) = head else {
                return Err(fault::error(S3ErrorCode::NoSuchKey, "The specified key does not exist."));
            };
            if !is(wanted, head) {
                return Err(failed("If-Match"));
            }
        }
        match (&self.if_none_match, head) {
            (Some(known), Some(head)) if is(known, head) => Err(failed("If-None-Match")),
            _ => Ok(()),
        }
    }
}

/// As S3 writes it.
pub fn time(at: Timestamp) -> S3Timestamp {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1000);
    time.unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;

    fn head() -> Head {
        Head {
            modified_at: Timestamp(1_700_000_000_500_000),
            size: 1,
            etag: "abc".to_owned(),
            version: None,
            is_marker: false,
            ends_at: None,
        }
    }

    fn tag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.to_owned())))
    }

    fn at(second: i64) -> Option<S3Timestamp> {
        Some(time(Timestamp::from_seconds(second)))
    }

    #[test]
    fn reading_follows_the_order_of_rfc_9110() {
        let code = |conditions: Conditions| {
            conditions.check_read(&head()).err().map(|error| error.code().as_str().to_owned())
        };
        let none = Conditions::default;
        for (conditions, expected) in [
            (none(), None),
            (Conditions { if_match: tag("abc"), ..none() }, None),
            (Conditions { if_match: tag("x"), ..none() }, Some("PreconditionFailed")),
            (Conditions { if_match: Some(ETagCondition::Any), ..none() }, None),
            (Conditions { if_none_match: tag("abc"), ..none() }, Some("NotModified")),
            (Conditions { if_none_match: tag("x"), ..none() }, None),
            (Conditions { if_modified_since: at(1_700_000_000), ..none() }, Some("NotModified")),
            (Conditions { if_modified_since: at(1_699_999_999), ..none() }, None),
            (Conditions { if_unmodified_since: at(1_700_000_000), ..none() }, None),
            (Conditions { if_unmodified_since: at(1_699_999_999), ..none() }, Some("PreconditionFailed")),
            // The tag decides, whatever the date says.
            (Conditions { if_match: tag("abc"), if_unmodified_since: at(1), ..none() }, None),
            (Conditions { if_none_match: tag("x"), if_modified_since: at(1_800_000_000), ..none() }, None),
        ] {
            assert_eq!(code(conditions.clone()).as_deref(), expected, "{conditions:?}");
        }
    }

    #[test]
    fn writing_meets_what_is_there() {
        let code = |conditions: &Conditions, head: Option<&Head>| {
            conditions.check_write(head).err().map(|error| error.code().as_str().to_owned())
        };
        let only_new = Conditions { if_none_match: Some(ETagCondition::Any), ..Conditions::default() };
        assert_eq!(code(&only_new, None), None);
        assert_eq!(code(&only_new, Some(&head())).as_deref(), Some("PreconditionFailed"));
        let only_that = Conditions { if_match: tag("abc"), ..Conditions::default() };
        assert_eq!(code(&only_that, Some(&head())), None);
        assert_eq!(code(&only_that, None).as_deref(), Some("NoSuchKey"));
        let another = Conditions { if_match: tag("x"), ..Conditions::default() };
        assert_eq!(code(&another, Some(&head())).as_deref(), Some("PreconditionFailed"));
    }
}
