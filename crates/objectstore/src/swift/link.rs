//! Symbolic links: objects without bytes of their own that are read as another one. Whoever reads needs the right to read what
//! it leads to, too. Swift alone follows them; S3 sees an empty object.
//!
//! Source: OpenStack Swift, middleware "Symlink".

use std::sync::Arc;

use hanse_logstore::View;
use http::{HeaderMap, StatusCode, header};

use super::auth::Session;
use super::reply::{Done, Refused, refused, set};
use super::{RESELLER, project_of, split_names};
use crate::access::Decided;
use crate::objects::Found;
use crate::query;
use crate::record::{Bucket, Link, Manifest};
use crate::verbs::GET_OBJECT;

/// What a path keeps as it is, beside letters and digits.
const PATH: &[u8] = b"-._~/";
/// Links one after the other. Source: OpenStack Swift, `symloop_max`.
pub const LINKS_MAX: usize = 2;

impl Link {
    /// As a path.
    pub fn path(&self) -> String {
        format!("/v1/{RESELLER}{}/{}/{}", self.account, self.container, self.object)
    }

    /// The path as headers have it.
    pub fn encoded(&self) -> String {
        query::encode(&self.path(), PATH)
    }

    /// Shows where a link leads.
    pub fn show(&self, headers: &mut HeaderMap) {
        set(headers, "x-symlink-target", query::encode(&format!("{}/{}", self.container, self.object), PATH));
        set(headers, "x-symlink-target-account", format!("{RESELLER}{}", self.account));
        if let Some(etag) = &self.etag {
            set(headers, "x-symlink-target-etag", etag);
        }
    }
}

/// An object with where it lies and who may read it there.
pub struct Reached {
    pub decided: Decided,
    pub bucket: Arc<Bucket>,
    pub found: Found,
    /// The link that led here.
    pub link: Option<Link>,
}

impl Reached {
    /// What an answer says of the way here.
    pub fn show(&self, headers: &mut HeaderMap) {
        if let Some(link) = &self.link {
            set(headers, header::CONTENT_LOCATION.as_str(), link.encoded());
        }
    }
}

impl Session<'_> {
    /// Whether a link itself is meant, and not what it leads to.
    pub fn is_about_link(&self) -> bool {
        self.call.parameter("symlink") == Some("get")
    }

    /// Where the object of a request shall lead.
    ///
    /// # Errors
    /// 412 if that is no object; 400 if the request has bytes of its own; 409 if a certain object is meant that is not there.
    pub fn link(&self) -> Done<Option<Link>> {
        let call = self.call;
        let Some(target) = call.header("x-symlink-target")? else { return Ok(None) };
        let wrong = |message: &str| refused(StatusCode::PRECONDITION_FAILED, message);
        let place = query::unescape(target).ok_or_else(|| {
            wrong("X-Symlink-Target header must be of the form <container name>/<object name>")
        })?;
        let (container, Some(object)) = split_names(place.trim_start_matches('/'))? else {
            return Err(wrong("X-Symlink-Target header must be of the form <container name>/<object name>"));
        };
        let account = match call.header("x-symlink-target-account")? {
            None => call.account.clone(),
            Some(name) => project_of(name).ok_or_else(|| wrong("The account is none."))?.to_owned(),
        };
        if call.header("content-length")? != Some("0") {
            return Err(refused(StatusCode::BAD_REQUEST, "Symlink requests require a zero byte body"));
        }
        if call.headers.contains_key("x-object-manifest") {
            return Err(refused(StatusCode::BAD_REQUEST, "A link is no manifest."));
        }
        let is_itself =
            call.container.as_deref() == Some(&container) && call.object.as_deref() == Some(&object);
        if is_itself && account == call.account {
            return Err(refused(StatusCode::BAD_REQUEST, "Symlink cannot target itself"));
        }
        let etag = call.header("x-symlink-target-etag")?.map(|etag| etag.trim_matches('"').to_owned());
        let link = Link { account, container, object, etag };
        if link.etag.is_some() {
            // A certain object has to be there, for one who may read it.
            self.step(&self.store.0.store.view()?, &link).map_err(|refused| match refused.status {
                StatusCode::NOT_FOUND => StatusCode::CONFLICT.into(),
                _ => refused,
            })?;
        }
        Ok(Some(link))
    }

    fn step(&self, view: &View, link: &Link) -> Done<Reached> {
        let (decided, bucket) = self.within_account(&link.account, GET_OBJECT, &link.container)?;
        let found = self.find(view, &bucket, &link.object, None)?;
        let is_other = |etag: &String| *etag != found.object.head.etag;
        // What is a link itself is compared no further.
        if link.etag.as_ref().is_some_and(is_other) {
            let message = "Object Etag does not match X-Symlink-Target-Etag header.";
            return Err(refused(StatusCode::CONFLICT, message));
        }
        Ok(Reached { decided, bucket, found, link: Some(link.clone()) })
    }

    /// Follows links from an object to what they lead to.
    ///
    /// # Errors
    /// 404 if one leads nowhere; 403 if the caller may not read there; 409 if there are too many, or another object than the
    /// one that was meant.
    pub fn follow(&self, view: &View, mut reached: Reached) -> Done<Reached> {
        for _ in 0..=LINKS_MAX {
            let Some(Manifest::Link(link)) = &reached.found.object.rest.manifest else { return Ok(reached) };
            let location = link.encoded();
            reached = self
                .step(view, link)
                .map_err(|refused: Refused| refused.with(header::CONTENT_LOCATION, location))?;
        }
        let message = format!("Too many levels of symbolic links, maximum allowed is {LINKS_MAX}");
        Err(refused(StatusCode::CONFLICT, message))
    }
}
