//! A question to the database that many have at once and one asks.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hanse_core::{Error, Kind, Result};
use tokio::sync::Mutex;

/// Lets one ask and gives the answer to all who wait, so that a database which is slow or silent gets one question
/// at a time and nobody waits for longer than two of them. Cheap to clone.
pub struct Coalesced<T>(Arc<Inner<T>>);

impl<T> Clone for Coalesced<T> {
    fn clone(&self) -> Coalesced<T> {
        Coalesced(self.0.clone())
    }
}

struct Inner<T> {
    /// How many questions have begun.
    begun: AtomicU64,
    /// Held by the one who asks.
    last: Mutex<Answer<T>>,
}

/// The number of a question, and what came of it.
struct Answer<T> {
    number: u64,
    result: Result<T, (Kind, String)>,
}

impl<T: Clone + Send + 'static> Default for Coalesced<T> {
    fn default() -> Coalesced<T> {
        let result = Err((Kind::Unavailable, String::new()));
        Coalesced(Arc::new(Inner {
            begun: AtomicU64::new(0),
            last: Mutex::new(Answer { number: 0, result }),
        }))
    }
}

impl<T: Clone + Send + 'static> Coalesced<T> {
    /// The answer to a question that began after this call: this one, or that of somebody who was faster. Who stops
    /// waiting does not take it from the others.
    ///
    /// # Errors
    /// What asking came to.
    pub async fn ask(&self, question: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.ask_unless(|| None, question).await
    }

    /// The same, unless `known` finds the answer while nobody is asking.
    ///
    /// # Errors
    /// What asking came to.
    pub async fn ask_unless(
        &self,
        known: impl FnOnce() -> Option<T> + Send + 'static,
        question: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let inner = self.0.clone();
        let before = inner.begun.load(Ordering::SeqCst);
        let asked = tokio::spawn(async move {
            let mut last = inner.last.lock().await;
            if last.number > before {
                return last.result.clone().map_err(|(kind, message)| Error::new(kind, message));
            }
            if let Some(known) = known() {
                return Ok(known);
            }
            let number = inner.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let result = question.await;
            let shared =
                result.as_ref().map(T::clone).map_err(|error| (error.kind(), error.message().to_owned()));
            *last = Answer { number, result: shared };
            result
        });
        asked.await.unwrap_or_else(|error| Err(Error::internal("a question was cut off").because(error)))
    }
}

/// Gives a question to the database a limit.
///
/// # Errors
/// 503 when it has passed.
pub async fn within<T>(limit: Duration, question: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, question).await.unwrap_or_else(|_| Err(silent()))
}

pub(crate) fn silent() -> Error {
    Error::unavailable("The database does not answer; try again.")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    /// Lets everything run that can.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn those_who_come_while_one_is_asking_share_the_next_answer() {
        let (shared, asked, go) =
            (Coalesced::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (shared, asked, go) = (shared.clone(), asked.clone(), go.clone());
            tokio::spawn(async move {
                let question = async move {
                    let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                    go.notified().await;
                    Ok(number)
                };
                shared.ask(question).await.unwrap()
            })
        };
        let first = ask();
        settle().await;
        let others: Vec<_> = (0..10).map(|_| ask()).collect();
        settle().await;
        go.notify_one();
        assert_eq!(first.await.unwrap(), 1);
        settle().await;
        go.notify_one();
        for other in others {
            assert_eq!(
                other.await.unwrap(),
                2,
                "an answer to a question from before they came is none to theirs"
            );
        }
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_the_next_asks_again() {
        let (shared, go) = (Coalesced::<u8>::default(), Arc::new(Notify::new()));
        let ask = || {
            let (shared, go) = (shared.clone(), go.clone());
            tokio::spawn(async move {
                let question = async move {
                    go.notified().await;
                    Err(silent())
                };
                shared.ask(question).await.unwrap_err().kind()
            })
        };
        let waiting: Vec<_> = (0..5).map(|_| ask()).collect();
        settle().await;
        go.notify_one();
        for kind in waiting {
            assert_eq!(kind.await.unwrap(), Kind::Unavailable);
        }
        assert_eq!(shared.ask(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(shared.ask_unless(|| Some(8), async { Err(silent()) }).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn who_stops_waiting_does_not_stop_the_question() {
        let (shared, go) = (Coalesced::<u8>::default(), Arc::new(Notify::new()));
        let (waiting, release) = (shared.clone(), go.clone());
        let impatient = tokio::spawn(async move {
            let question = async move {
                release.notified().await;
                Ok(1)
            };
            waiting.ask(question).await
        });
        settle().await;
        impatient.abort();
        settle().await;
        go.notify_one();
        settle().await;
        let last = shared.0.last.lock().await;
        assert_eq!((last.number, last.result.clone().ok()), (1, Some(1)));
    }
}
