//! What every other crate speaks: ids, errors, pages, microversions, secrets and the call context.
//!
//! No I/O and no async runtime live here, so everything may depend on it.

mod crash;
mod cx;
mod error;
mod microversion;
mod page;
mod secret;

pub use crash::CrashPoints;
pub use cx::{Clock, Cx, ManualClock, OsRandom, Random, SeededRandom, SystemClock, Timestamp};
pub use error::{Context, Error, Kind, Result};
pub use microversion::{Microversion, VersionRange};
pub use page::{Cursor, Direction, Page};
pub use secret::Secret;
pub use uuid::Uuid;

/// Bytes as text: two small hexadecimal digits for each.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The longest name that any of the APIs takes, in characters (OpenStack's common limit).
pub const NAME_MAX: usize = 255;

/// Checks a user-given name: not empty, at most [`NAME_MAX`] characters, no control characters.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::bad_request(format!("{field} must not be empty")));
    }
    check_text(field, name, NAME_MAX)
}

/// Checks free text that may be empty: at most `max` characters and no NUL or other control characters except
/// tab and line breaks.
pub fn check_text(field: &str, text: &str, max: usize) -> Result<()> {
    if text.chars().count() > max {
        return Err(Error::bad_request(format!("{field} is longer than {max} characters")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(Error::bad_request(format!("{field} contains control characters")));
    }
    Ok(())
}
