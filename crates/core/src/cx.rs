//! The context of one call: time, randomness, request id and deadline are handed in, never taken from the
//! process, so that a test owns them.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Kind, Result};

/// Microseconds since 1970-01-01 UTC; what the store keeps as BIGINT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, duration: Duration) -> Timestamp {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// The time from `earlier` to this, zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000))
    }

    /// `2026-11-22T17:30:00Z`: Nova and Glance.
    pub fn iso_seconds(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `2026-11-22T17:30:00.000000Z`: Keystone.
    pub fn iso_micros(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S.%6fZ")
    }

    /// `2026-11-22T17:30:00.000000`: Cinder, and Nova's `OS-SRV-USG`.
    pub fn iso_naive(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S.%6f")
    }

    fn format(self, format: &str) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map(|time| time.strftime(format).to_string())
            .unwrap_or_else(|_| "9999-12-31T23:59:59Z".to_owned())
    }

    /// Reads what the APIs write, with or without fraction and `Z`.
    ///
    /// # Errors
    /// 400 if it is no such time.
    pub fn parse(text: &str) -> Result<Timestamp> {
        let with_zone = if text.ends_with('Z') { text.to_owned() } else { format!("{text}Z") };
        with_zone
            .parse::<jiff::Timestamp>()
            .map(|time| Timestamp(time.as_microsecond()))
            .map_err(|_| Error::bad_request(format!("'{text}' is not a time such as 2026-11-22T17:30:00Z")))
    }
}

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

pub trait Random: Send + Sync {
    /// Fills the buffer with bytes that nobody can guess (or, in tests, that everybody can repeat).
    fn fill(&self, buffer: &mut [u8]);
}

#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where time comes from")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

#[derive(Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[expect(clippy::disallowed_methods, reason = "the one place where randomness comes from")]
    #[expect(
        clippy::expect_used,
        reason = "without randomness no secret is safe, so the process must not go on"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives no randomness");
    }
}

/// A clock for tests that moves only when told.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(time: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(time.0))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Repeatable "randomness" for tests (splitmix64).
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom(Mutex::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// What every verb takes first. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    request_id: Arc<str>,
    source: Option<IpAddr>,
    deadline: Option<Timestamp>,
}

impl Cx {
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Cx {
        Cx { clock, random, request_id: "req-none".into(), source: None, deadline: None }
    }

    /// Real time and real randomness.
    pub fn system() -> Cx {
        Cx::new(Arc::new(SystemClock), Arc::new(OsRandom))
    }

    /// The context of one request: a new `req-…` id and a deadline.
    #[must_use]
    pub fn request(&self, timeout: Duration) -> Cx {
        let mut cx = self.clone();
        cx.request_id = format!("req-{}", self.uuid()).into();
        cx.deadline = Some(self.now().plus(timeout));
        cx
    }

    /// The same for a request that came from this address.
    #[must_use]
    pub fn from_source(mut self, source: Option<IpAddr>) -> Cx {
        self.source = source.map(|address| address.to_canonical());
        self
    }

    /// The same, for work that no request is waiting for; `name` stands where a request id would.
    #[must_use]
    pub fn background(&self, name: &str) -> Cx {
        let mut cx = self.clone();
        cx.request_id = name.into();
        cx.source = None;
        cx.deadline = None;
        cx
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random (version 4) UUID.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// An id as Keystone writes it: 32 hexadecimal digits.
    pub fn hex_id(&self) -> String {
        self.uuid().simple().to_string()
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The address that the request came from, if it came over a network.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// # Errors
    /// 408 once the deadline of the request has passed.
    pub fn check_deadline(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if self.now() > deadline => {
                Err(Error::new(Kind::Timeout, "The request took longer than its time limit."))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_the_apis_do() {
        let time = Timestamp::parse("2026-11-22T17:30:00.250000Z").unwrap();
        assert_eq!(time.iso_seconds(), "2026-11-22T17:30:00Z");
        assert_eq!(time.iso_micros(), "2026-11-22T17:30:00.250000Z");
        assert_eq!(time.iso_naive(), "2026-11-22T17:30:00.250000");
        assert_eq!(Timestamp::parse("2026-11-22T17:30:00.25").unwrap(), time);
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn a_seeded_context_repeats_itself() {
        let cx = || Cx::new(Arc::new(ManualClock::at(Timestamp(0))), Arc::new(SeededRandom::new(42)));
        assert_eq!(cx().uuid(), cx().uuid());
        let one = cx();
        assert_ne!(one.uuid(), one.uuid());
        assert_eq!(one.hex_id().len(), 32);
    }

    #[test]
    fn a_request_past_its_deadline_says_so() {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let cx = Cx::new(clock.clone(), Arc::new(OsRandom)).request(Duration::from_secs(1));
        cx.check_deadline().unwrap();
        clock.advance(Duration::from_secs(2));
        assert_eq!(cx.check_deadline().unwrap_err().kind(), Kind::Timeout);
    }
}
