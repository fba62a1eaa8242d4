//! Static large objects: a list of segments that becomes one object.
//!
//! The object names the payloads of its segments, as a completed upload of S3 names those of its parts. So it is read by
//! either API, and stays what it was when segments change.
//!
//! Source: OpenStack Object Storage API Reference, "Large objects", "Static large objects".

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_core::Result;
use hanse_logstore::{Change, PayloadId};
use http::{HeaderMap, StatusCode};
use s3s::Body;
use serde::Deserialize;
use serde_json::json;

use super::auth::Session;
use super::manifest::tag_of_tags;
use super::object::created;
use super::reply::{Done, Refused, json as json_reply, refused, set};
use super::{bulk, check_length, gather, meta, split_names};
use crate::buckets::current;
use crate::conditions::Conditions;
use crate::encryption::check_plain;
use crate::notifications::{Cause, Origin};
use crate::objects::{Put, check_meta, put};
use crate::record::{Bucket, Head, Manifest, Meta, Object, Rest, Segment};
use crate::verbs::{GET_OBJECT, PUT_OBJECT};
use crate::versions;

pub const SEGMENTS_MAX: usize = 1000;
/// Of a list of segments, in bytes.
pub const MANIFEST_MAX: usize = 2 << 20;

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

/// A segment that is looked for.
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
        let wanted = listed.into_iter().map(|listed| self.wanted(listed)).collect::<Done<Vec<_>>>()?;
        let making = Making {
            bucket,
            key: object.to_owned(),
            wanted,
            meta,
            etag: self.claimed_etag()?,
            conditions: self.onto()?,
            now: decided.asker.cx.now(),
            origin: self.store.origin(&decided, Cause::Put),
        };
        let object = self.store.add(&decided, move |change| making.run(change)).await??;
        Ok(created(&object, &format!("\"{}\"", object.head.etag)))
    }

    fn wanted(&self, listed: Listed) -> Done<Wanted> {
        let missing =
            |what: &str| Err(refused(StatusCode::NOT_IMPLEMENTED, format!("{what} is not offered.")));
        if listed.range.is_some() {
            return missing("A range of a segment");
        }
        if listed.data.is_some() {
            return missing("A segment within the manifest");
        }
        let path = listed.path.unwrap_or_default();
        let (container, Some(object)) = split_names(path.trim_start_matches('/'))? else {
            return Err(bad(format!("'{path}' is no path of a segment.")));
        };
        let bucket = self.container(&container)?;
        self.decide(GET_OBJECT, bucket.clone())?;
        let etag = listed.etag.map(|etag| etag.trim_matches('"').to_ascii_lowercase());
        Ok(Wanted { container, object, bucket, etag, size: listed.size_bytes })
    }

    /// The list of segments, if the object has one; else its own bytes.
    pub async fn show_slo(&self, container: &str, object: &str) -> Done {
        let (_, bucket) = self.within(GET_OBJECT, container)?;
        let found = self.find(&self.store.0.store.view()?, &bucket, object)?;
        let Some(Manifest::Static(segments)) = &found.object.rest.manifest else {
            return self.read(container, object, false).await;
        };
        let is_raw = self.call.parameter("format") == Some("raw");
        let lines: Vec<_> = segments
            .iter()
            .map(|segment| {
                let path = format!("/{}/{}", segment.container, segment.object);
                if is_raw {
                    return json!({ "path": path, "etag": segment.etag, "size_bytes": segment.size });
                }
                json!({
                    "name": path,
                    "hash": segment.etag,
                    "bytes": segment.size,
                    "content_type": segment.content_type.as_deref().unwrap_or(meta::DEFAULT_TYPE),
                    "last_modified": hanse_core::Timestamp(segment.modified_at).iso_naive(),
                })
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
        let found = self.find(&self.store.0.store.view()?, &bucket, object)?;
        let Some(Manifest::Static(segments)) = found.object.rest.manifest else {
            return Err(bad("Not an SLO manifest"));
        };
        // A segment may be listed several times.
        let segments: BTreeSet<bulk::Name> =
            segments.into_iter().map(|segment| (segment.container, Some(segment.object))).collect();
        let mut names: Vec<bulk::Name> = segments.into_iter().collect();
        names.push((container.to_owned(), Some(object.to_owned())));
        Ok(self.delete_all(names).await.show(self.call))
    }
}

/// A large object on its way to be one.
struct Making {
    bucket: Arc<Bucket>,
    key: String,
    wanted: Vec<Wanted>,
    meta: Meta,
    etag: Option<String>,
    conditions: Conditions,
    now: hanse_core::Timestamp,
    origin: Origin,
}

impl Making {
    /// # Errors
    /// Internal if the store cannot be read; the inner error is the client's.
    fn run(self, change: &mut Change<'_>) -> Result<Done<Object>> {
        let (mut segments, mut pieces, mut payloads, mut wrong) = (vec![], vec![], vec![], vec![]);
        for wanted in self.wanted {
            match find(change, &wanted)? {
                Ok((object, of_object)) => {
                    pieces.extend(object.rest.pieces);
                    payloads.extend(of_object);
                    segments.push(Segment {
                        container: wanted.container,
                        object: wanted.object,
                        etag: object.head.etag,
                        size: object.head.size,
                        content_type: object.rest.meta.content_type,
                        modified_at: object.head.modified_at.0,
                    });
                }
                Err(why) => wrong.push(format!("/{}/{}, {why}", wanted.container, wanted.object)),
            }
        }
        if !wrong.is_empty() {
            return Ok(Err(bad(format!("Errors:\n{}", wrong.join("\n")))));
        }
        let etag = tag_of_tags(segments.iter().map(|segment| segment.etag.as_str()));
        if self.etag.is_some_and(|claimed| claimed != etag) {
            return Ok(Err(StatusCode::UNPROCESSABLE_ENTITY.into()));
        }
        let mut object = Object {
            head: Head {
                modified_at: self.now,
                size: segments.iter().map(|segment| segment.size).sum(),
                etag,
                version: None,
                is_marker: false,
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

/// A segment as it is, or why it cannot be one.
fn find(
    change: &Change<'_>,
    wanted: &Wanted,
) -> Result<std::result::Result<(Object, Vec<PayloadId>), &'static str>> {
    let found = match &wanted.bucket {
        Some(bucket) if current(change, bucket)?.is_some() => {
            versions::look_up(change, bucket, &wanted.object, None)?
        }
        _ => None,
    };
    let Some(found) = found else { return Ok(Err("404 Not Found")) };
    let object = Object::decode(&found.value)?;
    if object.head.is_marker {
        return Ok(Err("404 Not Found"));
    }
    if check_plain(&object.rest).is_err() {
        return Ok(Err("Encrypted under a key that Swift does not use"));
    }
    if matches!(object.rest.manifest, Some(Manifest::Dynamic(_))) {
        return Ok(Err("A dynamic large object"));
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
