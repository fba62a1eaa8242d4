//! Signatures of requests that a service passes on to be checked: `ec2tokens` and `s3tokens` of Keystone.
//!
//! The client signed its own request with the secret of an EC2 credential, by the signature versions 2 or 4 of AWS (for
//! S3, the older one of S3 itself or 4). The service that got it shows what was signed, never the secret.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hanse_core::{Error, Result, Secret, Timestamp, hex};
use ring::hmac;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The most that is looked at of one request, in bytes: servers take no more headers and query than this.
pub const REQUEST_MAX: usize = 64 * 1024;

const V4: &str = "AWS4-HMAC-SHA256";
const V4_END: &str = "aws4_request";
/// What a client of `s3tokens` may have signed for; as in Keystone.
const S3_SERVICES: [&str; 3] = ["s3", "iam", "sts"];

/// The request that is in the body of `POST /v3/ec2tokens`. What is missing there is empty here.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ec2Credentials {
    /// Names the credential whose secret [`Ec2Credentials::verify`] takes.
    pub access: String,
    /// In base64 for version 2, in hexadecimal digits for version 4.
    pub signature: String,
    /// With the port, if the client named it.
    pub host: String,
    pub verb: String,
    /// As the client signed it, percent-encoded.
    pub path: String,
    /// The query, or the form in the body for version 2, decoded and without the signature itself.
    pub params: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    /// The SHA-256 of the body in hexadecimal digits; for version 4.
    pub body_hash: String,
}

impl Ec2Credentials {
    /// Whether the request was signed with this secret. When it was signed is for the caller to judge: see
    /// [`Ec2Credentials::signed_at`].
    ///
    /// An empty secret has signed nothing: everybody could.
    ///
    /// Versions 0 and 1, which Keystone still takes, are refused: they leave most of a request unsigned, or can be
    /// moved from one request to another.
    ///
    /// # Errors
    /// 400 if the request is larger than [`REQUEST_MAX`]; 401 if its signature is of no version that is taken.
    pub fn verify(&self, secret: &Secret<String>) -> Result<bool> {
        let texts = [&self.signature, &self.host, &self.verb, &self.path, &self.body_hash];
        let pairs = self.params.iter().chain(&self.headers).flat_map(|(name, value)| [name, value]);
        if texts.into_iter().chain(pairs).map(String::len).sum::<usize>() > REQUEST_MAX {
            return Err(too_large());
        }
        match self.version()? {
            _ if secret.expose().is_empty() => Ok(false),
            Version::Two => self.is_version_2(secret),
            Version::Four(authorization) => {
                Ok(self.version_4(&authorization, secret).is_some_and(|made| same(made, &self.signature)))
            }
        }
    }

    /// When the client signed the request, by its own clock; `None` if it does not say, which version 2 allows.
    ///
    /// It is read from what the signature covers, so it counts once [`Ec2Credentials::verify`] has said yes. Refuse
    /// what is older than a quarter of an hour, as Keystone does by default (`[credential] auth_ttl`): until then
    /// whoever has seen the request may show it again.
    ///
    /// # Errors
    /// 401 if it is no time, or the signature is of no version that is taken.
    pub fn signed_at(&self) -> Result<Option<Timestamp>> {
        let time = match self.version()? {
            Version::Two => self.params.get("Timestamp").map(String::as_str),
            Version::Four(_) => self.date(),
        };
        let parse = |text| {
            Timestamp::parse(text)
                .map_err(|_| Error::unauthorized(format!("Credential timestamp is invalid: {text}")))
        };
        time.map(parse).transpose()
    }

    fn version(&self) -> Result<Version<'_>> {
        let param = |name: &str| self.params.get(name).map(String::as_str);
        if param("SignatureVersion") == Some("2") {
            return Ok(Version::Two);
        }
        if let Some(fields) = self.header("authorization").and_then(|value| value.strip_prefix(V4)) {
            let field = |name: &str| {
                let mut pairs = fields.split(',').filter_map(|field| field.trim().split_once('='));
                pairs.find_map(|(key, value)| (key == name).then_some(value)).unwrap_or_default()
            };
            let (credential, signed_headers) = (field("Credential"), field("SignedHeaders"));
            return Ok(Version::Four(Authorization { credential, signed_headers }));
        }
        if param("X-Amz-Algorithm") == Some(V4) {
            let (credential, signed_headers) = (
                param("X-Amz-Credential").unwrap_or_default(),
                param("X-Amz-SignedHeaders").unwrap_or_default(),
            );
            return Ok(Version::Four(Authorization { credential, signed_headers }));
        }
        Err(Error::unauthorized("The signature is of no version that is taken; sign with version 4 or 2."))
    }

    /// Some clients sign the host without its port although they send it.
    fn is_version_2(&self, secret: &Secret<String>) -> Result<bool> {
        let bare = self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host);
        let mut is_signed = false;
        for host in [self.host.as_str(), bare] {
            is_signed |= same(self.version_2(host, secret)?, &self.signature);
        }
        Ok(is_signed)
    }

    fn version_2(&self, host: &str, secret: &Secret<String>) -> Result<String> {
        const METHOD: &str = "SignatureMethod";
        let mut params = self.params.clone();
        let algorithm =
            match params.entry(METHOD.to_owned()).or_insert_with(|| "HmacSHA256".to_owned()).as_str() {
                "HmacSHA256" => hmac::HMAC_SHA256,
                "HmacSHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                _ => return Err(Error::unauthorized("SignatureMethod must be HmacSHA256 or HmacSHA1.")),
            };
        let text = format!("{}\n{host}\n{}\n{}", self.verb, self.path, canonical_query(&params));
        let key = hmac::Key::new(algorithm, secret.expose().as_bytes());
        Ok(STANDARD.encode(hmac::sign(&key, text.as_bytes())))
    }

    /// `None` if a part is missing, so that no signature can be right.
    fn version_4(&self, authorization: &Authorization<'_>, secret: &Secret<String>) -> Option<String> {
        let (_access, scope) = authorization.credential.split_once('/')?;
        let (key, _service) = signing_key(scope, secret)?;
        let date = self.date()?;
        // Otherwise the signature of one day would be good for a request of another.
        if !date.starts_with(scope.split_once('/')?.0) || self.body_hash.is_empty() {
            return None;
        }
        let verb = self.verb.to_ascii_uppercase();
        // The parameters of a POST are in its body, which the hash covers.
        let query = if verb == "POST" { String::new() } else { canonical_query(&self.params) };
        let mut request = format!("{verb}\n{}\n{query}\n", self.path);
        for name in authorization.signed_headers.split(';') {
            let value = self.header(name)?.split_whitespace().collect::<Vec<_>>().join(" ");
            request.extend([name, ":", &value, "\n"]);
        }
        request.extend(["\n", authorization.signed_headers, "\n", &self.body_hash]);
        let text = format!("{V4}\n{date}\n{scope}\n{}", hex(Sha256::digest(request)));
        Some(hex(hmac::sign(&key, text.as_bytes())))
    }

    /// `20261122T173000Z`, as version 4 wants it.
    fn date(&self) -> Option<&str> {
        self.header("x-amz-date").or_else(|| self.params.get("X-Amz-Date").map(String::as_str))
    }

    /// `name` is in lower case, as it stands among the signed headers.
    fn header(&self, name: &str) -> Option<&str> {
        let is_it = |given: &str| given.trim().eq_ignore_ascii_case(name);
        self.headers.iter().find_map(|(given, value)| is_it(given).then_some(value.trim()))
    }
}

enum Version<'r> {
    Two,
    Four(Authorization<'r>),
}

struct Authorization<'r> {
    /// `access/20261122/RegionOne/ec2/aws4_request`.
    credential: &'r str,
    /// `host;x-amz-date`.
    signed_headers: &'r str,
}

/// The request that is in the body of `POST /v3/s3tokens`. What is missing there is empty here.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct S3Credentials {
    /// Names the credential whose secret [`S3Credentials::verify`] takes.
    pub access: String,
    /// The text that was signed, in base64 of either alphabet.
    pub token: String,
    /// In base64 for the version of S3 itself, in hexadecimal digits for version 4.
    pub signature: String,
}

impl S3Credentials {
    /// Whether the text was signed with this secret, which is not an empty one. The text names a time that may long have passed, because S3 has links
    /// that are good for days: the service that got the request judges it.
    ///
    /// # Errors
    /// 400 if it is larger than [`REQUEST_MAX`].
    pub fn verify(&self, secret: &Secret<String>) -> Result<bool> {
        if self.token.len() + self.signature.len() > REQUEST_MAX {
            return Err(too_large());
        }
        if secret.expose().is_empty() {
            return Ok(false);
        }
        Ok(self.made_with(secret).is_some_and(|made| same(made, &self.signature)))
    }

    fn made_with(&self, secret: &Secret<String>) -> Option<String> {
        let token = self.token.trim_end_matches('=').replace('-', "+").replace('_', "/");
        let text = STANDARD_NO_PAD.decode(token).ok()?;
        if !text.starts_with(b"AWS4") {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
            return Some(STANDARD.encode(hmac::sign(&key, &text)));
        }
        let lines: Vec<&str> = std::str::from_utf8(&text).ok()?.split('\n').collect();
        let [V4, _date, scope, _request] = lines[..] else { return None };
        let (key, service) = signing_key(scope, secret)?;
        S3_SERVICES.contains(&service).then(|| hex(hmac::sign(&key, &text)))
    }
}

/// What signs a text of version 4 in a scope `20261122/RegionOne/s3`, in hexadecimal digits; `None` if that is no scope. For
/// clients.
pub fn sign_version_4(secret: &Secret<String>, scope: &str, text: &str) -> Option<String> {
    let (key, _) = signing_key(&format!("{scope}/{V4_END}"), secret)?;
    Some(hex(hmac::sign(&key, text.as_bytes())))
}

/// The key and the service of a scope `20261122/RegionOne/ec2/aws4_request`.
fn signing_key<'s>(scope: &'s str, secret: &Secret<String>) -> Option<(hmac::Key, &'s str)> {
    let [date, region, service, V4_END] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
    let first = Secret::new(format!("AWS4{}", secret.expose()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.expose().as_bytes());
    for part in [date, region, service, V4_END] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    Some((key, service))
}

/// Sorted by name, and percent-encoded except for what RFC 3986 calls unreserved.
fn canonical_query(params: &BTreeMap<String, String>) -> String {
    let mut query = String::new();
    for (name, value) in params {
        if !query.is_empty() {
            query.push('&');
        }
        percent_encode(name, &mut query);
        query.push('=');
        percent_encode(value, &mut query);
    }
    query
}

fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte))
            }
            // Writing to a String does not fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

/// In constant time.
fn same(made: String, given: &str) -> bool {
    Secret::new(made) == Secret::new(given.to_owned())
}

fn too_large() -> Error {
    Error::bad_request(format!("The signed request is larger than {REQUEST_MAX} bytes."))
}

#[cfg(test)]
mod tests {
    use hanse_core::Kind;
    use proptest::prelude::*;

    use super::*;

    /// Made up; all signatures below are made with it by keystoneclient 6.0 (`contrib.ec2.utils`), botocore 1.44 and
    /// Keystone 30.
    fn secret() -> Secret<String> {
        Secret::new("3bd8c1a7e6f24d0fa9b5c2d7e8f91a04".to_owned())
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn version_2() -> Ec2Credentials {
        Ec2Credentials {
            access: "access".to_owned(),
            signature: "ldz9uzEodGsOBkGJ8moUpAm498SHH9yZrcOvnnXBMl4=".to_owned(),
            host: "cloud.example:8773".to_owned(),
            verb: "GET".to_owned(),
            path: "/services/Cloud".to_owned(),
            params: map(&[
                ("SignatureVersion", "2"),
                ("SignatureMethod", "HmacSHA256"),
                ("AWSAccessKeyId", "access"),
                ("Action", "DescribeInstances"),
                ("Timestamp", "2026-11-22T17:30:00Z"),
                ("Filter.1.Name", "tag:näme ~x"),
                ("Filter.1.Value.1", "a+b/c=d&e*f"),
                ("aws-Z", ""),
            ]),
            ..Ec2Credentials::default()
        }
    }

    fn version_4() -> Ec2Credentials {
        Ec2Credentials {
            access: "access".to_owned(),
            signature: "351591b18b729fa279a5bef5f72c00bd5a8ab45c35e9f4bbaff2e96d630dfcb5".to_owned(),
            host: "cloud.example:8773".to_owned(),
            verb: "GET".to_owned(),
            path: "/".to_owned(),
            params: map(&[("Action", "DescribeImages"), ("Owner", "me & ü")]),
            headers: map(&[
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("Host", "cloud.example:8773"),
                ("X-Amz-Date", "20261122T173000Z"),
                ("User-Agent", "test"),
                (
                    "Authorization",
                    "AWS4-HMAC-SHA256 Credential=access/20261122/RegionOne/ec2/aws4_request,\
                     SignedHeaders=content-type;host;x-amz-date,Signature=none",
                ),
            ]),
            body_hash: hex(Sha256::digest(b"")),
        }
    }

    /// Its authorization is in the query, as in links.
    fn version_4_query() -> Ec2Credentials {
        let mut request = version_4();
        request.signature = "84295337b21f3d4662a3a0920494e0df2e85599ce4497628ee246e093c1b48f5".to_owned();
        request.headers = map(&[("Host", "cloud.example:8773")]);
        request.params.extend(map(&[
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "access/20261122/RegionOne/ec2/aws4_request"),
            ("X-Amz-Date", "20261122T173000Z"),
            ("X-Amz-SignedHeaders", "host"),
        ]));
        request
    }

    fn is_signed(request: &Ec2Credentials) -> bool {
        request.verify(&secret()).unwrap()
    }

    #[test]
    fn version_2_is_verified_by_both_methods() {
        assert!(is_signed(&version_2()));
        let mut request = version_2();
        request.params.remove("SignatureMethod");
        assert!(is_signed(&request), "SHA-256 unless told");
        let mut request = version_2();
        request.params.insert("SignatureMethod".to_owned(), "HmacSHA1".to_owned());
        assert!(!is_signed(&request));
        request.signature = "Egq6BkcFpgcEx5+btdyjIJZIoo8=".to_owned();
        assert!(is_signed(&request));
        request.params.insert("SignatureMethod".to_owned(), "HmacMD5".to_owned());
        assert_eq!(request.verify(&secret()).unwrap_err().kind(), Kind::Unauthorized);
    }

    #[test]
    fn version_2_may_be_signed_for_the_host_without_its_port() {
        let mut request = version_2();
        request.signature = "U70zz3K47LM8zQQs9AXHHvqDWDDntAwbIetIZiM/B/o=".to_owned();
        assert!(is_signed(&request));
        request.host = "cloud.example".to_owned();
        assert!(is_signed(&request));
        request.host = "other.example".to_owned();
        assert!(!is_signed(&request));
    }

    #[test]
    fn version_4_is_verified_with_its_authorization_in_header_or_query() {
        assert!(is_signed(&version_4()));
        assert!(is_signed(&version_4_query()));
        let mut post = version_4();
        post.verb = "POST".to_owned();
        post.params = map(&[("Action", "RunInstances")]);
        post.body_hash = hex(Sha256::digest(b"Action=RunInstances"));
        post.signature = "62474d83ebd555b59b8f09ae70a308b8963888e7217c20c0733067f1dbfc2e8e".to_owned();
        assert!(is_signed(&post));
        post.body_hash = hex(Sha256::digest(b"Action=TerminateInstances"));
        assert!(!is_signed(&post));
    }

    #[test]
    fn what_botocore_signs_is_verified() {
        let mut request = version_4();
        request.params = map(&[("Action", "DescribeImages"), ("Owner", "me")]);
        request.headers = map(&[
            ("host", "cloud.example:8773"),
            ("X-Extra", "  a   b  "),
            ("X-Amz-Date", "20261122T173000Z"),
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=access/20261122/RegionOne/ec2/aws4_request, \
                 SignedHeaders=host;x-amz-date;x-extra, Signature=none",
            ),
        ]);
        request.signature = "3a49e637edecbf8f849f5303b5bedd24ef418ee3c22a1e8d4ffd5fb643172da2".to_owned();
        assert!(is_signed(&request));
    }

    #[test]
    fn another_secret_and_no_signature_are_refused() {
        let other = Secret::new("3bd8c1a7e6f24d0fa9b5c2d7e8f91a05".to_owned());
        for mut request in [version_2(), version_4(), version_4_query()] {
            assert!(!request.verify(&other).unwrap());
            assert!(!request.verify(&Secret::default()).unwrap());
            request.signature.make_ascii_uppercase();
            assert!(!is_signed(&request));
            request.signature.clear();
            assert!(!is_signed(&request));
        }
    }

    #[test]
    fn a_credential_without_secret_signs_nothing() {
        let empty = Secret::default();
        let mut request = version_2();
        request.signature = request.version_2(&request.host, &empty).unwrap();
        assert!(!request.verify(&empty).unwrap());
        let mut request = s3("R0VU", "");
        request.signature = request.made_with(&empty).unwrap();
        assert!(!request.verify(&empty).unwrap());
    }

    #[test]
    fn a_change_of_anything_that_was_signed_is_refused() {
        for (what, request) in [("2", version_2()), ("4", version_4()), ("4 in the query", version_4_query())]
        {
            let mut changes: Vec<(String, Ec2Credentials)> = Vec::new();
            let mut change = |name: &str, with: &dyn Fn(&mut Ec2Credentials)| {
                let mut changed = request.clone();
                with(&mut changed);
                changes.push((name.to_owned(), changed));
            };
            change("verb", &|request| request.verb = "PUT".to_owned());
            change("path", &|request| request.path.push('x'));
            change("one more parameter", &|request| drop(request.params.insert("x".into(), "y".into())));
            for name in
                request.params.keys().filter(|name| !name.contains("Algorithm") && !name.starts_with("Sig"))
            {
                change(name, &|request| request.params.get_mut(name).unwrap().push('x'));
                change(name, &|request| drop(request.params.remove(name)));
            }
            for name in
                request.headers.keys().filter(|name| *name != "User-Agent" && *name != "Authorization")
            {
                change(name, &|request| request.headers.get_mut(name).unwrap().push('x'));
                change(name, &|request| drop(request.headers.remove(name)));
            }
            if what != "2" {
                change("body", &|request| request.body_hash.clear());
            }
            assert!(changes.len() > 8);
            for (name, changed) in changes {
                assert!(!is_signed(&changed), "{name} of version {what}");
            }
        }
    }

    #[test]
    fn old_and_unknown_versions_are_unauthorized() {
        for version in ["0", "1", "3", "4", "", "2 "] {
            let mut request = version_2();
            request.params.insert("SignatureVersion".to_owned(), version.to_owned());
            assert_eq!(request.verify(&secret()).unwrap_err().kind(), Kind::Unauthorized, "{version}");
        }
        let empty = Ec2Credentials::default();
        assert_eq!(empty.verify(&secret()).unwrap_err().kind(), Kind::Unauthorized);
        assert_eq!(empty.signed_at().unwrap_err().kind(), Kind::Unauthorized);
    }

    #[test]
    fn the_time_of_a_request_is_the_one_that_was_signed() {
        let at = Timestamp::parse("2026-11-22T17:30:00Z").unwrap();
        for request in [version_2(), version_4(), version_4_query()] {
            assert_eq!(request.signed_at().unwrap(), Some(at));
        }
        // Not signed in a POST of version 4, so whoever shows it again may write what they like.
        let mut request = version_4();
        request.params.insert("Timestamp".to_owned(), "2030-01-01T00:00:00Z".to_owned());
        assert_eq!(request.signed_at().unwrap(), Some(at));
        let mut request = version_2();
        request.params.insert("Timestamp".to_owned(), "noon".to_owned());
        assert_eq!(request.signed_at().unwrap_err().kind(), Kind::Unauthorized);
        request.params.remove("Timestamp");
        assert_eq!(request.signed_at().unwrap(), None);
    }

    #[test]
    fn the_body_of_the_api_is_read_whatever_is_missing_or_more() {
        let request: Ec2Credentials =
            serde_json::from_str(r#"{"access": "a", "params": {"x": "y"}, "more": 1}"#).unwrap();
        assert_eq!((request.access.as_str(), request.params["x"].as_str()), ("a", "y"));
        assert_eq!(request.signature, "");
        let request: S3Credentials = serde_json::from_str(r#"{"token": "t"}"#).unwrap();
        assert!(!request.verify(&secret()).unwrap());
    }

    fn s3(token: &str, signature: &str) -> S3Credentials {
        S3Credentials {
            access: "access".to_owned(),
            token: token.to_owned(),
            signature: signature.to_owned(),
        }
    }

    const S3_V4: &str = "QVdTNC1ITUFDLVNIQTI1NgoyMDI2MTEyMlQxNzMwMDBaCjIwMjYxMTIyL1JlZ2lvbk9uZS9zMy9hd3M0X3JlcXVlc3QKNjRj\
                         YjQwMDA2ZDczN2Q1NWE1MTVlMWQ3N2NhMWI2ZTU1OTg4M2I5OTgyOTYyYWJiNjYyMjhjNDhmN2NiMjgxNA==";
    const S3_V4_SIGNATURE: &str = "28a845fd1984625001b10d7a552078c7c0ddee77ed49b4b323511975443e2ef6";

    #[test]
    fn s3_is_verified_in_both_versions_and_both_alphabets() {
        for (token, signature) in [
            (
                "R0VUCgoKU3VuLCAyMiBOb3YgMjAyNiAxNzozMDowMCArMDAwMAovYnVja2V0L29iamVjdD9hY2w=",
                "ECiUTU5diRYGM8KL5j08mchumsQ=",
            ),
            ("UFVUCgoKCngtYW16LWRhdGU6w7w-Pj4_Pz8KL2I=", "qiOU2brM+zfAWb9irjSAT04zWQM="),
            ("UFVUCgoKCngtYW16LWRhdGU6w7w+Pj4/Pz8KL2I", "qiOU2brM+zfAWb9irjSAT04zWQM="),
            (S3_V4, S3_V4_SIGNATURE),
        ] {
            assert!(s3(token, signature).verify(&secret()).unwrap(), "{token}");
            assert!(!s3(token, signature).verify(&Secret::default()).unwrap());
            assert!(!s3(token, "").verify(&secret()).unwrap());
            let other = token.replacen('U', "V", 1);
            assert!(!s3(&other, signature).verify(&secret()).unwrap());
        }
    }

    #[test]
    fn s3_does_not_take_what_was_signed_for_another_service() {
        for service in ["s3", "iam", "sts", "ec2", "", "s3/x"] {
            let scope = format!("20261122/RegionOne/{service}/aws4_request");
            let text = format!("{V4}\n20261122T173000Z\n{scope}\n{}", "0".repeat(64));
            let signature = match signing_key(&scope, &secret()) {
                Some((key, _)) => hex(hmac::sign(&key, text.as_bytes())),
                None => String::new(),
            };
            let request = s3(&STANDARD.encode(text), &signature);
            assert_eq!(request.verify(&secret()).unwrap(), S3_SERVICES.contains(&service), "{service}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_hashed() {
        let mut request = version_2();
        request.params.insert("x".to_owned(), "y".repeat(REQUEST_MAX));
        assert_eq!(request.verify(&secret()).unwrap_err().kind(), Kind::BadRequest);
        let request = s3(&"A".repeat(REQUEST_MAX), "x");
        assert_eq!(request.verify(&secret()).unwrap_err().kind(), Kind::BadRequest);
    }

    #[test]
    fn no_request_makes_verification_panic_or_succeed() {
        let text = || "[ -~ü/;=,:]{0,40}";
        let strategy =
            (text(), text(), text(), prop::collection::btree_map("[a-zA-Z-]{0,9}", ".{0,20}", 0..5));
        proptest!(|((credential, headers, date, mut params) in strategy, two: bool, query: bool)| {
            if two {
                params.insert("SignatureVersion".to_owned(), "2".to_owned());
            } else if query {
                params.extend(map(&[("X-Amz-Algorithm", V4), ("X-Amz-Credential", &credential)]));
                params.extend(map(&[("X-Amz-SignedHeaders", &headers), ("X-Amz-Date", &date)]));
            }
            let authorization = format!("{V4} Credential={}, SignedHeaders={}", credential, headers);
            let request = Ec2Credentials {
                headers: map(&[("Authorization", &authorization), ("X-Amz-Date", &date), ("", &date)]),
                host: credential.clone(),
                signature: date.clone(),
                params,
                ..version_4()
            };
            prop_assert!(!request.verify(&secret()).unwrap());
            let _ = request.signed_at();
            let s3_text = ["AWS4-HMAC-SHA256", &date, &credential, &headers].join("\n");
            prop_assert!(!s3(&STANDARD.encode(s3_text), &date).verify(&secret()).unwrap());
            prop_assert!(!s3(&date, &headers).verify(&secret()).unwrap());
        });
    }
}
