//! One at a time per id. A claim travels into the blocking work that it guards, so that work whose caller has
//! gone away still excludes the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hanse_core::Uuid;
use tokio::sync::OwnedMutexGuard;

#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>);

/// Held while something is done to one id.
pub(crate) struct Claim {
    _guard: OwnedMutexGuard<()>,
}

impl Claims {
    /// Waits for its turn.
    pub(crate) async fn wait(&self, id: Uuid) -> Claim {
        Claim { _guard: self.lock_of(id).lock_owned().await }
    }

    /// Nothing if someone else has it.
    pub(crate) fn take(&self, id: Uuid) -> Option<Claim> {
        self.lock_of(id).try_lock_owned().ok().map(|guard| Claim { _guard: guard })
    }

    fn lock_of(&self, id: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What only the map still knows is neither held nor awaited.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        locks.entry(id).or_default().clone()
    }
}
