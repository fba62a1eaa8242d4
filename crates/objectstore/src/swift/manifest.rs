//! Large objects: what is read of several objects as if it were one.
//!
//! Source: OpenStack Object Storage API Reference, "Large objects".

use hanse_core::{Result, Timestamp, hex};
use hanse_logstore::{PayloadId, Record, View};
use http::StatusCode;
use md5::{Digest as _, Md5};

use super::auth::Session;
use super::reply::{Done, Refused, refused};
use super::split_names;
use crate::encryption::check_plain;
use crate::objects::Found;
use crate::record::{Head, Manifest, Object, Piece};
use crate::verbs::GET_OBJECT;
use crate::{keys, query};

/// Of a dynamic large object; more would be more than one answer should gather.
pub const SEGMENTS_MAX: usize = 10_000;

/// What is read as one object.
pub struct Whole {
    pub head: Head,
    pub pieces: Vec<Piece>,
    pub payloads: Vec<PayloadId>,
    /// Whether its tag is one of tags.
    pub is_manifest: bool,
}

impl Whole {
    /// An object by itself.
    pub fn of(found: Found) -> Whole {
        let Found { object: Object { head, rest }, payloads } = found;
        let is_manifest = matches!(rest.manifest, Some(Manifest::Static(_)));
        Whole { head, pieces: rest.pieces, payloads, is_manifest }
    }
}

/// The bytes of hexadecimal digits.
pub fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// The tag of a large object.
pub fn tag_of_tags<'t>(tags: impl Iterator<Item = &'t str>) -> String {
    let mut md5 = Md5::new();
    tags.for_each(|tag| md5.update(tag));
    hex(md5.finalize())
}

impl Session<'_> {
    /// What `X-Object-Manifest` of a request says.
    ///
    /// # Errors
    /// 400 if it is no `<container>/<prefix>`.
    pub fn dynamic(&self) -> Done<Option<Manifest>> {
        let Some(text) = self.call.header("x-object-manifest")? else { return Ok(None) };
        let wrong =
            || refused(StatusCode::BAD_REQUEST, "X-Object-Manifest must be in the format container/prefix");
        let place = query::unescape(text).ok_or_else(wrong)?;
        match split_names(place.trim_start_matches('/')) {
            Ok((container, Some(prefix))) => Ok(Some(Manifest::Dynamic(format!("{container}/{prefix}")))),
            _ => Err(wrong()),
        }
    }

    /// What is read of an object: itself, or what its manifest leads to at this moment.
    ///
    /// # Errors
    /// 403 if the caller may not read where that leads.
    pub fn whole(&self, view: &View, found: Found) -> Done<Whole> {
        let Some(Manifest::Dynamic(place)) = &found.object.rest.manifest else { return Ok(Whole::of(found)) };
        let parts = match self.room(&self.call.account, place)? {
            Some(room) => segments(view.scan_prefix(&room)?, self.call.cx.now())?,
            None => Vec::new(),
        };
        Whole::gathered(found.object.head, parts)
    }

    /// What the keys of the segments of a dynamic large object begin with; `None` if there is no such container, which is no
    /// error.
    ///
    /// # Errors
    /// 403 if the caller may not read there.
    pub fn room(&self, account: &str, place: &str) -> Done<Option<Vec<u8>>> {
        let (container, prefix) = split_names(place)?;
        match self.within_account(account, GET_OBJECT, &container) {
            Ok((_, bucket)) => Ok(Some(keys::object(&bucket.id, &prefix.unwrap_or_default()))),
            Err(refused) if refused.status == StatusCode::NOT_FOUND => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

impl Whole {
    /// A dynamic large object, of what was found of it.
    ///
    /// # Errors
    /// 409 if there are too many segments; 400 if one was encrypted with a key of the client's.
    pub fn gathered(head: Head, parts: Vec<(Object, Vec<PayloadId>)>) -> Done<Whole> {
        if parts.len() > SEGMENTS_MAX {
            let message = format!("A dynamic large object has at most {SEGMENTS_MAX} segments.");
            return Err(refused(StatusCode::CONFLICT, message));
        }
        let etag = tag_of_tags(parts.iter().map(|(object, _)| object.head.etag.as_str()));
        let mut whole = Whole {
            head: Head { etag, size: 0, ..head },
            pieces: Vec::new(),
            payloads: Vec::new(),
            is_manifest: true,
        };
        for (object, payloads) in parts {
            check_plain(&object.rest).map_err(Refused::from)?;
            if matches!(object.rest.manifest, Some(Manifest::Link(_))) {
                return Err(refused(
                    StatusCode::CONFLICT,
                    "A symbolic link is no segment of a large object.",
                ));
            }
            whole.head.size += object.head.size;
            whole.head.modified_at = whole.head.modified_at.max(object.head.modified_at);
            whole.pieces.extend(object.rest.pieces);
            whole.payloads.extend(payloads);
        }
        Ok(whole)
    }
}

/// The objects among records, at most one more than there may be.
///
/// # Errors
/// Internal if one does not read.
pub fn segments(
    records: impl Iterator<Item = Result<(Vec<u8>, Record)>>,
    now: Timestamp,
) -> Result<Vec<(Object, Vec<PayloadId>)>> {
    let mut found = Vec::new();
    for item in records {
        let (_, record) = item?;
        let object = Object::decode(&record.value)?;
        if !object.head.is_gone(now) {
            found.push((object, record.payloads));
        }
        if found.len() > SEGMENTS_MAX {
            break;
        }
    }
    Ok(found)
}
