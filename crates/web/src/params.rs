//! Query strings, with repeated keys, as the OpenStack APIs use them.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use hanse_core::{Direction, Error, Page, Result};
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands in a query as it is (RFC 3986, "unreserved").
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The decoded query of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    query: String,
    pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Infallible> {
        Ok(Params::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    pub fn parse(query: &str) -> Params {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        });
        Params { query: query.to_owned(), pairs: pairs.collect() }
    }

    /// The query as it came, encoded as the client has done it.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(known, _)| known == key).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether the key stands there, with a value or without (`?nocatalog`).
    pub fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(known, _)| known == key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A truth value as OpenStack clients write it.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key)
            .map(|text| match text.to_ascii_lowercase().as_str() {
                "" | "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
                "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
                _ => Err(Error::bad_request(format!("{key} must be true or false, not '{text}'"))),
            })
            .transpose()
    }

    /// `limit` and `marker`.
    ///
    /// # Errors
    /// 400 for a limit that is no whole number.
    pub fn page(&self, direction: Direction) -> Result<Page> {
        Page::parse(self.get("limit"), self.get("marker"), direction)
    }

    /// The query of the next page: this one, with another marker.
    pub fn with_marker(&self, marker: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut parts: Vec<String> = self
            .iter()
            .filter(|(key, _)| *key != "marker")
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        parts.push(format!("marker={}", encode(marker)));
        parts.join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_rebuilt() {
        let params = Params::parse("name=a%20b+c&status=x&status=y&nocatalog&limit=2&all_tenants=True");
        assert_eq!(params.get("name"), Some("a b c"));
        assert_eq!(params.all("status"), ["x", "y"]);
        assert!(params.has("nocatalog"));
        assert_eq!(params.flag("all_tenants").unwrap(), Some(true));
        assert_eq!(params.page(Direction::Ascending).unwrap().limit, 2);
        assert_eq!(params.query(), "name=a%20b+c&status=x&status=y&nocatalog&limit=2&all_tenants=True");
        let rest = "status=x&status=y&nocatalog=&limit=2&all_tenants=True&marker=m%2F1";
        assert_eq!(params.with_marker("m/1"), format!("name=a%20b%20c&{rest}"));
        let next = Params::parse(&params.with_marker("m/1"));
        assert_eq!((next.get("marker"), next.get("name")), (Some("m/1"), Some("a b c")));
    }
}
