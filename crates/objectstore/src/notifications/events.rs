//! What happened to an object, written down in the transaction in which it happened: there is no change without its event, and no
//! event without its change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use hanse_core::{Cx, Result, Timestamp};
use hanse_logstore::Change;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::access::Decided;
use crate::record::{self, Bucket, Head};
use crate::{ObjectStore, keys, query, versions};

/// What the cloud does by itself: ends objects by the rules of the lifecycle, delivers logs. Source: S3 User Guide, "Event
/// message structure", of lifecycle events.
const SERVICE: &str = "s3.amazonaws.com";
const NOBODY: &str = "Anonymous";

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Put,
    /// A form.
    Post,
    Copy,
    CompleteMultipartUpload,
    PutTagging,
    DeleteTagging,
    Delete,
    Lifecycle,
}

impl Cause {
    /// What it is called where an object is there afterwards, as it is not after the last two.
    fn event(self) -> &'static str {
        match self {
            Cause::Put | Cause::Delete | Cause::Lifecycle => "ObjectCreated:Put",
            Cause::Post => "ObjectCreated:Post",
            Cause::Copy => "ObjectCreated:Copy",
            Cause::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Cause::PutTagging => "ObjectTagging:Put",
            Cause::DeleteTagging => "ObjectTagging:Delete",
        }
    }
}

/// What senders and transactions share.
pub struct Notifications {
    /// So many events of a bucket wait for one webhook; further ones are lost, and counted. The oldest are kept, since the
    /// receiver has to learn of them first.
    waiting_max: u64,
    /// Whether the transaction that runs has written an event down. There is one at a time.
    has_told: AtomicBool,
    pub(super) wake: Notify,
    /// Events that there was no room for.
    pub(super) lost: AtomicU64,
}

/// Where a change comes from: for the id of the version that it makes, and for whoever is told of it.
pub struct Origin {
    /// What of the id of a new version is not time.
    pub chance: String,
    pub cause: Cause,
    principal: String,
    source: String,
    request_id: String,
    shared: Arc<Notifications>,
}

impl Notifications {
    pub fn new(waiting_max: u64) -> Notifications {
        let (has_told, lost) = (AtomicBool::new(false), AtomicU64::new(0));
        Notifications { waiting_max, has_told, wake: Notify::new(), lost }
    }
}

impl ObjectStore {
    /// A transaction that may tell of something, which is sent as soon as it is on the disk.
    ///
    /// # Errors
    /// What the transaction comes to.
    pub(crate) async fn write_and_tell<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Change<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.0.notifications.clone();
        let run = move |change: &mut Change<'_>| {
            let done = job(change)?;
            Ok((done, shared.has_told.swap(false, Relaxed)))
        };
        let (done, has_told) = self.0.store.write(run).await?;
        if has_told {
            self.0.notifications.wake.notify_waiters();
        }
        Ok(done)
    }

    pub(crate) fn origin(&self, decided: &Decided, cause: Cause) -> Origin {
        let (cx, caller) = (&decided.asker.cx, decided.asker.caller.as_ref());
        let source = cx.source().map(|source| source.to_string());
        let principal = match (caller, &source) {
            (Some(caller), _) => &caller.user_id,
            (None, Some(_)) => NOBODY,
            (None, None) => SERVICE,
        };
        self.make_origin(cx, cause, principal, source.as_deref())
    }

    pub(crate) fn origin_of_lifecycle(&self) -> Origin {
        self.make_origin(&self.0.cx, Cause::Lifecycle, SERVICE, None)
    }

    fn make_origin(&self, cx: &Cx, cause: Cause, principal: &str, source: Option<&str>) -> Origin {
        Origin {
            chance: versions::chance(cx),
            cause,
            principal: principal.to_owned(),
            source: source.unwrap_or(SERVICE).to_owned(),
            request_id: cx.request_id().to_owned(),
            shared: self.0.notifications.clone(),
        }
    }
}

/// An event that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which one of the bucket's it is for the webhook.
    turn: u64,
    /// Such as `ObjectCreated:Put`.
    name: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// The id of the configuration.
    rule: String,
    pub bucket: String,
    project_id: String,
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version: Option<String>,
    principal: String,
    source: String,
    request_id: String,
}

/// The events of a bucket, but for themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Queue {
    /// The number of the last one. They are in the order of the changes, which is what `sequencer` tells.
    last: u64,
    /// How many there have been for each webhook, by its name.
    told: BTreeMap<String, u64>,
}

/// Tells that an object is there, or has other tags.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn changed(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    head: &Head,
    now: Timestamp,
    origin: &Origin,
) -> Result<()> {
    let object = (Some(head.size), Some(head.etag.clone()), versions::shown(bucket, head));
    tell(change, bucket, origin, origin.cause.event(), key, object, now)
}

/// Tells that an object, or a version of it, is gone, or hidden by a delete marker.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn removed(
    change: &mut Change<'_>,
    bucket: &Bucket,
    key: &str,
    version: Option<String>,
    makes_marker: bool,
    now: Timestamp,
    origin: &Origin,
) -> Result<()> {
    let event = match (origin.cause, makes_marker) {
        (Cause::Lifecycle, false) => "LifecycleExpiration:Delete",
        (Cause::Lifecycle, true) => "LifecycleExpiration:DeleteMarkerCreated",
        (_, false) => "ObjectRemoved:Delete",
        (_, true) => "ObjectRemoved:DeleteMarkerCreated",
    };
    tell(change, bucket, origin, event, key, (None, None, version), now)
}

fn tell(
    change: &mut Change<'_>,
    bucket: &Bucket,
    origin: &Origin,
    name: &str,
    key: &str,
    (size, etag, version): (Option<u64>, Option<String>, Option<String>),
    now: Timestamp,
) -> Result<()> {
    let Some(rule) = bucket.notifications.iter().find(|rule| rule.is_about(name, key)) else {
        return Ok(());
    };
    let place = keys::queue(&bucket.id);
    let mut queue: Queue = match change.get(&place)? {
        Some(found) => record::from_json(&found.value)?,
        None => Queue::default(),
    };
    let waiting = keys::events(&rule.webhook, &bucket.id);
    let oldest = change.scan_prefix(&waiting)?.next().transpose()?;
    let oldest: Option<Event> = oldest.map(|(_, found)| record::from_json(&found.value)).transpose()?;
    let told = queue.told.entry(rule.webhook.clone()).or_default();
    // They go from the oldest on, so that all from there to the last one wait.
    if oldest.is_some_and(|oldest| told.saturating_sub(oldest.turn) + 1 >= origin.shared.waiting_max) {
        origin.shared.lost.fetch_add(1, Relaxed);
        return Ok(());
    }
    queue.last += 1;
    *told += 1;
    let event = Event {
        turn: *told,
        name: name.to_owned(),
        at: now.0,
        rule: rule.id.clone(),
        bucket: bucket.name.clone(),
        project_id: bucket.project_id.clone(),
        key: key.to_owned(),
        size,
        etag,
        version,
        principal: origin.principal.clone(),
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
    };
    change.put(&place, record::to_json(&queue)?, &[])?;
    change.put(&keys::event(&rule.webhook, &bucket.id, queue.last), record::to_json(&event)?, &[])?;
    origin.shared.has_told.store(true, Relaxed);
    Ok(())
}

/// Forgets the numbers of a bucket that goes. Its events stay until they are sent.
///
/// # Errors
/// None today.
pub fn forget(change: &mut Change<'_>, bucket: &Bucket) -> Result<()> {
    change.delete(&keys::queue(&bucket.id))
}

impl Event {
    /// As receivers get it. Source: S3 User Guide, "Event message structure", version 2.3.
    pub fn message(&self, number: u64, region: &str) -> Value {
        let mut object = json!({
            "key": query::escape(&self.key, true),
            "sequencer": format!("{number:016X}"),
        });
        let fields = [
            ("size", self.size.map(Value::from)),
            ("eTag", self.etag.clone().map(Value::from)),
            ("versionId", self.version.clone().map(Value::from)),
        ];
        for (name, value) in fields {
            if let (Some(value), Some(object)) = (value, object.as_object_mut()) {
                object.insert(name.to_owned(), value);
            }
        }
        let at = Timestamp(self.at).iso_micros();
        let record = json!({
            "eventVersion": "2.3",
            "eventSource": "aws:s3",
            "awsRegion": region,
            // Milliseconds.
            "eventTime": format!("{}Z", at.get(..23).unwrap_or_default()),
            "eventName": self.name,
            "userIdentity": { "principalId": self.principal },
            "requestParameters": { "sourceIPAddress": self.source },
            "responseElements": { "x-amz-request-id": self.request_id },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.rule,
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": { "principalId": self.project_id },
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": object,
            },
        });
        json!({ "Records": [record] })
    }
}
