//! Lists of objects: a range of the index, in the order of UTF-8. A delimiter makes the scan jump over all that has a
//! common prefix, so that a page costs what it shows.

use hanse_core::{Error, Result};
use hanse_logstore::View;
use s3s::dto;
use s3s::{S3ErrorCode, S3Response, S3Result};

use crate::access::Decided;
use crate::buckets::owner;
use crate::conditions::time;
use crate::fault::{self, error};
use crate::record::Head;
use crate::{ObjectStore, keys, query};

const PAGE: i32 = 1000;

/// What is listed.
pub struct Wanted<'w> {
    /// What all keys of the store begin with: the bucket's.
    pub start: Vec<u8>,
    pub prefix: &'w str,
    pub delimiter: Option<&'w str>,
    /// Only what comes behind this.
    pub after: &'w str,
    pub most: usize,
}

/// A line of a list.
pub enum Line<T> {
    One(String, T),
    CommonPrefix(String),
}

impl<T> Line<T> {
    fn key(&self) -> &str {
        match self {
            Line::One(key, _) | Line::CommonPrefix(key) => key,
        }
    }
}

/// A page, and whether there is more behind it.
pub struct Page<T> {
    pub lines: Vec<Line<T>>,
    pub is_truncated: bool,
}

impl<T> Page<T> {
    /// The last key or common prefix, behind which the next page begins.
    pub fn last(&self) -> Option<String> {
        self.lines.last().filter(|_| self.is_truncated).map(|line| line.key().to_owned())
    }

    /// The common prefixes, and the rest.
    pub fn split(self) -> (Vec<(String, T)>, Vec<String>) {
        let (mut ones, mut prefixes) = (Vec::new(), Vec::new());
        for line in self.lines {
            match line {
                Line::One(key, value) => ones.push((key, value)),
                Line::CommonPrefix(prefix) => prefixes.push(prefix),
            }
        }
        (ones, prefixes)
    }
}

/// The first key that does not begin with this, as far as UTF-8 goes.
pub fn behind(prefix: &[u8]) -> Vec<u8> {
    // No UTF-8 has this byte.
    [prefix, &[0xff]].concat()
}

/// Lists what there is. `read` makes a line of a record, or passes it over.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn page<T>(
    view: &View,
    wanted: &Wanted<'_>,
    mut read: impl FnMut(&[u8]) -> Result<Option<T>>,
) -> Result<Page<T>> {
    let Wanted { start, prefix, delimiter, after, most } = wanted;
    let mut page = Page { lines: Vec::new(), is_truncated: false };
    if *most == 0 {
        return Ok(page);
    }
    page.lines.reserve(*most);
    let full = [start.as_slice(), prefix.as_bytes()].concat();
    let mut scan = view.scan_prefix(&full)?;
    if !after.is_empty() {
        // A common prefix that was shown ended a page with all that it stands for.
        let is_prefix = delimiter.is_some_and(|delimiter| {
            after.get(prefix.len()..).is_some_and(|rest| {
                after.starts_with(prefix)
                    && rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len())
            })
        });
        let place = [start.as_slice(), after.as_bytes()].concat();
        let from = if is_prefix { behind(&place) } else { [&place[..], b"\0"].concat() };
        if from > full {
            scan.seek(&from)?;
        }
    }
    while let Some(found) = scan.next() {
        let (place, record) = found?;
        let key = place.get(start.len()..).and_then(|key| std::str::from_utf8(key).ok());
        let key = key.ok_or_else(|| Error::internal("a key of an object is no UTF-8"))?;
        let Some(value) = read(&record.value)? else { continue };
        if page.lines.len() == *most {
            page.is_truncated = true;
            break;
        }
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let common = delimiter
            .and_then(|delimiter| rest.find(delimiter).map(|at| prefix.len() + at + delimiter.len()));
        match common.and_then(|end| key.get(..end)) {
            Some(common) => {
                scan.seek(&behind(&[start.as_slice(), common.as_bytes()].concat()))?;
                page.lines.push(Line::CommonPrefix(common.to_owned()));
            }
            None => page.lines.push(Line::One(key.to_owned(), value)),
        }
    }
    Ok(page)
}

/// How many lines are wanted.
///
/// # Errors
/// `InvalidArgument`.
pub fn most(asked: Option<i32>) -> S3Result<i32> {
    match asked {
        None => Ok(PAGE),
        Some(asked) if asked >= 0 => Ok(asked.min(PAGE)),
        Some(_) => Err(error(
            S3ErrorCode::InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647",
        )),
    }
}

/// Writes keys as the client asked for them.
///
/// Source: S3 API Reference, ListObjectsV2, `encoding-type`.
pub fn encoder(encoding: Option<&dto::EncodingType>) -> S3Result<fn(&str) -> String> {
    match encoding.map(dto::EncodingType::as_str) {
        None | Some("") => Ok(str::to_owned),
        Some("url") => Ok(|text| query::escape(text, true)),
        Some(_) => Err(error(S3ErrorCode::InvalidArgument, "Invalid Encoding Method specified in Request")),
    }
}

pub fn common_prefixes(prefixes: Vec<String>, encode: fn(&str) -> String) -> Option<Vec<dto::CommonPrefix>> {
    let shown = |prefix: String| dto::CommonPrefix { prefix: Some(encode(&prefix)) };
    Some(prefixes.into_iter().map(shown).collect())
}

fn object(key: &str, head: Head, owner: Option<dto::Owner>, encode: fn(&str) -> String) -> dto::Object {
    dto::Object {
        key: Some(encode(key)),
        e_tag: Some(dto::ETag::Strong(head.etag)),
        last_modified: Some(time(head.modified_at)),
        size: i64::try_from(head.size).ok(),
        storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
        owner,
        ..Default::default()
    }
}

impl ObjectStore {
    fn objects(
        &self,
        decided: &Decided,
        prefix: &str,
        delimiter: Option<&str>,
        after: &str,
        most: i32,
    ) -> S3Result<Page<Head>> {
        let wanted = Wanted {
            start: keys::objects(&decided.bucket()?.id),
            prefix,
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
            after,
            most: usize::try_from(most).unwrap_or_default(),
        };
        let now = self.0.cx.now();
        let list = || {
            page(&self.0.store.view()?, &wanted, |value| {
                let head = Head::decode(value)?.0;
                Ok((!head.is_gone(now)).then_some(head))
            })
        };
        list().map_err(|error| fault::of(&error))
    }

    pub(crate) fn list_v1(
        &self,
        input: dto::ListObjectsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        let most = most(input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let (prefix, after) =
            (input.prefix.as_deref().unwrap_or_default(), input.marker.as_deref().unwrap_or_default());
        let page = self.objects(decided, prefix, input.delimiter.as_deref(), after, most)?;
        let (is_truncated, last) = (page.is_truncated, page.last());
        let (ones, prefixes) = page.split();
        let owner = owner(&decided.project_id);
        let contents =
            ones.into_iter().map(|(key, head)| object(&key, head, Some(owner.clone()), encode)).collect();
        Ok(S3Response::new(dto::ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(prefix)),
            marker: Some(encode(after)),
            max_keys: Some(most),
            is_truncated: Some(is_truncated),
            contents: Some(contents),
            common_prefixes: common_prefixes(prefixes, encode),
            // Without a delimiter the last key serves: S3 leaves it out then.
            next_marker: last.filter(|_| input.delimiter.is_some()).map(|last| encode(&last)),
            delimiter: input.delimiter.as_deref().map(encode),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(crate) fn list_v2(
        &self,
        input: dto::ListObjectsV2Input,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        let most = most(input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let from_token = input
            .continuation_token
            .as_deref()
            .map(|token| {
                let bytes = BASE64.decode(token).ok();
                bytes
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .filter(|key| !key.is_empty())
                    .ok_or_else(|| {
                        error(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect")
                    })
            })
            .transpose()?;
        let after = from_token.as_deref().or(input.start_after.as_deref()).unwrap_or_default();
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let page = self.objects(decided, prefix, input.delimiter.as_deref(), after, most)?;
        let (is_truncated, last) = (page.is_truncated, page.last());
        let (ones, prefixes) = page.split();
        let owner = (input.fetch_owner == Some(true)).then(|| owner(&decided.project_id));
        let contents: Vec<dto::Object> =
            ones.into_iter().map(|(key, head)| object(&key, head, owner.clone(), encode)).collect();
        let count = contents.len() + prefixes.len();
        Ok(S3Response::new(dto::ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(prefix)),
            max_keys: Some(most),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(is_truncated),
            next_continuation_token: last.map(|last| BASE64.encode(last)),
            contents: Some(contents),
            common_prefixes: common_prefixes(prefixes, encode),
            delimiter: input.delimiter.as_deref().map(encode),
            start_after: input.start_after.as_deref().map(encode),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }
}
