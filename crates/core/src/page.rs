//! Keyset paging: a page is what follows a marker in the order (created_at, id).

use crate::{Error, Result, Timestamp};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    /// Newest first: the default of Nova, Glance and Cinder.
    #[default]
    Descending,
}

/// The position behind which a page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub created_at: Timestamp,
    pub id: String,
}

/// How much of a list a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    /// The id of the last object that the client has seen.
    pub marker: Option<String>,
    pub direction: Direction,
}

impl Page {
    /// No list is longer than this, whatever a client asks for (Nova's `max_limit`).
    pub const MAX_LIMIT: u32 = 1000;

    /// Reads `limit` and `marker` as the client sent them.
    ///
    /// # Errors
    /// 400 when the limit is not a whole number from zero on.
    pub fn parse(limit: Option<&str>, marker: Option<&str>, direction: Direction) -> Result<Page> {
        let limit = match limit {
            None => Self::MAX_LIMIT,
            Some(text) => text
                .parse::<u32>()
                .map_err(|_| Error::bad_request(format!("limit must be a whole number, not '{text}'")))?
                .min(Self::MAX_LIMIT),
        };
        let marker = marker.filter(|marker| !marker.is_empty()).map(str::to_owned);
        Ok(Page { limit, marker, direction })
    }
}

impl Default for Page {
    fn default() -> Page {
        Page { limit: Self::MAX_LIMIT, marker: None, direction: Direction::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_capped_and_nonsense_is_refused() {
        let parse = |limit| Page::parse(Some(limit), None, Direction::Ascending);
        assert_eq!(parse("5").unwrap().limit, 5);
        assert_eq!(parse("0").unwrap().limit, 0);
        assert_eq!(parse("5000").unwrap().limit, Page::MAX_LIMIT);
        assert!(parse("-1").is_err());
        assert!(parse("ten").is_err());
    }
}
