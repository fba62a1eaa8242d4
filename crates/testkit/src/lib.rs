//! For tests only: throw-away stores on both engines, a clock that moves when told, calls to a
//! real router as somebody.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up fails")]

mod databases;
mod http;

use std::sync::Arc;

use hanse_core::{Cx, ManualClock, SeededRandom, Timestamp};

pub use databases::{TestDb, databases, required};

pub use crate::http::{Answer, Client, persona};

/// A context whose clock the test owns and whose "randomness" repeats itself. The time starts in November 2026.
pub fn context() -> (Cx, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_795_000_000)));
    (Cx::new(clock.clone(), Arc::new(SeededRandom::new(42))), clock)
}
