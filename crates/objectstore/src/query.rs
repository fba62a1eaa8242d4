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

#[cfg(test)]
mod tests {
    use super::*;

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
