//! Named places between two external effects, where a test lets the process fail, panic or die.

use std::fmt;
use std::sync::Arc;

use crate::Result;

type Hook = dyn Fn(&'static str) -> Result<()> + Send + Sync;

/// Passed to whatever has external effects; does nothing unless a test says otherwise.
#[derive(Clone)]
pub struct CrashPoints(Arc<Hook>);

impl CrashPoints {
    pub fn none() -> CrashPoints {
        CrashPoints(Arc::new(|_| Ok(())))
    }

    /// `hook` may note the name, return an error, panic, or abort the process.
    pub fn new(hook: impl Fn(&'static str) -> Result<()> + Send + Sync + 'static) -> CrashPoints {
        CrashPoints(Arc::new(hook))
    }

    /// For tests with the real binary: `HANSE_CRASH_POINT=name` aborts the process when it passes that point.
    pub fn from_environment() -> CrashPoints {
        match std::env::var("HANSE_CRASH_POINT") {
            Ok(name) if !name.is_empty() => CrashPoints::new(move |point| {
                if point == name {
                    std::process::abort();
                }
                Ok(())
            }),
            _ => CrashPoints::none(),
        }
    }

    /// Passes the point; `name` is `crate.what_was_just_done`.
    ///
    /// # Errors
    /// Only what a test injects.
    pub fn pass(&self, name: &'static str) -> Result<()> {
        (self.0)(name)
    }
}

impl fmt::Debug for CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashPoints")
    }
}
