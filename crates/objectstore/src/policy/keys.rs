//! What conditions ask about. Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference,
//! "Condition keys for Amazon S3".

use super::principals::Attribute;

macro_rules! keys {
    ($($key:ident = $name:literal;)*) => {
        /// What only the request, or the object that it names, can tell. An operation that has no such thing has no values.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = $name] $key,)*
            /// `s3:ExistingObjectTag/<key>`: of the object that is there.
            ExistingObjectTag(String),
            /// `s3:RequestObjectTag/<key>`: of what the request gives the object.
            RequestObjectTag(String),
        }

        impl Key {
            fn plain(name: &str) -> Option<Key> {
                $(if name.eq_ignore_ascii_case($name) { return Some(Key::$key); })*
                None
            }
        }
    };
}

keys! {
    SourceIp = "aws:SourceIp";
    SecureTransport = "aws:SecureTransport";
    CurrentTime = "aws:CurrentTime";
    EpochTime = "aws:EpochTime";
    Referer = "aws:Referer";
    UserAgent = "aws:UserAgent";
    Prefix = "s3:prefix";
    Delimiter = "s3:delimiter";
    MaxKeys = "s3:max-keys";
    VersionId = "s3:VersionId";
    Acl = "s3:x-amz-acl";
    ServerSideEncryption = "s3:x-amz-server-side-encryption";
    KmsKeyId = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    CopySource = "s3:x-amz-copy-source";
    MetadataDirective = "s3:x-amz-metadata-directive";
    ContentSha256 = "s3:x-amz-content-sha256";
    SignatureVersion = "s3:signatureversion";
    SignatureAge = "s3:signatureAge";
    AuthType = "s3:authType";
    TlsVersion = "s3:TlsVersion";
    IfMatch = "s3:if-match";
    IfNoneMatch = "s3:if-none-match";
    ObjectLockMode = "s3:object-lock-mode";
    ObjectLockRetainUntilDate = "s3:object-lock-retain-until-date";
    ObjectLockLegalHold = "s3:object-lock-legal-hold";
    ObjectLockRemainingRetentionDays = "s3:object-lock-remaining-retention-days";
    RequestObjectTagKeys = "s3:RequestObjectTagKeys";
}

impl Key {
    fn parse(name: &str) -> Option<Key> {
        let Some((family, tag)) = name.split_once('/') else { return Key::plain(name) };
        // The name of a key has no case; a tag's key has.
        match family.to_ascii_lowercase().as_str() {
            _ if tag.is_empty() => None,
            "s3:existingobjecttag" => Some(Key::ExistingObjectTag(tag.to_owned())),
            "s3:requestobjecttag" => Some(Key::RequestObjectTag(tag.to_owned())),
            _ => None,
        }
    }

    /// Whether a request can have many values of it.
    fn is_multivalued(&self) -> bool {
        *self == Key::RequestObjectTagKeys
    }
}

/// What one condition asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Principal(Attribute),
    Context(Key),
}

impl Subject {
    pub fn parse(name: &str) -> Option<Subject> {
        Attribute::parse(name).map(Subject::Principal).or_else(|| Key::parse(name).map(Subject::Context))
    }

    pub fn is_multivalued(&self) -> bool {
        matches!(self, Subject::Context(key) if key.is_multivalued())
    }

    /// Whether its value is read from disk.
    pub fn is_expensive(&self) -> bool {
        matches!(self, Subject::Context(Key::ExistingObjectTag(_)))
    }
}
