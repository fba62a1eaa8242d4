//! Events on their way to a webhook, one after the other, in the order of the changes of each bucket. One is sent until the receiver has
//! taken it, so that it may come twice: after a failure it waits, longer each time, and the others with it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hanse_core::{Result, Timestamp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::events::Event;
use super::post::{Answer, Poster, Webhook};
use crate::{ObjectStore, keys, record};

/// Between tries, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Nobody wakes us where the operator has brought a webhook back that events wait for, or the like.
const LOOK: Duration = Duration::from_secs(60);
/// How long an event is sent that nobody takes.
const KEPT: Duration = Duration::from_secs(72 * 3600);
/// How often one is sent that the receiver refuses.
const TRIES: u32 = 3;
/// Of one bucket before it is another one's turn, and of all that are looked at together.
const OF_A_BUCKET: usize = 100;
const AT_ONCE: usize = 1000;
/// So many are forgotten in one transaction.
const BATCH: usize = 50;
/// For how they are counted.
const KIND: &str = "notifications";

/// An event with where it lies.
struct Waiting {
    place: Vec<u8>,
    number: u64,
    event: Event,
}

/// What a round came to.
enum Round {
    /// Nothing is left that could be sent now.
    Done,
    More,
    Failed,
}

/// What sends to one webhook.
struct Sender<'s> {
    store: &'s ObjectStore,
    webhook: &'s Webhook,
    poster: Poster,
    /// Sent, and perhaps not forgotten yet.
    sent: Vec<Vec<u8>>,
    /// How often the first one of a bucket was refused.
    refused: HashMap<Vec<u8>, u32>,
}

impl Sender<'_> {
    /// The next events: the oldest of each bucket.
    fn next(&self) -> Result<Vec<Waiting>> {
        let view = self.store.0.store.view()?;
        let start = keys::events_of(&self.webhook.name);
        let mut scan = view.scan_prefix(&start)?;
        let (mut all, mut of_bucket): (Vec<Waiting>, (Vec<u8>, usize)) = (Vec::new(), (Vec::new(), 0));
        while let Some(found) = scan.next() {
            let (place, record) = found?;
            let Some(number) = keys::number_of_event(&place) else { continue };
            let bucket = place.get(..start.len() + keys::ID).unwrap_or_default().to_vec();
            if of_bucket.0 != bucket {
                of_bucket = (bucket, 0);
            }
            of_bucket.1 += 1;
            if of_bucket.1 > OF_A_BUCKET {
                scan.seek(&[&of_bucket.0[..], &[0xff]].concat())?;
                continue;
            }
            if !self.sent.contains(&place) {
                all.push(Waiting { place, number, event: record::from_json(&record.value)? });
            }
            if all.len() == AT_ONCE {
                break;
            }
        }
        Ok(all)
    }

    /// Forgets what was sent. Nothing but deletions: a disk that is full takes those.
    async fn forget(&mut self) -> Result<()> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let gone = self.sent.clone();
        self.store
            .0
            .store
            .write(move |change| gone.iter().try_for_each(|place| change.delete(place)))
            .await?;
        self.sent.clear();
        Ok(())
    }

    fn give_up(&mut self, waiting: Waiting, why: &str) {
        tracing::warn!(
            webhook = self.webhook.name,
            bucket = waiting.event.bucket,
            "an event is given up: {why}"
        );
        self.store.0.notifications.lost.fetch_add(1, Relaxed);
        self.refused.remove(&waiting.place);
        self.sent.push(waiting.place);
    }

    async fn round(&mut self) -> Result<Round> {
        self.forget().await?;
        let all = self.next()?;
        if all.is_empty() {
            return Ok(Round::Done);
        }
        for waiting in all {
            if self.store.0.cx.now().since(Timestamp(waiting.event.at)) >= KEPT {
                self.give_up(waiting, "nobody has taken it for three days");
            } else {
                let message = waiting.event.message(waiting.number, &self.store.0.settings.region);
                match self.poster.post(Bytes::from(message.to_string())).await {
                    Ok(Answer::Taken) => {
                        self.refused.remove(&waiting.place);
                        self.sent.push(waiting.place);
                    }
                    Ok(Answer::Refused(status)) => {
                        let tries = self.refused.entry(waiting.place.clone()).or_default();
                        *tries += 1;
                        if *tries < TRIES {
                            tracing::warn!(webhook = self.webhook.name, %status, "a webhook refuses an event");
                            self.forget().await?;
                            return Ok(Round::Failed);
                        }
                        self.give_up(waiting, &format!("the receiver answers {status}"));
                    }
                    Err(error) => {
                        tracing::warn!(
                            webhook = self.webhook.name,
                            "an event cannot be sent: {}",
                            error.detail()
                        );
                        self.forget().await?;
                        return Ok(Round::Failed);
                    }
                }
            }
            if self.sent.len() >= BATCH {
                self.forget().await?;
            }
        }
        self.forget().await?;
        Ok(Round::More)
    }
}

impl ObjectStore {
    /// Sends events to all webhooks until `stop` is cancelled.
    pub(crate) async fn keep_notifying(&self, stop: &CancellationToken) {
        let all = self.0.settings.webhooks.iter().map(|webhook| self.keep_sending(webhook, stop));
        futures_util::future::join_all(all).await;
    }

    async fn keep_sending(&self, webhook: &Webhook, stop: &CancellationToken) {
        let poster = match Poster::new(&self.0.cx, webhook) {
            Ok(poster) => poster,
            Err(error) => {
                tracing::error!(webhook = webhook.name, "nothing is sent to a webhook: {}", error.detail());
                return;
            }
        };
        let mut sender = Sender { store: self, webhook, poster, sent: Vec::new(), refused: HashMap::new() };
        let mut pause = PAUSE;
        loop {
            let woken = self.0.notifications.wake.notified();
            tokio::pin!(woken);
            // From here on: what is written down while the round goes on wakes the next one.
            woken.as_mut().enable();
            let Some(round) = stop.run_until_cancelled(sender.round()).await else { break };
            self.count_lost();
            let rest = async {
                match round {
                    Ok(Round::More) => pause = PAUSE,
                    Ok(Round::Done) => {
                        pause = PAUSE;
                        let _ = tokio::time::timeout(LOOK, woken).await;
                    }
                    Ok(Round::Failed) => {
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                    Err(error) => {
                        tracing::error!("events cannot be read or forgotten: {}", error.detail());
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            };
            if stop.run_until_cancelled(rest).await.is_none() {
                break;
            }
        }
        // So that the next process does not send again what was taken.
        if let Err(error) = sender.forget().await {
            tracing::warn!("events that were sent are not forgotten: {}", error.detail());
        }
    }

    /// Makes known what was lost since the last time.
    fn count_lost(&self) {
        let lost = self.0.notifications.lost.swap(0, Relaxed);
        if lost > 0 {
            tracing::warn!(events = lost, "events of notifications were lost");
            self.0.metrics.lost(KIND, lost);
        }
    }
}
