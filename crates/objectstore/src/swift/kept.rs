//! What is written down of accounts, containers and objects that only Swift knows.

use std::collections::BTreeMap;

use hanse_core::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::ports::Quota;

/// What only Swift knows of a container, or of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Swift {
    /// `X-Container-Meta-…` or `X-Account-Meta-…`, without that and in small letters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// The keys of temporary URLs by the names of their headers, sealed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub url_keys: BTreeMap<String, String>,
    /// The access control lists, as they were put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// Where objects of a container go that are overwritten or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// What an account may hold: bytes and objects by the names `bytes` and `count`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, u64>,
}

/// A container for what was in another one. Source: OpenStack Swift, middleware "Versioned Writes".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub container: String,
    /// Whether deletions are kept, too (`X-History-Location`), instead of bringing the one before back
    /// (`X-Versions-Location`).
    pub is_history: bool,
}

impl Swift {
    pub fn is_empty(&self) -> bool {
        *self == Swift::default()
    }

    /// What an account may hold. Source: OpenStack Swift, middleware "Account Quotas".
    pub fn account_quota(&self) -> Quota {
        let limit = |name: &str| self.quotas.get(name).copied();
        Quota { buckets: None, objects: limit("count"), bytes: limit("bytes") }
    }

    /// What a container may hold. Source: OpenStack Swift, middleware "Container Quotas".
    pub fn quota(&self) -> Quota {
        let limit = |name: &str| self.meta.get(name).and_then(|text| text.parse().ok());
        Quota { buckets: None, objects: limit("quota-count"), bytes: limit("quota-bytes") }
    }
}

/// What an object stands for, beside its own bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manifest {
    /// Swift's static large object. Its pieces are those of its segments as they were when it was made.
    Static(Vec<Segment>),
    /// Swift's dynamic large object: `<container>/<prefix>` of what it is made of whenever it is read.
    Dynamic(String),
    /// Swift's symbolic link: what is read instead.
    Link(Link),
}

/// Where a symbolic link leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The id of the project.
    pub account: String,
    pub container: String,
    pub object: String,
    /// Of the one object that it may lead to; any if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// A segment of a static large object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment {
    pub container: String,
    pub object: String,
    pub etag: String,
    pub size: u64,
    pub content_type: Option<String>,
    /// Microseconds since 1970.
    pub modified_at: i64,
    /// Which bytes of it, as they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Of a segment that is no object: its bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// The type of the content, out of what stands behind the head, without the rest of it: that may be large.
///
/// # Errors
/// Internal if it does not read.
pub fn content_type(rest: &[u8]) -> Result<Option<String>> {
    Ok(listed(rest)?.content_type)
}

/// What Swift lists of what stands behind the head.
#[derive(Deserialize)]
pub struct Listed {
    pub content_type: Option<String>,
    manifest: Option<LinkAlone>,
}

/// A link, or whatever else a manifest may be.
#[derive(Deserialize)]
enum LinkAlone {
    Link(Link),
    #[serde(untagged)]
    Other(serde::de::IgnoredAny),
}

impl Listed {
    pub fn link(&self) -> Option<&Link> {
        match &self.manifest {
            Some(LinkAlone::Link(link)) => Some(link),
            Some(LinkAlone::Other(_)) | None => None,
        }
    }
}

/// # Errors
/// As [`content_type`].
pub fn listed(rest: &[u8]) -> Result<Listed> {
    serde_json::from_slice(rest).context("the record of an object does not read")
}
