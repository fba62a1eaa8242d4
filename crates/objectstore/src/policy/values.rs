//! What conditions compare. Source: IAM User Guide, "IAM JSON policy elements: Condition operators".

use std::net::IpAddr;

use s3s::dto::{Timestamp, TimestampFormat};
use time::OffsetDateTime;

/// Addresses that begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    /// One address, or an address and the length of what is common.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(digits(length)?)),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        match address {
            _ if length > width => None,
            // An address of IPv4 that is written as one of IPv6.
            IpAddr::V6(mapped) if length >= 96 && mapped.to_ipv4_mapped().is_some() => {
                Some(Network { address: address.to_canonical(), length: length - 96 })
            }
            _ => Some(Network { address, length }),
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let (difference, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits() ^ other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits(), 128),
            _ => return false,
        };
        difference.checked_shr(width - self.length).unwrap_or(0) == 0
    }

    /// Whether it has so few addresses that one can trust them. Source: S3 User Guide, "The meaning of 'public'".
    pub fn is_narrow(&self) -> bool {
        self.length >= if self.address.is_ipv4() { 8 } else { 32 }
    }
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A decimal number, without exponent, infinity and the like.
pub fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    if is_plain { text.parse().ok() } else { None }
}

/// A date, a date with a time, or seconds since 1970; in nanoseconds since 1970.
/// Source: W3C, "Date and Time Formats".
pub fn date(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(i128::from(seconds) * SECOND);
    }
    let text = match text.split_once('T') {
        None => format!("{text}T00:00:00Z"),
        Some(_) => text.to_owned(),
    };
    let time = Timestamp::parse(TimestampFormat::DateTime, &text).ok()?;
    Some(OffsetDateTime::from(time).unix_timestamp_nanos())
}

pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_both_families() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "11.0.0.0"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} is in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} is not in {network}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "a",
            "10.0.0.0/8/8",
            "010.0.0.1",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_and_dates() {
        for (text, expected) in [
            ("10", Some(10.0)),
            ("-1.5", Some(-1.5)),
            ("1e5", None),
            ("inf", None),
            ("", None),
            ("NaN", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        let same = [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00+01:00",
            "1767225600",
            "2026-01-01T00:00:00.000Z",
        ];
        for text in same {
            assert_eq!(date(text), Some(1_767_225_600_000_000_000), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00", "2026"] {
            assert!(date(wrong).is_none_or(|time| time == 2026 * 1_000_000_000), "{wrong}");
        }
    }
}
