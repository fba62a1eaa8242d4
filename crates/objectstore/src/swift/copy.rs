//! Copies within an account: the copy names the payloads of its source, so that no bytes move.

use std::sync::Arc;

use http::StatusCode;
use s3s::HttpResponse;
use s3s::dto::ETagCondition;

use super::auth::Session;
use super::object::created;
use super::reply::{Done, http_date, refused, set};
use super::{meta, split_names};
use crate::buckets::current;
use crate::conditions::Conditions;
use crate::encryption::check_plain;
use crate::notifications::{Cause, Origin};
use crate::objects::{Put, check_meta, no_such_key, put};
use crate::record::{Bucket, Head, Lock, Manifest, Meta, Object, Rest};
use crate::verbs::{GET_OBJECT, PUT_OBJECT};
use crate::{query, versions};

/// An object and its container.
type Place = (Arc<Bucket>, String);

impl Session<'_> {
    /// `PUT` with `X-Copy-From`.
    pub async fn copy_from(&self, container: &str, object: &str) -> Done {
        if self.call.header("content-length")?.is_some_and(|length| length != "0") {
            return Err(refused(StatusCode::BAD_REQUEST, "Copy requests require a zero byte body"));
        }
        let source = self.other("x-copy-from")?;
        self.copy(source, (container.to_owned(), object.to_owned())).await
    }

    /// `COPY` with `Destination`.
    pub async fn copy_to(&self, container: &str, object: &str) -> Done {
        let target = self.other("destination")?;
        self.copy((container.to_owned(), object.to_owned()), target).await
    }

    /// The container and the object that a header names.
    fn other(&self, header: &str) -> Done<(String, String)> {
        let wrong = || {
            let message = format!("The header {header} must be of the form <container name>/<object name>");
            refused(StatusCode::PRECONDITION_FAILED, message)
        };
        let text = self.call.header(header)?.and_then(query::unescape).ok_or_else(wrong)?;
        match split_names(text.strip_prefix('/').unwrap_or(&text))? {
            (container, Some(object)) => Ok((container, object)),
            _ => Err(wrong()),
        }
    }

    async fn copy(&self, source: (String, String), target: (String, String)) -> Done {
        let call = self.call;
        let (decided, onto_bucket) = self.within(PUT_OBJECT, &target.0)?;
        let (_, from_bucket) = self.within(GET_OBJECT, &source.0)?;
        let given = meta::of_object(call)?;
        let is_fresh = call.is_set("x-fresh-metadata")?;
        let seen = self.find(&self.store.0.store.view()?, &from_bucket, &source.1)?;
        let mut demands = self.conditions(&seen.object.head)?;
        // That one is about the target.
        if demands.if_none_match.as_ref().is_some_and(ETagCondition::is_any) {
            demands.if_none_match = None;
        }
        let onto = match call.header("if-none-match")? {
            Some("*") => self.onto()?,
            _ => Conditions::default(),
        };
        let copying = Copying {
            from: (from_bucket, source.1.clone()),
            onto: (onto_bucket, target.1),
            demands,
            conditions: onto,
            given,
            is_fresh,
            keeps_manifest: call.parameter("multipart-manifest") == Some("get"),
            now: decided.asker.cx.now(),
            origin: self.store.origin(&decided, Cause::Copy),
        };
        let object = self.store.add(&decided, move |change| copying.run(change)).await??;
        let mut answer: HttpResponse = created(&object, &object.head.etag);
        meta::show_user(&object.rest.meta, answer.headers_mut());
        set(answer.headers_mut(), "x-copied-from", format!("{}/{}", source.0, source.1));
        let modified = http_date(seen.object.head.modified_at);
        set(answer.headers_mut(), "x-copied-from-last-modified", modified);
        Ok(answer)
    }
}

/// A copy that is being made, in a transaction.
struct Copying {
    from: Place,
    onto: Place,
    demands: Conditions,
    conditions: Conditions,
    given: Meta,
    is_fresh: bool,
    keeps_manifest: bool,
    now: hanse_core::Timestamp,
    origin: Origin,
}

impl Copying {
    /// # Errors
    /// Internal if the store cannot be read; the inner error is the client's.
    fn run(self, change: &mut hanse_logstore::Change<'_>) -> hanse_core::Result<Done<Object>> {
        let ((from, source), (onto, target)) = (&self.from, &self.onto);
        let found = match current(change, from)? {
            Some(_) => versions::look_up(change, from, source, None)?,
            None => None,
        };
        let Some(found) = found else { return Ok(Err(no_such_key().into())) };
        let Object { head, rest } = Object::decode(&found.value)?;
        if head.is_marker {
            return Ok(Err(no_such_key().into()));
        }
        let checked = check_plain(&rest);
        if let Err(refused) = checked.and_then(|()| self.demands.check_source(&head)) {
            return Ok(Err(refused.into()));
        }
        if !self.keeps_manifest && matches!(rest.manifest, Some(Manifest::Dynamic(_))) {
            let message =
                "A dynamic large object is copied as a manifest alone: with ?multipart-manifest=get.";
            return Ok(Err(refused(StatusCode::NOT_IMPLEMENTED, message)));
        }
        let manifest = rest.manifest.filter(|_| self.keeps_manifest);
        let meta = merged(rest.meta, self.given, self.is_fresh);
        if let Err(refused) = check_meta(&meta) {
            return Ok(Err(refused.into()));
        }
        let mut object = Object {
            head: Head { modified_at: self.now, ..head },
            rest: Rest { meta, manifest, lock: Lock::default(), ..rest },
        };
        let done = put(change, onto, target, &mut object, &found.payloads, &self.conditions, &self.origin)?;
        Ok(match done {
            Put::Done => Ok(object),
            other => other.done().map(|()| object).map_err(Into::into),
        })
    }
}

/// What a copy says of itself: what its source says, with what the request says in its place.
fn merged(old: Meta, given: Meta, is_fresh: bool) -> Meta {
    let content_type = given.content_type.clone().or(old.content_type.clone());
    if is_fresh {
        return Meta { content_type, tags: old.tags, ..given };
    }
    let mut user = old.user;
    user.extend(given.user);
    Meta {
        content_type,
        tags: old.tags,
        website_redirect_location: old.website_redirect_location,
        cache_control: given.cache_control.or(old.cache_control),
        content_disposition: given.content_disposition.or(old.content_disposition),
        content_encoding: given.content_encoding.or(old.content_encoding),
        content_language: given.content_language.or(old.content_language),
        expires: given.expires.or(old.expires),
        user,
    }
}
