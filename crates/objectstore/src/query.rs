//! Queries, and what is written as queries are.

/// The names and values, decoded; `None` if an escape is none, or what it gives is no UTF-8.
pub fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

/// A part of a path, decoded: there a plus is a plus.
pub fn unescape(text: &str) -> Option<String> {
    decode(text, false)
}

fn decode(text: &str, is_plus_space: bool) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if is_plus_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What RFC 3986 calls unreserved, beside letters and digits.
pub const UNRESERVED: &[u8] = b"-._~";

/// Text of which only letters, digits and these bytes stay as they are.
pub fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Text as it stands in a path, or in a query, where a space is a plus. Slashes stay.
pub fn escape(text: &str, is_plus_space: bool) -> String {
    if is_plus_space { encode(text, b"-._/* ").replace(' ', "+") } else { encode(text, b"-._/*") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_again() {
        let text = "a b/c+d%e\u{fc}\"\n";
        assert_eq!(escape(text, true), "a+b/c%2Bd%25e%C3%BC%22%0A");
        assert_eq!(unescape(&escape(text, false)).unwrap(), text);
        assert_eq!(encode("a/~ü*", UNRESERVED), "a%2F~%C3%BC%2A");
    }

    #[test]
    fn what_is_escaped_wrongly_is_none() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse("a=b&c=d%20e+f&g&").unwrap(), [pair("a", "b"), pair("c", "d e f"), pair("g", "")]);
        assert_eq!(unescape("a+b%2f").unwrap(), "a+b/");
        for wrong in ["%", "%2", "a=%zz", "a=%ff", "%c3=1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
