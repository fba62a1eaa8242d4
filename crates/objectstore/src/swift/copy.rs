//! Copies: the copy names the payloads of its source, so that no bytes move. In another account the keys that they are
//! encrypted under are wrapped anew.

use std::sync::Arc;

use hanse_core::Cx;
use http::StatusCode;
use s3s::HttpResponse;
use s3s::dto::ETagCondition;

use super::auth::Session;
use super::link::Reached;
use super::manifest::{self, Whole};
use super::object::created;
use super::reply::{Done, http_date, refused, set};
use super::{RESELLER, meta, project_of, split_names};
use crate::buckets::current;
use crate::conditions::Conditions;
use crate::crypt::WrappingKey;
use crate::encryption::{Under, check_plain};
use crate::notifications::{Cause, Origin};
use crate::objects::{Put, check_meta, no_such_key, put};
use crate::record::{Bucket, Head, Link, Lock, Manifest, Meta, Object, Rest};
use crate::verbs::{GET_OBJECT, PUT_OBJECT};
use crate::{query, versions};

/// An object and its container.
type Place = (Arc<Bucket>, String);

/// An object as a request names it.
pub struct Named {
    account: String,
    container: String,
    object: String,
}

impl Session<'_> {
    /// `PUT` with `X-Copy-From`.
    pub async fn copy_from(&self, container: &str, object: &str) -> Done {
        if self.call.header("content-length")?.is_some_and(|length| length != "0") {
            return Err(refused(StatusCode::BAD_REQUEST, "Copy requests require a zero byte body"));
        }
        let source = self.other("x-copy-from", "x-copy-from-account")?;
        self.copy(source, self.here(container, object), None).await
    }

    /// `COPY` with `Destination`.
    pub async fn copy_to(&self, container: &str, object: &str) -> Done {
        let target = self.other("destination", "destination-account")?;
        self.copy(self.here(container, object), target, self.version()).await
    }

    pub fn here(&self, container: &str, object: &str) -> Named {
        let account = self.call.account.clone();
        Named { account, container: container.to_owned(), object: object.to_owned() }
    }

    /// The container and the object that a header names, in the account that another one may name.
    fn other(&self, header: &str, account: &str) -> Done<Named> {
        let account = match self.call.header(account)? {
            None => self.call.account.clone(),
            Some(name) => query::unescape(name)
                .and_then(|name| project_of(&name).map(str::to_owned))
                .ok_or_else(|| refused(StatusCode::PRECONDITION_FAILED, "The account is none."))?,
        };
        let wrong = || {
            let message = format!("The header {header} must be of the form <container name>/<object name>");
            refused(StatusCode::PRECONDITION_FAILED, message)
        };
        let text = self.call.header(header)?.and_then(query::unescape).ok_or_else(wrong)?;
        match split_names(text.strip_prefix('/').unwrap_or(&text))? {
            (container, Some(object)) => Ok(Named { account, container, object }),
            _ => Err(wrong()),
        }
    }

    pub async fn copy(&self, source: Named, target: Named, version: Option<&str>) -> Done {
        let version = versions::check_id(version)?.map(str::to_owned);
        let call = self.call;
        let (decided, onto_bucket) = self.within_account(&target.account, PUT_OBJECT, &target.container)?;
        let (from_decided, from_bucket) =
            self.within_account(&source.account, GET_OBJECT, &source.container)?;
        let named = format!("{}/{}", source.container, source.object);
        let given = meta::of_object(call)?;
        let is_fresh = call.is_set("x-fresh-metadata")?;
        let view = self.store.0.store.view()?;
        let seen = self.find(&view, &from_bucket, &source.object, version.as_deref())?;
        let mut reached = Reached { decided: from_decided, bucket: from_bucket, found: seen, link: None };
        if !self.is_about_link() {
            reached = self.follow(&view, reached)?;
        }
        drop(view);
        let Reached { decided: from_decided, bucket: from_bucket, found: seen, link } = reached;
        // What links lead to is the source, from here on.
        let (source, version) = match link {
            Some(Link { account, container, object, .. }) => (Named { account, container, object }, None),
            None => (source, version),
        };
        let mut demands = self.conditions(&seen.object.head)?;
        // That one is about the target.
        if demands.if_none_match.as_ref().is_some_and(ETagCondition::is_any) {
            demands.if_none_match = None;
        }
        let onto = match call.header("if-none-match")? {
            Some("*") => self.onto()?,
            _ => Conditions::default(),
        };
        let keeps_manifest = call.parameter("multipart-manifest") == Some("get");
        let segments = match &seen.object.rest.manifest {
            Some(Manifest::Dynamic(place)) if !keeps_manifest => {
                Some((place.clone(), self.room(&source.account, place)?))
            }
            _ => None,
        };
        let copying = Copying {
            from: (from_bucket, source.object.clone()),
            onto: (onto_bucket, target.object),
            keys: [
                self.store.wrapping(&from_decided, &source.account, &Under::Project).await?,
                self.store.wrapping(&decided, &target.account, &Under::Project).await?,
            ],
            segments,
            version,
            demands,
            conditions: onto,
            given,
            is_fresh,
            ends_at: meta::end(call)?,
            keeps_manifest,
            keeps_link: self.is_about_link(),
            cx: decided.asker.cx.clone(),
            now: decided.asker.cx.now(),
            origin: self.store.origin(&decided, Cause::Copy),
        };
        let object = self.store.add(&decided, move |change| copying.run(change)).await??;
        let mut answer: HttpResponse = created(&object, &object.head.etag);
        meta::show_user(&object.rest.meta, answer.headers_mut());
        set(answer.headers_mut(), "x-copied-from", named);
        set(answer.headers_mut(), "x-copied-from-account", format!("{RESELLER}{}", source.account));
        let modified = http_date(seen.object.head.modified_at);
        set(answer.headers_mut(), "x-copied-from-last-modified", modified);
        Ok(answer)
    }
}

/// A copy that is being made, in a transaction.
struct Copying {
    from: Place,
    onto: Place,
    /// Under which the data keys of the source and of the copy are wrapped.
    keys: [Arc<WrappingKey>; 2],
    /// Of a dynamic large object whose bytes are copied: what its manifest said when the caller was asked for, and what the
    /// keys of its segments begin with.
    segments: Option<(String, Option<Vec<u8>>)>,
    /// Of the source; `None` for the current one.
    version: Option<String>,
    demands: Conditions,
    conditions: Conditions,
    given: Meta,
    is_fresh: bool,
    ends_at: Option<i64>,
    keeps_manifest: bool,
    keeps_link: bool,
    cx: Cx,
    now: hanse_core::Timestamp,
    origin: Origin,
}

impl Copying {
    /// # Errors
    /// Internal if the store cannot be read; the inner error is the client's.
    fn run(self, change: &mut hanse_logstore::Change<'_>) -> hanse_core::Result<Done<Object>> {
        let ((from, source), (onto, target)) = (&self.from, &self.onto);
        let found = match current(change, from)? {
            Some(_) => versions::look_up(change, from, source, self.version.as_deref())?,
            None => None,
        };
        let Some(found) = found else { return Ok(Err(no_such_key().into())) };
        let Object { head, rest } = Object::decode(&found.value)?;
        if head.is_marker || self.version.is_none() && head.has_ended(self.now) {
            return Ok(Err(no_such_key().into()));
        }
        let checked = check_plain(&rest);
        if let Err(refused) = checked.and_then(|()| self.demands.check_source(&head)) {
            return Ok(Err(refused.into()));
        }
        let (mut rest, mut payloads, mut head) = (rest, found.payloads, head);
        if let Some(Manifest::Dynamic(place)) = rest.manifest.as_ref().filter(|_| !self.keeps_manifest) {
            let room = match &self.segments {
                Some((seen, room)) if seen == place => room,
                // It was replaced after the caller was asked for.
                _ => return Ok(Err(StatusCode::CONFLICT.into())),
            };
            let parts = match room {
                Some(room) => manifest::segments(change.scan_prefix(room)?, self.now)?,
                None => Vec::new(),
            };
            let whole = match Whole::gathered(head, parts) {
                Ok(whole) => whole,
                Err(refused) => return Ok(Err(refused)),
            };
            (head, payloads) = (whole.head, whole.payloads);
            rest = Rest { pieces: whole.pieces, checksum: None, is_multipart: false, ..rest };
        }
        if matches!(rest.manifest, Some(Manifest::Link(_))) && !self.keeps_link {
            // It has become one since it was followed.
            return Ok(Err(StatusCode::CONFLICT.into()));
        }
        let [from_key, onto_key] = &self.keys;
        if !Arc::ptr_eq(from_key, onto_key) {
            for piece in &mut rest.pieces {
                piece.key = from_key.rewrap(&self.cx, &piece.key, onto_key)?;
            }
        }
        // What a manifest names is of no use in another account, and none of its business.
        let is_within = from.project_id == onto.project_id;
        let manifest = rest.manifest.filter(|manifest| match manifest {
            // It says itself which account it leads to.
            Manifest::Link(_) => true,
            Manifest::Static(_) | Manifest::Dynamic(_) => self.keeps_manifest && is_within,
        });
        let meta = merged(rest.meta, self.given, self.is_fresh);
        if let Err(refused) = check_meta(&meta) {
            return Ok(Err(refused.into()));
        }
        let ends_at = self.ends_at.or(head.ends_at.filter(|_| !self.is_fresh));
        let mut object = Object {
            head: Head { modified_at: self.now, ends_at, ..head },
            rest: Rest { meta, manifest, lock: Lock::default(), ..rest },
        };
        let done = put(change, onto, target, &mut object, &payloads, &self.conditions, &self.origin)?;
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
