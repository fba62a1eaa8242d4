//! Lines of the log on their way into the target bucket: gathered in memory, put as objects in the background. Requests never wait
//! for that. What there is no room for, or what the target does not take, is lost and counted, as is what was not delivered yet
//! when the process is killed: the log is no audit trail.
//!
//! Deliveries are no requests, so that they are not logged themselves: a bucket may be its own target.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Error, Kind, Result, Timestamp};
use s3s::Body;
use s3s::dto::StreamingBlob;
use time::{Date, OffsetDateTime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{KeyFormat, Logging};
use crate::ObjectStore;
use crate::access::{Asker, Decided};
use crate::conditions::Conditions;
use crate::encryption::Under;
use crate::fault;
use crate::notifications::Cause;
use crate::objects::Incoming;
use crate::record::{Lock, Meta};
use crate::verbs::PUT_OBJECT;

/// How long lines are gathered.
const EVERY: Duration = Duration::from_secs(300);
/// So much of one bucket is not gathered longer.
const FULL: usize = 1 << 20;
/// What is kept of one bucket, and of all together, in bytes; further lines are lost.
const BUCKET_MAX: usize = 4 << 20;
const ALL_MAX: usize = 32 << 20;
/// For how it is counted.
const KIND: &str = "access_log_lines";

/// What goes into the same object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Whose {
    project_id: String,
    bucket: String,
    logging: Logging,
    /// Days since 1970, where objects hold one day.
    day: Option<i32>,
}

#[derive(Default)]
struct Gathered {
    texts: HashMap<Whose, String>,
    bytes: usize,
    lost: u64,
}

/// Lines that were not delivered yet.
#[derive(Default)]
pub struct Logs {
    gathered: Mutex<Gathered>,
    is_full: Notify,
}

fn date_of(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn lines(text: &str) -> u64 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u64
}

impl Gathered {
    /// Whether there was room.
    fn add(&mut self, whose: Whose, text: &str) -> Option<usize> {
        let own = self.texts.get(&whose).map_or(0, String::len);
        if own + text.len() > BUCKET_MAX || self.bytes + text.len() > ALL_MAX {
            self.lost += lines(text);
            return None;
        }
        self.bytes += text.len();
        self.texts.entry(whose).or_default().push_str(text);
        Some(own + text.len())
    }
}

impl Logs {
    fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines of a request, if there is room.
    pub fn add(&self, project_id: String, bucket: String, logging: Logging, at: Timestamp, lines: &str) {
        let day = (logging.format == KeyFormat::ByEvent).then(|| date_of(at).date().to_julian_day());
        let size = self.gathered().add(Whose { project_id, bucket, logging, day }, lines);
        if size.is_some_and(|size| size >= FULL) {
            self.is_full.notify_one();
        }
    }
}

impl Whose {
    /// The key of a log that is delivered now. Source: S3 User Guide, "Logging requests with server access logging", "Log object
    /// key format".
    fn key(&self, region: &str, now: Timestamp, unique: &str) -> String {
        let stamp = |at: OffsetDateTime| {
            let (date, time) = (at.date(), at.time());
            format!(
                "{:04}-{:02}-{:02}-{:02}-{:02}-{:02}-{unique}",
                date.year(),
                u8::from(date.month()),
                date.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
        };
        let event = self.day.and_then(|day| Date::from_julian_day(day).ok());
        let at = event.map_or_else(|| date_of(now), |day| day.midnight().assume_utc());
        match self.logging.format {
            KeyFormat::Default | KeyFormat::Simple => format!("{}{}", self.logging.prefix, stamp(at)),
            KeyFormat::ByDelivery | KeyFormat::ByEvent => format!(
                "{}{}/{region}/{}/{:04}/{:02}/{:02}/{}",
                self.logging.prefix,
                self.project_id,
                self.bucket,
                at.year(),
                u8::from(at.month()),
                at.day(),
                stamp(at)
            ),
        }
    }
}

impl ObjectStore {
    /// Puts what was gathered into the target buckets; says how many objects that were.
    pub async fn deliver_logs(&self) -> usize {
        let gathered = std::mem::take(&mut *self.0.logs.gathered());
        let (mut count, mut lost) = (0, gathered.lost);
        for (whose, text) in gathered.texts {
            match self.deliver(&whose, &text).await {
                Ok(()) => count += 1,
                // Perhaps later, if there is room for it until then.
                Err(error) if error.kind() == Kind::Unavailable => {
                    let mut now = self.0.logs.gathered();
                    let _ = now.add(whose, &text);
                }
                Err(error) => {
                    tracing::warn!(
                        bucket = whose.bucket,
                        target = whose.logging.target,
                        "an access log cannot be delivered: {}",
                        error.message()
                    );
                    lost += lines(&text);
                }
            }
        }
        if lost > 0 {
            tracing::warn!(lines = lost, "lines of access logs were lost");
            self.0.metrics.lost(KIND, lost);
        }
        count
    }

    /// The same way as any other put: within the project's limits, encrypted, locked if the bucket locks what it gets.
    async fn deliver(&self, whose: &Whose, text: &str) -> Result<()> {
        let target = self.find_bucket(&whose.logging.target)?;
        let target = target.filter(|target| target.project_id == whose.project_id);
        let target = target.ok_or_else(|| Error::not_found("Bucket", &whose.logging.target))?;
        let cx = self.0.cx.background("access-log");
        let unique = cx.hex_id().to_uppercase();
        let key = whose.key(&self.0.settings.region, cx.now(), unique.get(..16).unwrap_or_default());
        let decided = Decided {
            asker: Asker { cx, caller: None, is_tls: true, facts: None },
            project_id: target.project_id.clone(),
            verb: PUT_OBJECT,
            bucket: Some(target),
            hides_missing: false,
        };
        let incoming = Incoming {
            key,
            body: Some(StreamingBlob::from(Body::from(Bytes::copy_from_slice(text.as_bytes())))),
            meta: Meta { content_type: Some("text/plain".to_owned()), ..Meta::default() },
            conditions: Conditions::default(),
            headers: http::HeaderMap::new(),
            trailers: None,
            under: Under::Project,
            lock: Lock::default(),
            manifest: None,
            cause: Cause::Put,
            ends_at: None,
        };
        let put = self.put(&decided, incoming).await;
        put.map(|_| ()).map_err(|error| fault::internal(&error))
    }

    /// Delivers until `stop` is cancelled. What comes after that is the caller's to deliver.
    pub(crate) async fn keep_delivering_logs(&self, stop: &CancellationToken) {
        loop {
            let full = self.0.logs.is_full.notified();
            if stop.run_until_cancelled(tokio::time::timeout(EVERY, full)).await.is_none() {
                return;
            }
            self.deliver_logs().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(format: KeyFormat, day: Option<i32>) -> Whose {
        let logging = Logging { target: "logs".to_owned(), prefix: "p/".to_owned(), format };
        Whose { project_id: "mine".to_owned(), bucket: "b".to_owned(), logging, day }
    }

    #[test]
    fn keys_follow_their_format() {
        let now = Timestamp::parse("2026-11-29T15:47:06Z").unwrap();
        let day = date_of(Timestamp::parse("2026-11-28T23:59:59Z").unwrap()).date().to_julian_day();
        for (format, day, expected) in [
            (KeyFormat::Default, None, "p/2026-11-29-15-47-06-U"),
            (KeyFormat::Simple, None, "p/2026-11-29-15-47-06-U"),
            (KeyFormat::ByDelivery, None, "p/mine/r/b/2026/11/29/2026-11-29-15-47-06-U"),
            (KeyFormat::ByEvent, Some(day), "p/mine/r/b/2026/11/28/2026-11-28-00-00-00-U"),
        ] {
            assert_eq!(whose(format, day).key("r", now, "U"), expected);
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut gathered = Gathered::default();
        let text = "x".repeat(FULL - 1) + "\n";
        let own = whose(KeyFormat::Default, None);
        for _ in 0..BUCKET_MAX / FULL {
            assert!(gathered.add(own.clone(), &text).is_some());
        }
        assert_eq!((gathered.add(own, &text), gathered.lost), (None, 1));
        for day in 1..=(ALL_MAX - BUCKET_MAX) / FULL {
            let other = whose(KeyFormat::ByEvent, i32::try_from(day).ok());
            assert!(gathered.add(other, &text).is_some());
        }
        assert_eq!((gathered.add(whose(KeyFormat::Simple, None), &text), gathered.lost), (None, 2));
        assert_eq!(gathered.bytes, ALL_MAX);
    }
}
