//! One task at a time for each object.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_core::Uuid;
use hanse_node::documents::Kind;
use tokio::sync::{Notify, Semaphore};

type Key = (Kind, Uuid);
type Look = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;

/// How many objects are worked on at once.
const AT_ONCE: usize = 16;

/// Who is being looked at. Cheap to clone.
#[derive(Clone)]
pub struct Turns {
    running: Arc<Mutex<HashMap<Key, Arc<Notify>>>>,
    failures: Arc<Mutex<HashMap<Key, u32>>>,
    permits: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            running: Arc::default(),
            failures: Arc::default(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Turns {
    /// Looks at the object in a task of its own; if one is at it already, that one looks once more.
    pub fn take(&self, key: Key, look: impl Fn() -> Look + Send + 'static) {
        let woken = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(woken) = running.get(&key) {
                woken.notify_one();
                return;
            }
            let woken = Arc::new(Notify::new());
            running.insert(key, woken.clone());
            woken
        };
        let turns = self.clone();
        tokio::spawn(async move {
            loop {
                let again = {
                    // The semaphore is never closed.
                    let _permit = turns.permits.acquire().await;
                    look().await
                };
                match again {
                    Some(pause) => _ = tokio::time::timeout(pause, woken.notified()).await,
                    None if turns.leave(key, &woken) => return,
                    None => {}
                }
            }
        });
    }

    /// Ends the task unless someone asked for another look meanwhile.
    fn leave(&self, key: Key, woken: &Notify) -> bool {
        use futures_util::FutureExt;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.notified().now_or_never().is_some() {
            return false;
        }
        running.remove(&key);
        true
    }

    /// Counts a failure and returns how many there were in a row.
    pub fn failed(&self, key: Key) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        *count += 1;
        *count
    }

    pub fn succeeded(&self, key: Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_look_asked_for_during_a_look_is_not_lost_and_never_runs_beside_it() {
        let turns = Turns::default();
        let (looks, beside) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let key = (Kind::Disk, Uuid::nil());
        let gate = Arc::new(Notify::new());
        let (inner_looks, inner_beside, inner_gate) = (looks.clone(), beside.clone(), gate.clone());
        let take = move || {
            let (looks, beside, gate) = (inner_looks.clone(), inner_beside.clone(), inner_gate.clone());
            turns.take(key, move || {
                let (looks, beside, gate) = (looks.clone(), beside.clone(), gate.clone());
                Box::pin(async move {
                    assert_eq!(beside.fetch_add(1, Ordering::SeqCst), 0);
                    gate.notified().await;
                    beside.fetch_sub(1, Ordering::SeqCst);
                    looks.fetch_add(1, Ordering::SeqCst);
                    None
                })
            });
        };
        take();
        tokio::task::yield_now().await;
        take();
        take();
        for _ in 0..1000 {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }
}
