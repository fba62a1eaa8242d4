//! What the agent has to say, kept so that every connection gets all of it, then each change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hanse_core::Uuid;
use hanse_node::documents::Kind;
use hanse_node::reports::{Report, State};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Reports {
    all: Arc<Mutex<Numbered>>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Numbered {
    last: u64,
    reports: BTreeMap<(Kind, Uuid), (u64, Report)>,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports { all: Arc::default(), newest: watch::channel(0).0 }
    }
}

impl Reports {
    /// Notes a report and returns whether it says something new.
    pub fn set(&self, report: Report) -> bool {
        let number = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (report.kind, report.id);
            if all.reports.get(&key).is_some_and(|(_, known)| *known == report) {
                return false;
            }
            all.last += 1;
            let number = all.last;
            all.reports.insert(key, (number, report));
            number
        };
        self.newest.send_replace(number);
        true
    }

    pub fn get(&self, kind: Kind, id: Uuid) -> Option<Report> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.reports.get(&(kind, id)).map(|(_, report)| report.clone())
    }

    pub fn is_ready(&self, kind: Kind, id: Uuid) -> bool {
        self.get(kind, id).is_some_and(|report| report.state == State::Ready)
    }

    pub fn retain(&self, keep: impl Fn(&(Kind, Uuid)) -> bool) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).reports.retain(|key, _| keep(key));
    }

    fn since(&self, number: u64) -> Vec<(u64, Report)> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newer: Vec<_> = all.reports.values().filter(|(known, _)| *known > number).cloned().collect();
        newer.sort_by_key(|(number, _)| *number);
        newer
    }

    pub fn stream(&self) -> BoxStream<'static, Report> {
        let start = (self.clone(), self.newest.subscribe(), 0);
        futures_util::stream::unfold(start, async |(reports, mut newest, sent)| {
            loop {
                let newer = reports.since(sent);
                if let Some((number, _)) = newer.last() {
                    let (sent, batch) = (*number, newer.into_iter().map(|(_, report)| report));
                    return Some((
                        futures_util::stream::iter(batch.collect::<Vec<_>>()),
                        (reports, newest, sent),
                    ));
                }
                newest.changed().await.ok()?;
            }
        })
        .flatten()
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(revision: i64) -> Report {
        Report { kind: Kind::Disk, id: Uuid::nil(), revision, state: State::Ready }
    }

    #[tokio::test]
    async fn a_stream_begins_with_everything_and_goes_on_with_changes() {
        let reports = Reports::default();
        assert!(reports.set(report(1)));
        assert!(!reports.set(report(1)), "the same again is nothing new");
        let mut stream = reports.stream();
        assert_eq!(stream.next().await, Some(report(1)));
        reports.set(report(2));
        assert_eq!(stream.next().await, Some(report(2)));
        assert_eq!(reports.stream().next().await, Some(report(2)), "only the newest of each object");
    }
}
