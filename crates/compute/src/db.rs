//! SQL, and nothing else.

pub mod allocations;
pub mod attachments;
pub mod events;
pub mod flavors;
pub mod keypairs;
pub mod servers;

/// An amount as a column holds it.
fn amount(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
