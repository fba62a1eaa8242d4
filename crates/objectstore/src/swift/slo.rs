//! Static large objects: a list of segments that becomes one object.
//!
//! The object names the payloads of its segments, as a completed upload of S3 names those of its parts. So it is read by
//! either API, and stays what it was when segments change.
//!
//! Source: OpenStack Object Storage API Reference, "Large objects", "Static large objects".

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hanse_core::{Result, hex};
use hanse_logstore::{Change, PayloadId, Staged};
use http::{HeaderMap, StatusCode};
use md5::{Digest as _, Md5};
use s3s::{Body, dto};
use serde::Deserialize;
use serde_json::json;

use super::auth::Session;
use super::manifest::tag_of_tags;
use super::object::created;
use super::reply::{Done, Refused, json as json_reply, refused, set};
use super::{bulk, check_length, gather, meta, split_names};
use crate::access::Decided;
use crate::conditions::Conditions;
use crate::encryption::{Under, check_plain};
use crate::intake::{PUT_MAX, Sealer};
use crate::look::Look;
use crate::notifications::{Cause, Origin};
use crate::objects::{Put, check_meta, put};
use crate::outgoing::Opener;
use crate::record::{Bucket, Head, Manifest, Meta, Object, Piece, Rest, Segment};
use crate::verbs::{GET_OBJECT, PUT_OBJECT};
use crate::versions;

pub const SEGMENTS_MAX: usize = 1000;
/// Of a list of segments, in bytes.
pub const MANIFEST_MAX: usize = 2 << 20;
/// Of the data that stand in a list of segments, which is kept with them, in bytes.
pub const DATA_MAX: u64 = 64 << 10;

/// A segment as a request lists it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    path: Option<String>,
    etag: Option<String>,
    size_bytes: Option<u64>,
    range: Option<String>,
    data: Option<String>,
}

/// A segment on its way to be one.
enum Part {
    /// An object that is looked for.
    Object(Wanted),
    /// Bytes that have been taken in for this manifest alone.
    Own(Box<Own>),
}

struct Own {
    segment: Segment,
    piece: Piece,
    staged: Option<Staged>,
}

struct Wanted {
    container: String,
    object: String,
    /// `None` if there is no such container.
    bucket: Option<Arc<Bucket>>,
    etag: Option<String>,
    size: Option<u64>,
}

fn bad(message: impl Into<String>) -> Refused {
    refused(StatusCode::BAD_REQUEST, message)
}

impl Session<'_> {
    pub async fn put_slo(&self, container: &str, object: &str, body: Body) -> Done {
        let call = self.call;
        let (decided, bucket) = self.within(PUT_OBJECT, container)?;
        check_length(&call.headers)?;
        let mut meta = meta::of_object(call)?;
        meta.content_type.get_or_insert_with(|| meta::DEFAULT_TYPE.to_owned());
        check_meta(&meta)?;
        let listed: Vec<Listed> = serde_json::from_slice(&gather(body, MANIFEST_MAX).await?)
            .map_err(|error| bad(format!("Manifest must be valid JSON: {error}")))?;
        if listed.is_empty() || listed.len() > SEGMENTS_MAX {
            return Err(bad(format!("A manifest has 1 to {SEGMENTS_MAX} segments.")));
        }
        if listed.iter().all(|listed| listed.data.is_some()) {
            return Err(bad("Inline data segments require at least one object-backed segment."));
        }
        // What is taken in of its own, in bytes.
        let (mut data, mut ranges) = (0, 0);
        let mut parts = Vec::new();
        for listed in listed {
            let part = self.part(&decided, listed).await?;
            if let Part::Own(own) = &part {
                let Own { segment, piece, .. } = &**own;
                let (sum, most) = match segment.data {
                    Some(_) => (&mut data, DATA_MAX),
                    None => (&mut ranges, PUT_MAX),
                };
                *sum += piece.size;
                if *sum > most {
                    return Err(bad(format!(
                        "Data and ranges of a manifest have at most {DATA_MAX} and {PUT_MAX} bytes."
                    )));
                }
            }
            parts.push(part);
        }
        let making = Making {
            bucket,
            key: object.to_owned(),
            parts,
            meta,
            etag: self.claimed_etag()?,
            conditions: self.onto()?,
            ends_at: meta::end(call)?,
            now: decided.asker.cx.now(),
            origin: self.store.origin(&decided, Cause::Put),
        };
        let object = self.store.add(&decided, move |change| making.run(change)).await??;
        Ok(created(&object, &format!("\"{}\"", object.head.etag)))
    }

    async fn part(&self, decided: &Decided, listed: Listed) -> Done<Part> {
        if let Some(data) = listed.data {
            if listed.path.is_some()
                || listed.range.is_some()
                || listed.etag.is_some()
                || listed.size_bytes.is_some()
            {
                return Err(bad("A segment of data has nothing else."));
            }
            let bytes = BASE64.decode(&data).ok().filter(|bytes| !bytes.is_empty());
            let bytes =
                Bytes::from(bytes.ok_or_else(|| bad("The data of a segment are not base64, or none."))?);
            let key = self.store.wrapping(decided, &decided.project_id, &Under::Project).await?;
            let mut sealer = Sealer::new(&self.call.cx, &self.store.0.store, &key)?;
            sealer.push(bytes.clone()).await?;
            let (piece, staged) = sealer.finish().await?;
            let segment = Segment {
                etag: hex(Md5::digest(&bytes)),
                size: piece.size,
                data: Some(data),
                ..Segment::default()
            };
            return Ok(Part::Own(Box::new(Own { segment, piece, staged })));
        }
        let path = listed.path.unwrap_or_default();
        let (container, Some(object)) = split_names(path.trim_start_matches('/'))? else {
            return Err(bad(format!("'{path}' is no path of a segment.")));
        };
        let bucket = self.container(&container)?;
        self.decide(GET_OBJECT, bucket.clone())?;
        let etag = listed.etag.map(|etag| etag.trim_matches('"').to_ascii_lowercase());
        let wanted = Wanted { container, object, bucket, etag, size: listed.size_bytes };
        match listed.range.filter(|range| !range.is_empty()) {
            Some(range) => self.range(decided, wanted, range).await,
            None => Ok(Part::Object(wanted)),
        }
    }

    /// A part of an object, whose bytes are written anew: else it would keep all of them on the disk and count as a few.
    async fn range(&self, decided: &Decided, wanted: Wanted, range: String) -> Done<Part> {
        let view = self.store.0.store.view()?;
        let wrong = |why: &str| bad(format!("Errors:\n/{}/{}, {why}", wanted.container, wanted.object));
        let (object, payloads) = find(&view, &wanted, self.call.cx.now())?.map_err(wrong)?;
        let bytes = dto::Range::parse(&format!("bytes={range}")).ok();
        let bytes = bytes.and_then(|bytes| bytes.check(object.head.size).ok());
        let bytes = bytes.ok_or_else(|| wrong("Unsatisfiable Range"))?;
        if bytes.end - bytes.start > PUT_MAX {
            return Err(wrong("A range has at most 5 GiB"));
        }
        self.store.check_room(&self.call.cx, &decided.project_id, bytes.end - bytes.start).await?;
        let key = self.store.wrapping(decided, &decided.project_id, &Under::Project).await?;
        let mut opener = Opener::new(view, &key, &object.rest.pieces, &payloads, bytes)?;
        let mut sealer = Sealer::new(&self.call.cx, &self.store.0.store, &key)?;
        while let Some(bytes) = opener.next().await? {
            sealer.push(bytes).await?;
        }
        let (piece, staged) = sealer.finish().await?;
        let segment = Segment { range: Some(range), ..Segment::of(&wanted, &object) };
        Ok(Part::Own(Box::new(Own { segment, piece, staged })))
    }

    /// The list of segments, if the object has one; else its own bytes.
    pub async fn show_slo(&self, container: &str, object: &str) -> Done {
        let (_, bucket) = self.within(GET_OBJECT, container)?;
        let found = self.find(&self.store.0.store.view()?, &bucket, object, None)?;
        let Some(Manifest::Static(segments)) = &found.object.rest.manifest else {
            return self.read(container, object, false).await;
        };
        let is_raw = self.call.parameter("format") == Some("raw");
        let lines: Vec<_> = segments
            .iter()
            .map(|segment| {
                if let Some(data) = &segment.data {
                    return json!({ "data": data });
                }
                let path = format!("/{}/{}", segment.container, segment.object);
                let mut line = match is_raw {
                    true => json!({ "path": path, "etag": segment.etag, "size_bytes": segment.size }),
                    false => json!({
                        "name": path,
                        "hash": segment.etag,
                        "bytes": segment.size,
                        "content_type": segment.content_type.as_deref().unwrap_or(meta::DEFAULT_TYPE),
                        "last_modified": hanse_core::Timestamp(segment.modified_at).iso_naive(),
                    }),
                };
                if let Some(range) = &segment.range {
                    line["range"] = json!(range);
                }
                line
            })
            .collect();
        let mut headers = HeaderMap::new();
        meta::show_object(&found.object.rest.meta, &mut headers);
        set(&mut headers, "x-static-large-object", "True");
        Ok(json_reply(headers, &lines.into()))
    }

    /// Deletes a large object with its segments.
    pub async fn delete_slo(&self, container: &str, object: &str) -> Done {
        let (_, bucket) = self.within(GET_OBJECT, container)?;
        let found = self.find(&self.store.0.store.view()?, &bucket, object, None)?;
        let Some(Manifest::Static(segments)) = found.object.rest.manifest else {
            return Err(bad("Not an SLO manifest"));
        };
        // A segment may be listed several times.
        let objects = segments.into_iter().filter(|segment| segment.data.is_none());
        let segments: BTreeSet<bulk::Name> =
            objects.map(|segment| (segment.container, Some(segment.object))).collect();
        let mut names: Vec<bulk::Name> = segments.into_iter().collect();
        names.push((container.to_owned(), Some(object.to_owned())));
        Ok(self.delete_all(names).await.show(self.call))
    }
}

/// A large object on its way to be one.
struct Making {
    bucket: Arc<Bucket>,
    key: String,
    parts: Vec<Part>,
    meta: Meta,
    etag: Option<String>,
    conditions: Conditions,
    ends_at: Option<i64>,
    now: hanse_core::Timestamp,
    origin: Origin,
}

impl Making {
    /// # Errors
    /// Internal if the store cannot be read; the inner error is the client's.
    fn run(self, change: &mut Change<'_>) -> Result<Done<Object>> {
        let (mut segments, mut pieces, mut payloads, mut wrong) = (vec![], vec![], vec![], vec![]);
        for part in self.parts {
            match part {
                Part::Own(own) => {
                    let Own { segment, piece, staged } = *own;
                    payloads.extend(staged.map(|staged| change.attach(staged)));
                    pieces.push(piece);
                    segments.push(segment);
                }
                Part::Object(wanted) => match find(change, &wanted, self.now)? {
                    Ok((object, of_object)) => {
                        segments.push(Segment::of(&wanted, &object));
                        pieces.extend(object.rest.pieces);
                        payloads.extend(of_object);
                    }
                    Err(why) => wrong.push(format!("/{}/{}, {why}", wanted.container, wanted.object)),
                },
            }
        }
        if !wrong.is_empty() {
            return Ok(Err(bad(format!("Errors:\n{}", wrong.join("\n")))));
        }
        // Source: OpenStack Swift, middleware "Static Large Objects".
        let tags: Vec<String> = segments
            .iter()
            .map(|segment| match &segment.range {
                Some(range) => format!("{}:{range};", segment.etag),
                None => segment.etag.clone(),
            })
            .collect();
        let etag = tag_of_tags(tags.iter().map(String::as_str));
        if self.etag.is_some_and(|claimed| claimed != etag) {
            return Ok(Err(StatusCode::UNPROCESSABLE_ENTITY.into()));
        }
        let mut object = Object {
            head: Head {
                modified_at: self.now,
                size: pieces.iter().map(|piece| piece.size).sum(),
                etag,
                version: None,
                is_marker: false,
                ends_at: self.ends_at,
            },
            rest: Rest {
                meta: self.meta,
                pieces,
                manifest: Some(Manifest::Static(segments)),
                ..Rest::default()
            },
        };
        let done =
            put(change, &self.bucket, &self.key, &mut object, &payloads, &self.conditions, &self.origin)?;
        Ok(match done {
            Put::Done => Ok(object),
            other => other.done().map(|()| object).map_err(Into::into),
        })
    }
}

impl Segment {
    fn of(wanted: &Wanted, object: &Object) -> Segment {
        Segment {
            container: wanted.container.clone(),
            object: wanted.object.clone(),
            etag: object.head.etag.clone(),
            size: object.head.size,
            content_type: object.rest.meta.content_type.clone(),
            modified_at: object.head.modified_at.0,
            ..Segment::default()
        }
    }
}

/// A segment as it is, or why it cannot be one.
fn find(
    view: &impl Look,
    wanted: &Wanted,
    now: hanse_core::Timestamp,
) -> Result<std::result::Result<(Object, Vec<PayloadId>), &'static str>> {
    let found = match &wanted.bucket {
        Some(bucket) => versions::look_up(view, bucket, &wanted.object, None)?,
        None => None,
    };
    let Some(found) = found else { return Ok(Err("404 Not Found")) };
    let object = Object::decode(&found.value)?;
    if object.head.is_gone(now) {
        return Ok(Err("404 Not Found"));
    }
    if check_plain(&object.rest).is_err() {
        return Ok(Err("Encrypted under a key that Swift does not use"));
    }
    match object.rest.manifest {
        Some(Manifest::Dynamic(_)) => return Ok(Err("A dynamic large object")),
        Some(Manifest::Link(_)) => return Ok(Err("A symbolic link")),
        _ => {}
    }
    if object.head.size == 0 {
        return Ok(Err("Too small; each segment must be at least 1 byte."));
    }
    if wanted.size.is_some_and(|size| size != object.head.size) {
        return Ok(Err("Size Mismatch"));
    }
    if wanted.etag.as_ref().is_some_and(|etag| *etag != object.head.etag) {
        return Ok(Err("Etag Mismatch"));
    }
    Ok(Ok((object, found.payloads)))
}
