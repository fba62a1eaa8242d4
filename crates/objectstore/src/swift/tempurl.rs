//! Temporary URLs: whoever has one may do with an object what its signature says, for as long as it says.
//!
//! Source: OpenStack Object Storage API Reference, "Temporary URL middleware".

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hanse_core::Timestamp;
use hanse_policy::Verb;
use http::{HeaderMap, StatusCode};
use ring::hmac;
use std::net::IpAddr;

use super::account;
use super::auth::Session;
use super::meta::check_offered;
use super::reply::{Done, Refused, refused, set};
use crate::record::Bucket;
use crate::verbs::{DELETE_OBJECT, GET_OBJECT, PUT_OBJECT};

pub const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
pub const DIGESTS: [&str; 3] = ["sha1", "sha256", "sha512"];
/// Headers with which a URL for one object would reach another.
pub const REFUSED: [&str; 4] =
    ["x-object-manifest", "x-symlink-target", "x-copy-from", "x-copy-from-account"];

/// Base64 of either alphabet comes with its padding or without.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// A temporary URL whose signature is right.
pub struct Signed {
    verb: Verb,
    /// Whose key signed: a container's, by the bucket's id, or else the account's.
    bucket_id: Option<String>,
}

impl Signed {
    /// What a manifest leads to is within reach as far as the key goes.
    pub fn allows(&self, verb: Verb, bucket: Option<&Bucket>) -> bool {
        let Some(bucket) = bucket else { return false };
        verb == self.verb && self.bucket_id.as_ref().is_none_or(|id| *id == bucket.id)
    }
}

/// The algorithm and the bytes of a signature: hexadecimal digits, or base64 behind the algorithm's name.
fn parse(signature: &str) -> Option<(hmac::Algorithm, Vec<u8>)> {
    let by_name = |name: &str| match name {
        "sha1" => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => Some(hmac::HMAC_SHA256),
        "sha512" => Some(hmac::HMAC_SHA512),
        _ => None,
    };
    if let Some((name, value)) = signature.split_once(':') {
        let bytes = URL_SAFE.decode(value).or_else(|_| STANDARD.decode(value)).ok()?;
        return Some((by_name(name)?, bytes));
    }
    let digits: Option<Vec<u32>> = signature.chars().map(|digit| digit.to_digit(16)).collect();
    let bytes: Vec<u8> = digits?
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect();
    let name = match signature.len() {
        40 => "sha1",
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    Some((by_name(name)?, bytes))
}

/// The end of a URL, in seconds since 1970: they, or a date.
fn expiry(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let whole = if text.len() == "2026-11-29".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse(&whole).ok().map(Timestamp::seconds)
}

/// Whether an address is in a range such as `192.0.2.0/24`, or is that one.
fn is_within(address: IpAddr, range: &str) -> Option<bool> {
    let (base, bits) = match range.split_once('/') {
        Some((base, bits)) => (base, Some(bits.parse::<u32>().ok()?)),
        None => (range, None),
    };
    let number = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((base, size), (own, own_size)) = (number(base.parse().ok()?), number(address));
    let bits = bits.unwrap_or(size);
    if bits > size {
        return None;
    }
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    Some(size == own_size && base & mask == own & mask)
}

impl Session<'_> {
    /// The proof of a temporary URL, if the request is made by one.
    ///
    /// # Errors
    /// 401 if it is not right, or not any more; 400 if it asks for what no such URL may.
    pub fn url_proof(&self) -> Done<Option<Signed>> {
        let call = self.call;
        let (signature, expires) = (call.parameter("temp_url_sig"), call.parameter("temp_url_expires"));
        if signature.is_none() && expires.is_none() {
            return Ok(None);
        }
        let invalid = || {
            let mut refused: Refused = self.unauthorized();
            refused.message = "Temp URL invalid".to_owned();
            refused
        };
        let (Some(signature), Some(expires), Some(container), Some(object)) =
            (signature, expires, call.container.as_deref(), call.object.as_deref())
        else {
            return Err(invalid());
        };
        let (algorithm, signature) = parse(signature).ok_or_else(invalid)?;
        let expires = expiry(expires).filter(|end| *end > call.cx.now().seconds()).ok_or_else(invalid)?;
        let range = call.parameter("temp_url_ip_range");
        if let Some(range) = range {
            let is_there = call.cx.source().and_then(|source| is_within(source, range));
            is_there.filter(|is_there| *is_there).ok_or_else(invalid)?;
        }
        let (path, kind) = match call.parameter("temp_url_prefix") {
            Some(prefix) if !object.starts_with(prefix) => return Err(invalid()),
            Some(prefix) => (format!("/v1/AUTH_{}/{container}/{prefix}", call.account), "prefix:"),
            None => (call.path.clone(), ""),
        };
        let (methods, verb): (&[&str], Verb) = match call.method.as_str() {
            "GET" => (&["GET"], GET_OBJECT),
            // Whoever may do more may look.
            "HEAD" => (&["HEAD", "GET", "PUT", "POST"], GET_OBJECT),
            "PUT" => (&["PUT"], PUT_OBJECT),
            "POST" => (&["POST"], PUT_OBJECT),
            "DELETE" => (&["DELETE"], DELETE_OBJECT),
            _ => return Err(invalid()),
        };
        let ip = range.map(|range| format!("ip={range}\n")).unwrap_or_default();
        let bucket = self.container(container)?;
        let of_container = bucket.as_deref().map(|bucket| self.url_keys(&bucket.swift)).transpose()?;
        let of_account = self.url_keys(&account::read(self.store, &call.account)?)?;
        let bucket_id = bucket.as_ref().map(|bucket| bucket.id.clone());
        let keys = of_account.into_iter().map(|(_, key)| (key, None));
        let keys = keys.chain(of_container.into_iter().flatten().map(|(_, key)| (key, bucket_id.clone())));
        for (key, bucket_id) in keys {
            let key = hmac::Key::new(algorithm, key.as_bytes());
            for method in methods {
                let text = format!("{ip}{method}\n{expires}\n{kind}{path}");
                // In constant time.
                if hmac::verify(&key, text.as_bytes(), &signature).is_ok() {
                    self.check_url_request()?;
                    return Ok(Some(Signed { verb, bucket_id }));
                }
            }
        }
        Err(invalid())
    }

    fn check_url_request(&self) -> Done<()> {
        let call = self.call;
        check_offered(&call.headers)?;
        if let Some(name) = REFUSED.iter().find(|name| call.headers.contains_key(**name)) {
            let message = format!("The header {name} is not allowed in this temporary URL.");
            return Err(refused(StatusCode::BAD_REQUEST, message));
        }
        // What stands in the query is not signed.
        if ["multipart-manifest", "version-id"].iter().any(|name| call.parameter(name).is_some()) {
            let message = "Manifests and versions are not reached by temporary URLs.";
            return Err(refused(StatusCode::BAD_REQUEST, message));
        }
        Ok(())
    }

    /// What an answer to a temporary URL shows and does not show.
    pub fn dress(&self, object: &str, headers: &mut HeaderMap) {
        let call = self.call;
        let private = |name: &&http::HeaderName| {
            name.as_str().strip_prefix("x-object-meta-").is_some_and(|rest| !rest.starts_with("public-"))
        };
        let hidden: Vec<_> = headers.keys().filter(private).cloned().collect();
        for name in hidden {
            headers.remove(name);
        }
        let last = object.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = call.parameter("filename").filter(|name| !name.is_empty()).unwrap_or(last);
        let disposition = if call.parameter("inline").is_some() {
            match call.parameter("filename") {
                Some(name) => {
                    format!("inline; filename=\"{}\"; filename*=UTF-8''{}", quoted(name), encoded(name))
                }
                None => "inline".to_owned(),
            }
        } else {
            format!("attachment; filename=\"{}\"; filename*=UTF-8''{}", quoted(name), encoded(name))
        };
        set(headers, "content-disposition", disposition);
        if let Some(end) = call.parameter("temp_url_expires").and_then(expiry) {
            set(headers, "expires", super::reply::http_date(Timestamp::from_seconds(end)));
        }
    }
}

/// Within quotes of a header.
fn quoted(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '"' | '\\' => '_',
            letter if letter.is_ascii() && !letter.is_ascii_control() => letter,
            _ => '_',
        })
        .collect()
}

/// Source: RFC 8187, 3.2.1.
fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_in_several_spellings() {
        for (signature, length) in [
            ("00".repeat(20), Some(20)),
            ("ff".repeat(32), Some(32)),
            ("0A".repeat(64), Some(64)),
            ("sha512:AAAA".to_owned(), Some(3)),
            ("sha256:-_8".to_owned(), Some(2)),
            ("md5:AAAA".to_owned(), None),
            ("00".repeat(16), None),
            ("zz".repeat(20), None),
            (String::new(), None),
        ] {
            assert_eq!(parse(&signature).map(|(_, bytes)| bytes.len()), length, "{signature}");
        }
    }

    #[test]
    fn ends_are_seconds_or_dates() {
        for (text, expected) in [
            ("1700000000", Some(1_700_000_000)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000)),
            ("2023-11-14T22:13:20", Some(1_700_000_000)),
            ("2023-11-14", Some(1_699_920_000)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(expiry(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_within_ranges() {
        for (address, range, expected) in [
            ("192.0.2.7", "192.0.2.0/24", Some(true)),
            ("192.0.3.7", "192.0.2.0/24", Some(false)),
            ("192.0.2.7", "192.0.2.7", Some(true)),
            ("192.0.2.7", "0.0.0.0/0", Some(true)),
            ("::1", "0.0.0.0/0", Some(false)),
            ("2001:db8::1", "2001:db8::/32", Some(true)),
            ("192.0.2.7", "192.0.2.0/33", None),
            ("192.0.2.7", "x", None),
        ] {
            assert_eq!(is_within(address.parse().unwrap(), range), expected, "{address} {range}");
        }
    }
}
