//! What requests say in headers about accounts, containers and objects.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, StatusCode};
use s3s::dto::{Timestamp, TimestampFormat};

use super::auth::Session;
use super::reply::{Done, refused, set};
use super::{Call, acl, cors};
use crate::conditions::seconds;
use crate::record::{Archive, Meta, Swift};

/// Source: OpenStack Object Storage API Reference, "Object Storage API overview", length limits; in all S3's, which is lower.
pub const NAME_MAX: usize = 128;
pub const VALUE_MAX: usize = 256;
pub const COUNT_MAX: usize = 90;
pub const OVERALL_MAX: usize = crate::objects::USER_META_MAX;

/// The headers of the keys of temporary URLs, behind `x-<what>-meta-`.
pub const URL_KEYS: [&str; 2] = ["temp-url-key", "temp-url-key-2"];
/// Within these bounds a key is one that can be guarded.
const URL_KEY_MAX: usize = VALUE_MAX;

/// The one storage policy there is.
pub const POLICY: &str = "default";

/// What Swift knows and is not offered here, wherever it stands.
const MISSING: [&str; 5] = [
    "x-container-sync-to",
    "x-container-sync-key",
    "x-container-sharding",
    "x-account-access-control",
    "x-open-expired",
];

/// Refuses what would be believed to have an effect and has none.
///
/// # Errors
/// 501.
pub fn check_offered(headers: &HeaderMap) -> Done<()> {
    match MISSING.iter().find(|name| headers.contains_key(**name)) {
        None => Ok(()),
        Some(name) => Err(refused(StatusCode::NOT_IMPLEMENTED, format!("The header {name} is not offered."))),
    }
}

fn bad(message: impl Into<String>) -> super::Refused {
    refused(StatusCode::BAD_REQUEST, message)
}

/// What a request changes of an account or a container; `None` takes away.
#[derive(Default)]
pub struct Wish {
    meta: BTreeMap<String, Option<String>>,
    url_keys: BTreeMap<String, Option<String>>,
    read: Option<Option<String>>,
    write: Option<Option<String>>,
    /// By the names `bytes` and `count`.
    quotas: BTreeMap<String, Option<u64>>,
    archive: Option<Option<Archive>>,
    /// Whether a container keeps versions.
    pub versions: Option<bool>,
}

impl Wish {
    /// Whether it changes what the account may hold, and whether it changes anything else.
    pub fn changes(&self) -> (bool, bool) {
        let quotas = &self.quotas;
        let others = self.meta.len() + self.url_keys.len();
        (!quotas.is_empty(), others > 0)
    }

    /// What is kept once it is done.
    ///
    /// # Errors
    /// 400 if that would be too much.
    pub fn check(&self, before: &Swift) -> Done<Swift> {
        let mut after = before.clone();
        self.apply(&mut after);
        check_size(&after.meta, OVERALL_MAX)?;
        Ok(after)
    }

    pub fn apply(&self, swift: &mut Swift) {
        for (change, kept) in [(&self.meta, &mut swift.meta), (&self.url_keys, &mut swift.url_keys)] {
            for (name, value) in change {
                match value {
                    Some(value) => kept.insert(name.clone(), value.clone()),
                    None => kept.remove(name),
                };
            }
        }
        if let Some(archive) = &self.archive {
            swift.archive.clone_from(archive);
        }
        for (name, limit) in &self.quotas {
            match limit {
                Some(limit) => swift.quotas.insert(name.clone(), *limit),
                None => swift.quotas.remove(name),
            };
        }
        if let Some(read) = &self.read {
            swift.read.clone_from(read);
        }
        if let Some(write) = &self.write {
            swift.write.clone_from(write);
        }
    }
}

fn check_size(meta: &BTreeMap<String, String>, overall: usize) -> Done<()> {
    if meta.len() > COUNT_MAX {
        return Err(bad(format!("Too many metadata items; max {COUNT_MAX}")));
    }
    for (name, value) in meta {
        if name.len() > NAME_MAX {
            return Err(bad(format!("Metadata name too long: {name}")));
        }
        if value.len() > VALUE_MAX {
            return Err(bad(format!("Metadata value longer than {VALUE_MAX}: {name}")));
        }
    }
    if meta.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > overall {
        return Err(bad(format!("Total metadata too large; max {overall}")));
    }
    Ok(())
}

/// The headers that begin so, without that.
fn with_prefix(call: &Call, prefix: &str) -> Done<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for name in call.headers.keys().map(http::HeaderName::as_str) {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        if rest.is_empty() {
            return Err(bad("Metadata name cannot be empty"));
        }
        found.insert(rest.to_owned(), call.header(name)?.unwrap_or_default().to_owned());
    }
    Ok(found)
}

fn check_name(what: &str, name: &str, value: &str) -> Done<()> {
    let missing = |what: &str| Err(refused(StatusCode::NOT_IMPLEMENTED, format!("{what} is not offered.")));
    match (what, name) {
        ("container", name) if !cors::is_fine(name, value) => Err(bad(format!("This is no {name}: {value}"))),
        ("container", name) if name.starts_with("web-") => missing("Serving websites"),
        ("container", "quota-bytes" | "quota-count") if value.parse::<u64>().is_err() => {
            Err(bad("A quota is a number."))
        }
        _ => Ok(()),
    }
}

/// The headers of where old objects go, and whether deletions are kept.
const ARCHIVES: [(&str, bool); 2] = [("versions-location", false), ("history-location", true)];

fn archive(call: &Call) -> Done<Option<Option<Archive>>> {
    let mut found = None;
    for (header, is_history) in ARCHIVES {
        let Some(place) = call.header(&format!("x-{header}"))? else {
            if call.headers.contains_key(format!("x-remove-{header}")) {
                found.get_or_insert(None);
            }
            continue;
        };
        if matches!(found, Some(Some(_))) {
            return Err(bad("Only one of X-Versions-Location and X-History-Location may be specified"));
        }
        let place =
            crate::query::unescape(place).ok_or_else(|| bad("The container's name does not decode."))?;
        found = Some(match place.as_str() {
            "" => None,
            place => match super::split_names(place)? {
                (container, None) if container == place => Some(Archive { container, is_history }),
                _ => {
                    return Err(refused(StatusCode::PRECONDITION_FAILED, "A container's name has no slash."));
                }
            },
        });
    }
    Ok(found)
}

/// The headers of what an account may hold: how each is called behind `x-account-` and behind `x-remove-account-`.
const QUOTAS: [(&str, &str); 3] =
    [("meta-quota-bytes", "bytes"), ("quota-bytes", "bytes"), ("quota-count", "count")];

/// Whether a request would change what the account may hold, whatever else it does.
pub fn is_about_quotas(headers: &HeaderMap) -> bool {
    headers.keys().map(http::HeaderName::as_str).any(|name| {
        let name = name.strip_prefix("x-remove-account-").or_else(|| name.strip_prefix("x-account-"));
        name.is_some_and(|name| name.starts_with("quota-") || name == "meta-quota-bytes")
    })
}

/// Source: OpenStack Swift, middleware "Account Quotas".
fn quotas(call: &Call) -> Done<BTreeMap<String, Option<u64>>> {
    if call
        .headers
        .keys()
        .any(|name| name.as_str().contains("-account-quota-") && name.as_str().contains("-policy-"))
    {
        return Err(refused(StatusCode::NOT_IMPLEMENTED, "Quotas of storage policies are not offered."));
    }
    let mut found = BTreeMap::new();
    for (header, name) in QUOTAS {
        if call.headers.contains_key(format!("x-remove-account-{header}")) {
            found.insert(name.to_owned(), None);
        }
        match call.header(&format!("x-account-{header}"))? {
            None => {}
            Some("") => {
                found.insert(name.to_owned(), None);
            }
            Some(limit) => {
                let limit = limit.parse().map_err(|_| bad("A quota is a number."))?;
                found.insert(name.to_owned(), Some(limit));
            }
        }
    }
    Ok(found)
}

impl Session<'_> {
    /// Reads what a request changes of an `account` or a `container`.
    ///
    /// # Errors
    /// 400, 403 and 501 with what is wrong.
    pub fn wish(&self, what: &str) -> Done<Wish> {
        let call = self.call;
        check_offered(&call.headers)?;
        let mut wish = Wish::default();
        let removed = with_prefix(call, &format!("x-remove-{what}-meta-"))?;
        let given = with_prefix(call, &format!("x-{what}-meta-"))?;
        let given =
            given.into_iter().map(|(name, value)| (name, Some(value).filter(|value| !value.is_empty())));
        for (name, value) in removed.into_keys().map(|name| (name, None)).chain(given) {
            if let Some(value) = &value {
                check_name(what, &name, value)?;
            }
            if what == "account" && name == "quota-bytes" {
                continue;
            }
            if URL_KEYS.contains(&name.as_str()) {
                let sealed = value.map(|value| self.seal(&value)).transpose()?;
                wish.url_keys.insert(name, sealed);
            } else {
                wish.meta.insert(name, value);
            }
        }
        if what == "account" {
            wish.quotas = quotas(call)?;
        }
        if what == "container" {
            if call.header("x-storage-policy")?.is_some_and(|name| !name.eq_ignore_ascii_case(POLICY)) {
                return Err(bad("Invalid X-Storage-Policy header"));
            }
            wish.archive = archive(call)?;
            if call.header("x-versions-enabled")?.is_some() {
                wish.versions = Some(call.is_set("x-versions-enabled")?);
            }
            if wish.versions == Some(true) && matches!(wish.archive, Some(Some(_))) {
                return Err(bad("A container keeps versions itself or has them kept, not both."));
            }
            wish.read = self.list("read")?;
            wish.write = self.list("write")?;
        }
        Ok(wish)
    }

    fn list(&self, kind: &str) -> Done<Option<Option<String>>> {
        if self.call.headers.contains_key(format!("x-remove-container-{kind}")) {
            return Ok(Some(None));
        }
        let given = self.call.header(&format!("x-container-{kind}"))?;
        let checked = given.map(|list| acl::check(list, kind == "write")).transpose()?;
        Ok(checked.map(|list| Some(list).filter(|list| !list.is_empty())))
    }

    fn purpose(&self) -> String {
        format!("objectstore.temp_url_key:{}", self.call.account)
    }

    fn seal(&self, key: &str) -> Done<String> {
        if key.len() > URL_KEY_MAX {
            return Err(bad(format!("Metadata value longer than {URL_KEY_MAX}")));
        }
        let sealed = self.store.0.master.seal(&self.call.cx, &self.purpose(), key.as_bytes())?;
        Ok(BASE64.encode(sealed))
    }

    /// The keys of temporary URLs that are kept there, opened.
    ///
    /// # Errors
    /// Internal if one does not open.
    pub fn url_keys(&self, swift: &Swift) -> Done<Vec<(String, String)>> {
        let broken =
            || super::Refused::from(hanse_core::Error::internal("a key of temporary URLs does not read"));
        swift
            .url_keys
            .iter()
            .map(|(name, sealed)| {
                let sealed = BASE64.decode(sealed).map_err(|_| broken())?;
                let opened = self.store.0.master.open(&self.purpose(), &sealed)?;
                let key = String::from_utf8(opened.expose().clone()).map_err(|_| broken())?;
                Ok((name.clone(), key))
            })
            .collect()
    }

    /// Shows what is kept of an account or a container.
    ///
    /// # Errors
    /// Internal if a key does not open.
    pub fn show(&self, what: &str, swift: &Swift, headers: &mut HeaderMap) -> Done<()> {
        for (name, value) in &swift.meta {
            set(headers, &format!("x-{what}-meta-{name}"), value);
        }
        if let Some(archive) = &swift.archive {
            let header = ARCHIVES.iter().find(|(_, is_history)| *is_history == archive.is_history);
            header.iter().for_each(|(header, _)| set(headers, &format!("x-{header}"), &archive.container));
        }
        for (header, name) in QUOTAS {
            if let Some(limit) = swift.quotas.get(name) {
                set(headers, &format!("x-account-{header}"), limit);
            }
        }
        if !self.is_owner() {
            return Ok(());
        }
        for (name, key) in self.url_keys(swift)? {
            set(headers, &format!("x-{what}-meta-{name}"), key);
        }
        for (kind, list) in [("read", &swift.read), ("write", &swift.write)] {
            if let Some(list) = list {
                set(headers, &format!("x-{what}-{kind}"), list);
            }
        }
        Ok(())
    }
}

/// What a request says of an object: the same that S3 keeps. Nothing stands in it that S3 could not show.
///
/// # Errors
/// 400, 501 with what is wrong.
pub fn of_object(call: &Call) -> Done<Meta> {
    check_offered(&call.headers)?;
    let text = |name: &str| -> Done<Option<String>> {
        let value = call.header(name)?.filter(|value| !value.is_empty());
        match value {
            Some(value) if !is_plain(value) => Err(bad(format!("The header {name} must be ASCII."))),
            value => Ok(value.map(str::to_owned)),
        }
    };
    let user = with_prefix(call, "x-object-meta-")?;
    check_size(&user, OVERALL_MAX)?;
    if let Some((name, _)) = user.iter().find(|(_, value)| !is_plain(value)) {
        return Err(bad(format!("Metadata of objects must be ASCII, so that S3 can show it, too: {name}")));
    }
    let expires = match text("expires")? {
        None => None,
        Some(date) => {
            let read = Timestamp::parse(TimestampFormat::HttpDate, &date);
            Some(seconds(&read.map_err(|_| bad("The header Expires is no date."))?))
        }
    };
    Ok(Meta {
        content_type: text("content-type")?,
        cache_control: text("cache-control")?,
        content_disposition: text("content-disposition")?,
        content_encoding: text("content-encoding")?,
        content_language: text("content-language")?,
        expires,
        user,
        ..Meta::default()
    })
}

/// The latest end that an object may have, in seconds since 1970. Source: OpenStack Swift, `Timestamp`.
const END_MAX: i64 = 9_999_999_999;

/// When an object ends by itself, in seconds since 1970. Source: OpenStack Object Storage API Reference, "Schedule objects for
/// deletion".
///
/// # Errors
/// 400 if that is no time, or is past.
pub fn end(call: &Call) -> Done<Option<i64>> {
    let now = call.cx.now().seconds();
    let number = |name: &str| -> Done<Option<i64>> {
        let text = call.header(name)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| bad(format!("Non-integer {name}")))).transpose()
    };
    // The one that is relative goes before the other.
    let (name, end) = match (number("x-delete-after")?, number("x-delete-at")?) {
        (Some(after), _) => ("x-delete-after", now.saturating_add(after)),
        (None, Some(at)) => ("x-delete-at", at),
        (None, None) => return Ok(None),
    };
    if end <= now {
        return Err(bad(format!("{name} in past")));
    }
    if end > END_MAX {
        return Err(bad(format!("{name} is too far away")));
    }
    Ok(Some(end))
}

/// Shows when an object ends.
pub fn show_end(ends_at: Option<i64>, headers: &mut HeaderMap) {
    if let Some(end) = ends_at {
        set(headers, "x-delete-at", end);
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Shows what is kept of an object.
pub fn show_object(meta: &Meta, headers: &mut HeaderMap) {
    set(headers, "content-type", meta.content_type.as_deref().unwrap_or(DEFAULT_TYPE));
    for (name, value) in [
        ("cache-control", &meta.cache_control),
        ("content-disposition", &meta.content_disposition),
        ("content-encoding", &meta.content_encoding),
        ("content-language", &meta.content_language),
    ] {
        if let Some(value) = value {
            set(headers, name, value);
        }
    }
    if let Some(expires) = meta.expires {
        set(headers, "expires", super::reply::http_date(hanse_core::Timestamp::from_seconds(expires)));
    }
    show_user(meta, headers);
}

pub fn show_user(meta: &Meta, headers: &mut HeaderMap) {
    for (name, value) in &meta.user {
        set(headers, &format!("x-object-meta-{name}"), value);
    }
}

/// Of an object that nobody named a type for.
pub const DEFAULT_TYPE: &str = "application/octet-stream";
