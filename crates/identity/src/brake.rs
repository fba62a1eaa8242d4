//! Slows down whoever guesses passwords: so many failures a minute for one account from one source.
//!
//! Counted in memory and for each process: a restart forgives, and N processes allow N times as much. An attempt
//! counts from its begin, so that many at once are no way around.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hanse_core::{Error, Kind, Result, Timestamp};

const WINDOW: Duration = Duration::from_secs(60);
/// More accounts and sources than this are not remembered at once: further ones wait, so that nobody fills this to be
/// forgotten.
const ENTRIES_MAX: usize = 50_000;

#[derive(Debug)]
pub(crate) struct Brake {
    failures_max: u32,
    attempts: Mutex<HashMap<Key, Window>>,
}

/// The account as it was spelled, whether it exists or not, and where the attempt came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    account: String,
    source: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Timestamp,
    failures: u32,
}

impl Key {
    pub(crate) fn new(account: String, source: Option<IpAddr>) -> Key {
        // Whoever has one IPv6 address has a whole /64 of them.
        let source = source.map(|address| match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => {
                IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into())
            }
            other => other,
        });
        Key { account, source }
    }
}

fn too_many(began: Timestamp, now: Timestamp) -> Error {
    let left = began.plus(WINDOW).since(now).as_secs().saturating_add(1);
    let retry_after = u32::try_from(left).unwrap_or(60);
    Error::new(
        Kind::RateLimited { retry_after },
        format!("Too many failed attempts for this account; try again in {retry_after} seconds."),
    )
}

impl Brake {
    pub(crate) fn new(failures_max: u32) -> Brake {
        Brake { failures_max, attempts: Mutex::default() }
    }

    /// Counts an attempt as failed until [`Brake::forgive`] says otherwise.
    ///
    /// # Errors
    /// 429 with the time to wait if there were too many.
    pub(crate) fn begin(&self, now: Timestamp, key: &Key) -> Result<()> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= ENTRIES_MAX {
            attempts.retain(|_, window| now.since(window.began) < WINDOW);
            if attempts.len() >= ENTRIES_MAX && !attempts.contains_key(key) {
                return Err(too_many(now, now));
            }
        }
        let window = attempts.entry(key.clone()).or_insert(Window { began: now, failures: 0 });
        if now.since(window.began) >= WINDOW {
            *window = Window { began: now, failures: 0 };
        }
        if window.failures >= self.failures_max {
            return Err(too_many(window.began, now));
        }
        window.failures += 1;
        Ok(())
    }

    pub(crate) fn forgive(&self, key: &Key) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = attempts.get_mut(key) {
            window.failures = window.failures.saturating_sub(1);
            // What was refused before a hash was computed costs little, so it must leave nothing behind.
            if window.failures == 0 {
                attempts.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: &str, source: &str) -> Key {
        Key::new(account.to_owned(), Some(source.parse().unwrap()))
    }

    #[test]
    fn too_many_failures_wait_until_the_minute_is_over() {
        let brake = Brake::new(2);
        let (start, ada) = (Timestamp::from_seconds(1000), key("ada", "192.0.2.1"));
        brake.begin(start, &ada).unwrap();
        brake.begin(start, &ada).unwrap();
        let refused = brake.begin(start.plus(Duration::from_secs(20)), &ada).unwrap_err();
        assert_eq!(refused.kind(), Kind::RateLimited { retry_after: 41 });
        brake.begin(start, &key("ada", "192.0.2.2")).unwrap();
        brake.begin(start, &key("eve", "192.0.2.1")).unwrap();
        brake.begin(start.plus(WINDOW), &ada).unwrap();
    }

    #[test]
    fn nobody_is_forgotten_because_others_are_many() {
        let brake = Brake::new(1);
        let (start, ada) = (Timestamp(0), key("ada", "192.0.2.1"));
        brake.begin(start, &ada).unwrap();
        for number in 1..ENTRIES_MAX {
            brake.begin(start, &key(&number.to_string(), "192.0.2.1")).unwrap();
        }
        assert!(brake.begin(start, &key("one more", "192.0.2.1")).is_err());
        assert!(brake.begin(start, &ada).is_err());
        brake.begin(start.plus(WINDOW), &key("one more", "192.0.2.1")).unwrap();
    }

    #[test]
    fn a_success_does_not_count() {
        let brake = Brake::new(1);
        let ada = key("ada", "192.0.2.1");
        for _ in 0..5 {
            brake.begin(Timestamp(0), &ada).unwrap();
            brake.forgive(&ada);
        }
        assert!(brake.attempts.lock().unwrap().is_empty());
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        assert_eq!(key("ada", "2001:db8::1"), key("ada", "2001:db8::ffff"));
        assert_ne!(key("ada", "2001:db8::1"), key("ada", "2001:db8:0:1::1"));
    }
}
