//! Objects on their way out.

use hanse_logstore::View;
use http::{HeaderMap, Method, StatusCode, header};
use s3s::dto::{self, ETag, ETagCondition, TimestampFormat};
use s3s::{Body, HttpResponse, S3ErrorCode};

use super::auth::{Proof, Session};
use super::link::Reached;
use super::manifest::Whole;
use super::meta;
use super::reply::{Done, Refused, http_date, refused, set, timestamp};
use super::versions::show_version;
use crate::access::Decided;
use crate::conditions::Conditions;
use crate::encryption::{Under, check_plain};
use crate::objects::Found;
use crate::outgoing::{self, Opener};
use crate::record::{Bucket, Head, Manifest};
use crate::verbs::GET_OBJECT;

impl Session<'_> {
    /// An object that may be read without a key of the client's.
    ///
    /// # Errors
    /// 404; 400 if it was encrypted with a key of the client's.
    pub fn find(&self, view: &View, bucket: &Bucket, key: &str, version: Option<&str>) -> Done<Found> {
        let found = match self.store.find(view, bucket, key, version) {
            Ok(found) => found,
            // Here a delete marker is not found, however it is asked for.
            Err(error) if *error.code() == S3ErrorCode::MethodNotAllowed => {
                return Err(StatusCode::NOT_FOUND.into());
            }
            Err(error) => return Err(error.into()),
        };
        check_plain(&found.object.rest)?;
        Ok(found)
    }

    pub async fn show_object(&self, container: &str, object: &str) -> Done {
        self.read(container, object, true).await
    }

    /// Shows an object: what its manifest leads to, or its own bytes.
    pub async fn read(&self, container: &str, object: &str, expands: bool) -> Done {
        let (decided, bucket) = self.within(GET_OBJECT, container)?;
        let view = self.store.0.store.view()?;
        let found = self.find(&view, &bucket, object, self.version())?;
        let mut reached = Reached { decided, bucket, found, link: None };
        if !self.is_about_link() {
            reached = self.follow(&view, reached)?;
        }
        let mut headers = HeaderMap::new();
        reached.show(&mut headers);
        let Reached { decided, bucket, found, .. } = reached;
        let rest = &found.object.rest;
        meta::show_object(&rest.meta, &mut headers);
        match &rest.manifest {
            Some(Manifest::Static(_)) => set(&mut headers, "x-static-large-object", "True"),
            Some(Manifest::Dynamic(place)) => set(&mut headers, "x-object-manifest", place),
            Some(Manifest::Link(link)) => link.show(&mut headers),
            None => {}
        }
        show_version(&bucket, &found.object.head, &mut headers);
        meta::show_end(found.object.head.ends_at, &mut headers);
        if matches!(self.proof, Proof::Url(_)) {
            self.dress(object, &mut headers);
        }
        let whole = if expands { self.whole(&view, found)? } else { Whole::of(found) };
        self.show_whole(&decided, view, whole, headers).await
    }

    async fn show_whole(&self, decided: &Decided, view: View, whole: Whole, mut headers: HeaderMap) -> Done {
        let (head, call) = (&whole.head, self.call);
        set(&mut headers, "last-modified", http_date(head.modified_at));
        set(&mut headers, "x-timestamp", timestamp(head.modified_at));
        set(&mut headers, "accept-ranges", "bytes");
        let shown = if whole.is_manifest { format!("\"{}\"", head.etag) } else { head.etag.clone() };
        set(&mut headers, "etag", &shown);
        if let Err(refused) = self.conditions(head)?.check_read(head) {
            return Err(Refused::from(refused).with(header::ETAG, shown));
        }
        let range = match call.header("range")?.map(dto::Range::parse) {
            // What is no single range is passed over, as RFC 9110, 14.2 allows.
            None | Some(Err(_)) => None,
            Some(Ok(range)) => Some(range.check(head.size).map_err(|_| {
                let refused =
                    refused(StatusCode::RANGE_NOT_SATISFIABLE, "The Range requested is not available.");
                refused.with(header::CONTENT_RANGE, format!("bytes */{}", head.size))
            })?),
        };
        if let Some(range) = &range {
            let last = range.end.saturating_sub(1);
            set(&mut headers, "content-range", format!("bytes {}-{last}/{}", range.start, head.size));
        }
        let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let range = range.unwrap_or(0..head.size);
        let length = range.end - range.start;
        set(&mut headers, "content-length", length);
        let body = if call.method == Method::HEAD {
            Body::empty()
        } else {
            let key = self.store.wrapping(decided, &decided.project_id, &Under::Project).await?;
            let opener = Opener::new(view, &key, &whole.pieces, &whole.payloads, range)?;
            Body::from(outgoing::body(opener, length).await?)
        };
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// What a read demands of the object that is there.
    ///
    /// # Errors
    /// 400 if a header does not read.
    pub fn conditions(&self, head: &Head) -> Done<Conditions> {
        let tag = |name: &str| -> Done<Option<ETagCondition>> {
            let Some(text) = self.call.header(name)? else { return Ok(None) };
            if text == "*" {
                return Ok(Some(ETagCondition::Any));
            }
            // With quotes or without. Of several, the one that fits decides.
            let mut tags = text.split(',').map(|tag| tag.trim().trim_matches('"'));
            let fits = tags.clone().find(|tag| *tag == head.etag);
            let tag = fits.or_else(|| tags.next()).unwrap_or_default();
            Ok(Some(ETagCondition::ETag(ETag::Strong(tag.to_owned()))))
        };
        // A date that does not read counts for nothing: RFC 9110, 13.1.3.
        let date = |name: &str| -> Done<Option<dto::Timestamp>> {
            let date = self.call.header(name)?;
            Ok(date.and_then(|date| dto::Timestamp::parse(TimestampFormat::HttpDate, date).ok()))
        };
        Ok(Conditions {
            if_match: tag("if-match")?,
            if_none_match: tag("if-none-match")?,
            if_modified_since: date("if-modified-since")?,
            if_unmodified_since: date("if-unmodified-since")?,
        })
    }
}
