//! Server access logging: how it is put and shown. `record` writes the lines, `delivery` brings them into the target bucket.
//!
//! Source: S3 API Reference, PutBucketLogging; S3 User Guide, "Logging requests with server access logging".

mod delivery;
mod record;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use crate::ObjectStore;
use crate::access::{Asker, Decided};
use crate::buckets::check_name;
use crate::fault::{self, error};
use crate::policy::Principal;
use crate::record::Bucket;

pub use delivery::Logs;
pub use record::Heard;

/// Of a prefix, in bytes: what follows it must fit into a key, too.
const PREFIX_MAX: usize = 512;

/// Where a bucket's requests are written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Logging {
    pub target: String,
    pub prefix: String,
    pub format: KeyFormat,
}

/// What the keys of logs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyFormat {
    /// The default, which the client left out.
    Default,
    /// The time of the delivery behind the prefix.
    Simple,
    /// Owner, region, bucket and day of the delivery behind the prefix.
    ByDelivery,
    /// The same with the day of the requests: a log holds one day.
    ByEvent,
}

/// What is learnt of a request while it is answered.
#[derive(Clone, Default)]
pub struct Noted(Arc<Notes>);

#[derive(Default)]
struct Notes {
    known: OnceLock<Known>,
    /// Of DeleteObjects, which has a line for each key.
    deleted: Mutex<Vec<Deletion>>,
}

/// The bucket that a request is about, and who asks.
pub struct Known {
    pub bucket: Arc<Bucket>,
    /// As policies name them; `None` for nobody.
    pub requester: Option<String>,
}

/// One key of DeleteObjects.
pub struct Deletion {
    pub key: String,
    pub version: Option<String>,
    /// The code of the error, if it was not deleted.
    pub error: Option<String>,
}

impl Noted {
    /// The first bucket counts: that of the path.
    pub fn know(&self, bucket: &Arc<Bucket>, asker: &Asker) {
        self.0.known.get_or_init(|| Known {
            bucket: bucket.clone(),
            requester: asker.caller.as_ref().and_then(|caller| Principal::of(caller)).map(|own| own.arn()),
        });
    }

    pub fn known(&self) -> Option<&Known> {
        self.0.known.get()
    }

    pub fn deleted(&self, deletion: Deletion) {
        self.0.deleted.lock().unwrap_or_else(PoisonError::into_inner).push(deletion);
    }

    pub fn deletions(&self) -> Vec<Deletion> {
        std::mem::take(&mut *self.0.deleted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The one answer to every target that will not do, so that nobody learns of buckets of others.
fn no_target() -> S3Error {
    error(
        S3ErrorCode::InvalidTargetBucketForLogging,
        "The target bucket for logging does not exist, is not owned by the project of the bucket, or may not be written to by you.",
    )
}

fn read_format(given: Option<dto::TargetObjectKeyFormat>) -> S3Result<KeyFormat> {
    let Some(given) = given else { return Ok(KeyFormat::Default) };
    let malformed = |message: &str| Err(error(S3ErrorCode::MalformedXML, message));
    match (given.simple_prefix, given.partitioned_prefix) {
        (Some(_), None) => Ok(KeyFormat::Simple),
        (None, Some(partitioned)) => {
            match partitioned.partition_date_source.as_ref().map(dto::PartitionDateSource::as_str) {
                Some(dto::PartitionDateSource::EVENT_TIME) => Ok(KeyFormat::ByEvent),
                None | Some(dto::PartitionDateSource::DELIVERY_TIME) => Ok(KeyFormat::ByDelivery),
                Some(_) => malformed("The date of a partition is EventTime or DeliveryTime."),
            }
        }
        _ => malformed("A format of keys is SimplePrefix or PartitionedPrefix."),
    }
}

fn show_format(format: KeyFormat) -> Option<dto::TargetObjectKeyFormat> {
    let partitioned = |date: &'static str| dto::TargetObjectKeyFormat {
        partitioned_prefix: Some(dto::PartitionedPrefix {
            partition_date_source: Some(dto::PartitionDateSource::from_static(date)),
        }),
        simple_prefix: None,
    };
    match format {
        KeyFormat::Default => None,
        KeyFormat::Simple => Some(dto::TargetObjectKeyFormat {
            partitioned_prefix: None,
            simple_prefix: Some(dto::SimplePrefix {}),
        }),
        KeyFormat::ByDelivery => Some(partitioned(dto::PartitionDateSource::DELIVERY_TIME)),
        KeyFormat::ByEvent => Some(partitioned(dto::PartitionDateSource::EVENT_TIME)),
    }
}

impl ObjectStore {
    pub(crate) fn show_logging(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketLoggingOutput>> {
        let logging_enabled = decided.bucket()?.logging.clone().map(|logging| dto::LoggingEnabled {
            target_bucket: logging.target,
            target_grants: None,
            target_object_key_format: show_format(logging.format),
            target_prefix: logging.prefix,
        });
        Ok(S3Response::new(dto::GetBucketLoggingOutput { logging_enabled }))
    }

    /// The target is of the same project, and the caller may write there: that stands in the place of the permission that AWS
    /// wants for its log delivery service.
    pub(crate) async fn put_logging(
        &self,
        input: dto::PutBucketLoggingInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketLoggingOutput>> {
        let Some(wanted) = input.bucket_logging_status.logging_enabled else {
            self.configure(&decided, |bucket| bucket.logging = None).await?;
            return Ok(S3Response::new(dto::PutBucketLoggingOutput {}));
        };
        if wanted.target_grants.is_some_and(|grants| !grants.is_empty()) {
            return Err(error(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        let prefix = wanted.target_prefix;
        if prefix.len() > PREFIX_MAX || prefix.chars().any(char::is_control) {
            let message =
                format!("A target prefix has at most {PREFIX_MAX} bytes, and no control characters.");
            return Err(error(S3ErrorCode::InvalidArgument, message));
        }
        let format = read_format(wanted.target_object_key_format)?;
        let target = self.find_bucket(&wanted.target_bucket).map_err(|error| fault::of(&error))?;
        let is_own = |target: &Arc<Bucket>| {
            target.project_id == decided.project_id && check_name(&target.name).is_ok()
        };
        let target = target.filter(is_own).ok_or_else(no_target)?;
        let named = Some((prefix.as_str(), None));
        self.may(&decided.asker, &target, "PutObject", named, None).map_err(|_| no_target())?;
        let logging = Logging { target: target.name.clone(), prefix, format };
        self.configure(&decided, move |bucket| bucket.logging = Some(logging.clone())).await?;
        Ok(S3Response::new(dto::PutBucketLoggingOutput {}))
    }
}
