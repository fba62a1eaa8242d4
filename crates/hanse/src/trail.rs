//! `hanse admin audit export`.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use hanse_audit::Range;
use hanse_core::{Context, Cx, Error, Result, Timestamp};
use hanse_store::Db;

/// Events in memory at once.
const PAGE: u32 = 500;

/// Whoever follows sees an event this long after it happened: several control planes do not commit in the order of
/// their clocks, and what is behind us is not looked at again.
const SETTLED: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_secs(1);

/// The times that an operator names.
///
/// # Errors
/// 400 for what is no time, or for an end before the begin.
pub fn range(since: Option<&str>, until: Option<&str>) -> Result<Range> {
    let range = Range {
        since: since.map(Timestamp::parse).transpose()?,
        until: until.map(Timestamp::parse).transpose()?,
    };
    match (range.since, range.until) {
        (Some(since), Some(until)) if since > until => {
            Err(Error::bad_request("--since must not be later than --until"))
        }
        _ => Ok(range),
    }
}

/// Writes the events of that time, oldest first, one JSON object a line; then, if `follow`, those that come.
///
/// # Errors
/// If the database cannot be read or the output not be written; a reader who has gone is none.
pub async fn export(cx: &Cx, db: &Db, out: &mut impl Write, range: Range, follow: bool) -> Result<()> {
    let begun = cx.now();
    let end = range.until.unwrap_or(Timestamp(i64::MAX));
    let mut position = None;
    loop {
        let known = match follow {
            true => Timestamp(cx.now().0 - i64::try_from(SETTLED.as_micros()).unwrap_or(0)),
            false => Timestamp(begun.0 + 1),
        };
        let now = Range { until: Some(known.min(end)), ..range };
        let (events, next) = hanse_audit::page(db, now, position, PAGE).await?;
        position = next;
        let mut text = String::new();
        events.iter().for_each(|event| text.push_str(&format!("{event}\n")));
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            other => other.context("cannot write the events")?,
        }
        if events.len() < PAGE as usize {
            if !follow || known >= end {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hanse_core::ManualClock;
    use hanse_policy::{Grant, Rule, Verb};
    use hanse_testkit::{context, databases};
    use serde_json::Value;

    use super::*;

    const VERB: Verb = Verb::new("identity:create_user", Rule::Admin);

    async fn done(cx: &Cx, clock: &ManualClock, db: &Db, target: &str) {
        clock.advance(Duration::from_secs(1));
        let grant = Grant::operator(cx, VERB, target);
        db.write(cx, &grant, |_| Box::pin(async { Ok(()) })).await.unwrap();
    }

    fn targets(text: &[u8]) -> Vec<String> {
        let lines = std::str::from_utf8(text).unwrap().lines();
        let target =
            |line| serde_json::from_str::<Value>(line).unwrap()["target"]["id"].as_str().unwrap().to_owned();
        lines.map(target).collect()
    }

    #[tokio::test]
    async fn an_export_has_every_event_once_and_in_order_over_several_pages() {
        let (cx, clock) = context();
        for test in databases(&cx, &[hanse_store::MIGRATIONS]).await {
            let all: Vec<String> = (0..1003).map(|number| number.to_string()).collect();
            for target in &all {
                done(&cx, &clock, &test.db, target).await;
            }
            let mut out = Vec::new();
            export(&cx, &test.db, &mut out, Range::default(), false).await.unwrap();
            assert_eq!(targets(&out), all, "{}", test.engine);
            let since = Timestamp(cx.now().0 - 2_000_000);
            let range = Range { since: Some(since), until: Some(cx.now()) };
            let mut out = Vec::new();
            export(&cx, &test.db, &mut out, range, false).await.unwrap();
            assert_eq!(targets(&out), ["1000", "1001"], "{}", test.engine);
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_follows_sees_what_comes_and_ends_with_the_time_named() {
        for test in databases(&context().0, &[hanse_store::MIGRATIONS]).await {
            let (cx, clock) = context();
            done(&cx, &clock, &test.db, "before").await;
            let out = Shared::default();
            let range = Range { since: None, until: Some(cx.now().plus(Duration::from_secs(60))) };
            let following = {
                let (cx, db, mut out) = (cx.clone(), test.db.clone(), out.clone());
                tokio::spawn(async move { export(&cx, &db, &mut out, range, true).await })
            };
            done(&cx, &clock, &test.db, "meanwhile").await;
            while targets(&out.0.lock().unwrap()).len() < 2 {
                clock.advance(Duration::from_secs(2));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            clock.advance(Duration::from_secs(120));
            done(&cx, &clock, &test.db, "too late").await;
            following.await.unwrap().unwrap();
            assert_eq!(targets(&out.0.lock().unwrap()), ["before", "meanwhile"], "{}", test.engine);
        }
    }

    #[tokio::test]
    async fn a_reader_who_has_gone_ends_the_export_and_a_full_disk_is_an_error() {
        struct Broken(ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (cx, clock) = context();
        for test in databases(&cx, &[hanse_store::MIGRATIONS]).await {
            done(&cx, &clock, &test.db, "a").await;
            let mut gone = Broken(ErrorKind::BrokenPipe);
            export(&cx, &test.db, &mut gone, Range::default(), false).await.unwrap();
            let mut full = Broken(ErrorKind::StorageFull);
            assert!(export(&cx, &test.db, &mut full, Range::default(), false).await.is_err());
        }
    }

    #[test]
    fn times_are_read_and_must_be_in_order() {
        assert!(range(Some("2026-11-22T17:30:00Z"), Some("2026-11-22T17:30:00Z")).is_ok());
        assert!(range(Some("yesterday"), None).is_err());
        assert!(range(Some("2026-11-23T00:00:00Z"), Some("2026-11-22T00:00:00Z")).is_err());
    }
}
