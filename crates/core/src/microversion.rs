//! Microversions: `2.1`, `3.0`, as Nova, Cinder and Placement negotiate them
//! (api-sig guideline "microversion specification").

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    pub major: u16,
    pub minor: u16,
}

impl Microversion {
    pub const fn new(major: u16, minor: u16) -> Microversion {
        Microversion { major, minor }
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Microversion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Microversion> {
        let part = |part: &str| match part.as_bytes() {
            [b'0'] => Some(0),
            [b'1'..=b'9', ..] => part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?,
            _ => None,
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(Microversion::new(part(major)?, part(minor)?)))
            .ok_or_else(|| {
                Error::bad_request(format!(
                    "API version string {text} is of invalid format. Must be of format MajorNum.MinorNum."
                ))
            })
    }
}

/// What a service offers; a request without a version header gets `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: Microversion,
    pub max: Microversion,
}

impl VersionRange {
    /// Picks the version for a request.
    ///
    /// # Errors
    /// 400 for a malformed version, 406 for one outside the range.
    pub fn negotiate(&self, asked: Option<&str>) -> Result<Microversion> {
        match asked {
            None => Ok(self.min),
            Some("latest") => Ok(self.max),
            Some(text) => {
                let version: Microversion = text.parse()?;
                if version < self.min || version > self.max {
                    return Err(Error::not_acceptable(format!(
                        "Version {version} is not supported by the API. Minimum is {} and maximum is {}.",
                        self.min, self.max
                    )));
                }
                Ok(version)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const RANGE: VersionRange = VersionRange { min: Microversion::new(2, 1), max: Microversion::new(2, 3) };

    #[test]
    fn a_request_gets_what_it_asks_for_within_the_range() {
        assert_eq!(RANGE.negotiate(None).unwrap(), RANGE.min);
        assert_eq!(RANGE.negotiate(Some("latest")).unwrap(), RANGE.max);
        assert_eq!(RANGE.negotiate(Some("2.2")).unwrap(), Microversion::new(2, 2));
    }

    #[test]
    fn outside_the_range_is_not_acceptable_and_nonsense_is_bad() {
        for text in ["2.4", "2.0", "3.0", "1.99"] {
            assert_eq!(RANGE.negotiate(Some(text)).unwrap_err().kind(), Kind::NotAcceptable, "{text}");
        }
        for text in ["", "2", "2.", ".1", "2.01", "02.1", "2.1.1", "+2.1", "2.-1", "2.99999999", "a.b"] {
            assert_eq!(RANGE.negotiate(Some(text)).unwrap_err().kind(), Kind::BadRequest, "{text:?}");
        }
    }
}
