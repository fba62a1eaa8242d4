//! What access keys are worth in a snapshot, once somebody has signed with them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::AccessKey;

/// So many stay known, a few hundred bytes each. Beyond that it begins anew.
const MAX: usize = 4096;

/// Worked out at the first request and right for all others, since a snapshot never changes: each request asks twice, and opening
/// the secret and following the roles would be a tenth of what a small GET takes.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys(RwLock<HashMap<String, Arc<AccessKey>>>);

impl KnownKeys {
    pub(crate) fn get(&self, access: &str) -> Option<Arc<AccessKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(access).cloned()
    }

    pub(crate) fn note(&self, access: &str, key: Arc<AccessKey>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(access.to_owned(), key);
    }
}

/// What follows from a snapshot is not true of the next one, which begins as its clone.
impl Clone for KnownKeys {
    fn clone(&self) -> KnownKeys {
        KnownKeys::default()
    }
}

#[cfg(test)]
mod tests {
    use hanse_core::Secret;
    use hanse_policy::Caller;

    use super::*;

    #[test]
    fn no_more_are_known_than_there_is_room_for_and_none_in_the_next_snapshot() {
        let known = KnownKeys::default();
        let key = AccessKey { secret: Secret::new("s".to_owned()), caller: Arc::new(Caller::operator()) };
        let key = Arc::new(key);
        for n in 0..=MAX {
            known.note(&n.to_string(), key.clone());
            assert!(known.get(&n.to_string()).is_some());
            assert!(known.0.read().unwrap().len() <= MAX);
        }
        assert!(known.get("0").is_none(), "it began anew");
        assert!(known.clone().get(&MAX.to_string()).is_none());
    }
}
