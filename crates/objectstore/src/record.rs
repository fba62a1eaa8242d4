//! What is written down of buckets, objects, uploads and parts.

use std::collections::BTreeMap;

use hanse_core::{Context, Cx, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys;
use crate::logging::Logging;
use crate::notifications;
use crate::website::Website;

pub use crate::swift::kept::{Archive, Link, Manifest, Segment, Swift, content_type, listed};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub id: String,
    pub name: String,
    /// The project that owns it, and all that is in it.
    pub project_id: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors: Vec<CorsRule>,
    #[serde(default, skip_serializing_if = "Versioning::is_off")]
    pub versioning: Versioning,
    /// As it was put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// That objects can be locked, which is never taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<BucketLock>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleRule>,
    /// The managed key that objects are encrypted under unless they ask for something else; `None` is that of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<DefaultEncryption>,
    /// Everything is blocked unless somebody says otherwise. Source: S3 User Guide, "Blocking public access".
    #[serde(default = "PublicAccessBlock::everything")]
    pub public_access_block: Option<PublicAccessBlock>,
    #[serde(default, skip_serializing_if = "Swift::is_empty")]
    pub swift: Swift,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<Website>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<notifications::Rule>,
}

/// What of a bucket nobody shall be able to open to the public. The only lists of access rights are those of Swift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    #[expect(clippy::unnecessary_wraps, reason = "what a bucket has at first, and may lose")]
    pub fn everything() -> Option<PublicAccessBlock> {
        Some(PublicAccessBlock {
            block_public_acls: true,
            ignore_public_acls: true,
            block_public_policy: true,
            restrict_public_buckets: true,
        })
    }

    /// For containers of Swift.
    pub fn policies() -> Option<PublicAccessBlock> {
        PublicAccessBlock::everything().map(|all| PublicAccessBlock {
            block_public_acls: false,
            ignore_public_acls: false,
            ..all
        })
    }
}

/// Whether objects keep their versions. Once on, it is never off again, only suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    #[default]
    Off,
    Enabled,
    Suspended,
}

impl Versioning {
    pub fn is_off(&self) -> bool {
        *self == Versioning::Off
    }
}

/// How a bucket locks its objects. Source: S3 User Guide, "Locking objects with Object Lock".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLock {
    /// For objects that come without a retention of their own.
    pub default: Option<DefaultRetention>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: RetentionMode,
    pub period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    Days(i32),
    Years(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Whoever has the right to can end it.
    Governance,
    /// Nobody can.
    Compliance,
}

/// Until when a version cannot be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: RetentionMode,
    /// Microseconds since 1970.
    pub until: i64,
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    pub retention: Option<Retention>,
    pub legal_hold: bool,
}

impl Lock {
    pub fn is_none(&self) -> bool {
        *self == Lock::default()
    }
}

/// A rule of the lifecycle. Source: S3 API Reference, `LifecycleRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LifecycleRule {
    pub id: String,
    pub is_enabled: bool,
    /// Whether the prefix stood in the rule itself, as it did in the first version of the API.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_old: bool,
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// Bytes; neither end is meant.
    pub larger_than: Option<i64>,
    pub smaller_than: Option<i64>,
    pub expire_days: Option<i32>,
    /// Seconds since 1970.
    pub expire_date: Option<i64>,
    pub expire_lone_markers: bool,
    pub noncurrent_days: Option<i32>,
    pub noncurrent_kept: Option<i32>,
    pub abort_days: Option<i32>,
}

/// A rule of the cross-origin configuration. Source: S3 API Reference, `CORSRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    pub id: Option<String>,
    pub methods: Vec<String>,
    pub origins: Vec<String>,
    pub headers: Vec<String>,
    pub expose: Vec<String>,
    /// Seconds.
    pub max_age: Option<i32>,
}

impl Bucket {
    /// A new bucket, or a container of Swift.
    pub fn new(cx: &Cx, name: String, project_id: String) -> Bucket {
        Bucket {
            id: cx.hex_id(),
            name,
            project_id,
            created_at: cx.now().0,
            tags: Vec::new(),
            cors: Vec::new(),
            versioning: Versioning::Off,
            policy: None,
            lock: None,
            lifecycle: Vec::new(),
            encryption: None,
            public_access_block: PublicAccessBlock::everything(),
            swift: Swift::default(),
            website: None,
            logging: None,
            notifications: Vec::new(),
        }
    }

    pub fn created_at(&self) -> Timestamp {
        Timestamp(self.created_at)
    }
}

/// A bucket's default of encryption under a managed key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultEncryption {
    /// As it was put; `None` is the project's default key.
    pub key: Option<String>,
    pub bucket_key: bool,
}

/// A managed key that something is encrypted under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managed {
    /// Its id.
    pub key: String,
    /// What the data keys are bound to beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, String>,
    /// Whether the client, or the bucket, wanted one key of the key manager for many objects; it is shown, and makes no
    /// difference: nothing here asks a key manager over a network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bucket_key: bool,
}

/// What stands beside the bytes of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect_location: Option<String>,
    /// `x-amz-meta-…`, without that.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

/// A checksum that the client gave, or asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`.
    pub algorithm: String,
    /// In base64; with `-<parts>` behind it if it is one of checksums.
    pub value: String,
    /// Whether it is one of the checksums of the parts, and not of the whole.
    #[serde(default)]
    pub is_composite: bool,
}

/// Bytes of an object that were encrypted under one data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Of the plaintext.
    pub size: u64,
    /// The data key, wrapped; empty if there are no bytes, and then there is no payload either.
    pub key: String,
    /// The checksum of a part, in base64, of the algorithm that the object's checksum has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// The part of a record of an object that only those need who read the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rest {
    #[serde(flatten)]
    pub meta: Meta,
    pub pieces: Vec<Piece>,
    /// Whether the pieces are parts of an upload: `partNumber` counts them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_multipart: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    #[serde(skip_serializing_if = "Lock::is_none")]
    pub lock: Lock,
    /// Of an object that was written with a key of the client's: what tells whether a key is that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The managed key that it is encrypted under; if there is neither, that is the project's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// What lists show of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub modified_at: Timestamp,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// `None` for the version whose name is `null`: of a bucket that had no versions when it was written.
    pub version: Option<String>,
    /// Whether it says that the object was deleted, and is none itself.
    pub is_marker: bool,
    /// When the object ends by itself, in seconds since 1970. It counts as long as this is the current version.
    pub ends_at: Option<i64>,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub head: Head,
    pub rest: Rest,
}

/// Of the format.
const VERSION: u8 = 1;
const IS_MARKER: u8 = 1;
const HAS_VERSION: u8 = 2;
const HAS_END: u8 = 4;

fn broken() -> Error {
    Error::internal("the record of an object does not read")
}

impl Head {
    /// Whether its time has come, though it may still lie there.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| now.seconds() >= end)
    }

    /// Whether there is no object to be seen where this is the current version.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        self.is_marker || self.has_ended(now)
    }

    /// Reads what stands in front, and says where the rest begins.
    ///
    /// # Errors
    /// Internal if it does not read.
    pub fn decode(value: &[u8]) -> Result<(Head, &[u8])> {
        let (version, rest) = value.split_first().ok_or_else(broken)?;
        if *version != VERSION {
            return Err(broken());
        }
        let (flags, rest) = rest.split_first().ok_or_else(broken)?;
        let (modified, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let (length, rest) = rest.split_first().ok_or_else(broken)?;
        let (etag, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(broken)?;
        let text = |bytes| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| broken());
        let (version, rest) = match flags & HAS_VERSION {
            0 => (None, rest),
            _ => {
                let (version, rest) = rest.split_at_checked(keys::ID).ok_or_else(broken)?;
                (Some(text(version)?), rest)
            }
        };
        let (ends_at, rest) = match flags & HAS_END {
            0 => (None, rest),
            _ => {
                let (end, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
                (Some(i64::from_le_bytes(*end)), rest)
            }
        };
        let head = Head {
            modified_at: Timestamp(i64::from_le_bytes(*modified)),
            size: u64::from_le_bytes(*size),
            etag: text(etag)?,
            version,
            is_marker: flags & IS_MARKER != 0,
            ends_at,
        };
        Ok((head, rest))
    }
}

impl Object {
    /// # Errors
    /// Internal if it cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let Head { version, is_marker, ends_at, .. } = &self.head;
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let flags = flag(*is_marker, IS_MARKER)
            | flag(version.is_some(), HAS_VERSION)
            | flag(ends_at.is_some(), HAS_END);
        let mut value = vec![VERSION, flags];
        value.extend(self.head.modified_at.0.to_le_bytes());
        value.extend(self.head.size.to_le_bytes());
        value.push(u8::try_from(self.head.etag.len()).map_err(|_| broken())?);
        value.extend(self.head.etag.as_bytes());
        if let Some(version) = version {
            if version.len() != keys::ID {
                return Err(broken());
            }
            value.extend(version.as_bytes());
        }
        if let Some(end) = ends_at {
            value.extend(end.to_le_bytes());
        }
        serde_json::to_writer(&mut value, &self.rest).context("cannot write the record of an object")?;
        Ok(value)
    }

    /// # Errors
    /// Internal if it does not read.
    pub fn decode(value: &[u8]) -> Result<Object> {
        let (head, rest) = Head::decode(value)?;
        let rest = serde_json::from_slice(rest).map_err(|error| broken().because(error))?;
        Ok(Object { head, rest })
    }
}

/// An upload in parts that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub key: String,
    pub started_at: i64,
    pub meta: Meta,
    /// The algorithm of the parts' checksums, if there is one, and whether the object's is made of theirs or is one of the
    /// whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    #[serde(default)]
    pub is_composite: bool,
    /// As in [`Rest`].
    #[serde(default, skip_serializing_if = "Lock::is_none")]
    pub lock: Lock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
}

/// A part of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub modified_at: i64,
    /// The MD5 in hexadecimal digits.
    pub etag: String,
    pub piece: Piece,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

/// What a project uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of objects and of parts, in plaintext.
    pub bytes: u64,
    pub objects: u64,
}

/// # Errors
/// Internal if it cannot be written.
pub fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("cannot write a record")
}

/// # Errors
/// Internal if it does not read.
pub fn from_json<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T> {
    serde_json::from_slice(value).context("a record of object storage does not read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_was_written_and_damage_is_an_error() {
        let object = Object {
            head: Head {
                modified_at: Timestamp(17),
                size: 1 << 40,
                etag: "d41d8cd98f00b204e9800998ecf8427e-7".to_owned(),
                version: Some("0123456789abcdef0123456789abcdef".to_owned()),
                is_marker: true,
                ends_at: Some(1_800_000_000),
            },
            rest: Rest {
                meta: Meta {
                    content_type: Some("text/plain".to_owned()),
                    user: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                    ..Meta::default()
                },
                pieces: vec![Piece { size: 5, key: "k".to_owned(), checksum: None }],
                is_multipart: true,
                checksum: None,
                customer: None,
                managed: None,
                lock: Lock {
                    retention: Some(Retention { mode: RetentionMode::Compliance, until: 5 }),
                    legal_hold: true,
                },
                manifest: None,
            },
        };
        let value = object.encode().unwrap();
        assert_eq!(Object::decode(&value).unwrap(), object);
        assert_eq!(Head::decode(&value).unwrap().0, object.head);
        for length in 0..value.len() {
            assert!(Object::decode(&value[..length]).is_err(), "{length}");
        }
    }
}
