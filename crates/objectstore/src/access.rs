//! Who may do what: the one place where that is decided, for every operation, before anything is read of the request's
//! body. What is not named here is refused.
//!
//! A role in the project that owns the bucket lets in; a policy of the bucket lets in others, and keeps out whom it denies.
//! From another project both are needed, as in S3: the policy's permission, and a role there that allows as much. What
//! rules the bucket itself is for its project alone.

use std::sync::Arc;

use async_trait::async_trait;
use hanse_core::Cx;
use hanse_policy::{Caller, Grant, Target, Verb};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::ObjectStore;
use crate::facts::{Facts, Tags};
use crate::fault;
use crate::logging::Noted;
use crate::policy::{Decision, Policy, Principal, Request, Resource, actions};
use crate::record::Bucket;
use crate::verbs::{
    BYPASS_RETENTION, CREATE_BUCKET, DELETE_BUCKET, DELETE_OBJECT, GET_OBJECT, LIST_BUCKETS, PUT_OBJECT,
    SHOW_BUCKET, UPDATE_BUCKET,
};

/// Says of a request that it came over TLS.
#[derive(Clone, Copy)]
pub struct Tls;

/// Who asks, and how.
#[derive(Clone)]
pub struct Asker {
    pub cx: Cx,
    /// `None` for a request that nobody signed.
    pub caller: Option<Arc<Caller>>,
    /// Whether the request came over TLS.
    pub is_tls: bool,
    /// For policies; `None` if none has a say.
    pub facts: Option<Arc<Facts>>,
}

/// What was decided of a request; operations take it from there.
#[derive(Clone)]
pub struct Decided {
    pub asker: Asker,
    /// The project that has the bucket, or if there is none the caller's.
    pub project_id: String,
    pub verb: Verb,
    /// The bucket of the path, if it names one that is there.
    pub bucket: Option<Arc<Bucket>>,
    /// Whether the caller may not know which objects there are. Source: S3 API Reference, GetObject, "Permissions".
    pub hides_missing: bool,
}

/// An object that a request is about: its key, and its version if one is named.
pub type Named<'n> = (&'n str, Option<&'n str>);

impl Decided {
    /// The right to change what the request names, for the audit trail.
    ///
    /// # Errors
    /// 403, which cannot be: it was decided before.
    pub fn grant(&self, target: &str) -> S3Result<Grant> {
        let target = Target::new(target).in_project(&self.project_id);
        let caller = self.asker.caller.as_ref().ok_or_else(denied)?;
        caller.authorize(&self.asker.cx, self.verb, target).map_err(|error| fault::of(&error))
    }

    /// The bucket of the request.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self) -> S3Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(no_such_bucket)
    }

    /// What the caller gets for an object that is not there.
    pub fn missing(&self, error: S3Error) -> S3Error {
        if self.hides_missing { denied() } else { error }
    }
}

pub fn no_such_bucket() -> S3Error {
    fault::error(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist.")
}

pub fn denied() -> S3Error {
    fault::error(S3ErrorCode::AccessDenied, "Access Denied")
}

/// Whether a bucket belongs to whom the client expects. Source: S3 User Guide, "Verifying bucket ownership with bucket owner
/// condition".
///
/// # Errors
/// `AccessDenied`.
pub fn expect_owner(expected: Option<&str>, bucket: &Bucket) -> S3Result<()> {
    if expected.is_none_or(|expected| expected == bucket.project_id) { Ok(()) } else { Err(denied()) }
}

/// For whom an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Also for those whom the bucket's policy lets in.
    Anyone,
    /// For the bucket's project, unless the policy denies it.
    Owner,
    /// For the bucket's project, whatever the policy says, so that no policy locks it out for good.
    OwnerAlways,
}

/// What an operation needs, by the name that S3 gives it; `None` for what is not offered.
///
/// Source: S3 User Guide, "Required permissions for Amazon S3 API operations".
pub fn verb(operation: &str) -> Option<(Verb, For)> {
    Some(match operation {
        "ListBuckets" => (LIST_BUCKETS, For::Owner),
        "CreateBucket" => (CREATE_BUCKET, For::Owner),
        "DeleteBucket" => (DELETE_BUCKET, For::Owner),
        "HeadBucket"
        | "GetBucketLocation"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListMultipartUploads"
        | "ListObjectVersions" => (SHOW_BUCKET, For::Anyone),
        "GetBucketVersioning"
        | "GetBucketLifecycleConfiguration"
        | "GetObjectLockConfiguration"
        | "GetBucketCors"
        | "GetBucketTagging"
        | "GetBucketAcl"
        | "GetBucketEncryption"
        | "GetBucketOwnershipControls"
        | "GetBucketPolicyStatus"
        | "GetPublicAccessBlock"
        | "GetBucketWebsite"
        | "GetBucketLogging"
        | "GetBucketNotificationConfiguration" => (SHOW_BUCKET, For::Owner),
        "GetBucketPolicy" => (SHOW_BUCKET, For::OwnerAlways),
        "PutBucketPolicy" | "DeleteBucketPolicy" => (UPDATE_BUCKET, For::OwnerAlways),
        "PutBucketVersioning"
        | "PutBucketLifecycleConfiguration"
        | "DeleteBucketLifecycle"
        | "PutObjectLockConfiguration"
        | "PutBucketCors"
        | "DeleteBucketCors"
        | "PutBucketTagging"
        | "DeleteBucketTagging"
        | "PutBucketAcl"
        | "PutBucketEncryption"
        | "DeleteBucketEncryption"
        | "PutBucketOwnershipControls"
        | "PutPublicAccessBlock"
        | "DeletePublicAccessBlock"
        | "PutBucketWebsite"
        | "DeleteBucketWebsite"
        | "PutBucketLogging"
        | "PutBucketNotificationConfiguration" => (UPDATE_BUCKET, For::Owner),
        "GetObject"
        | "HeadObject"
        | "GetObjectTagging"
        | "GetObjectAttributes"
        | "GetObjectRetention"
        | "GetObjectLegalHold"
        | "ListParts"
        | "GetObjectAcl" => (GET_OBJECT, For::Anyone),
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "PutObjectAcl"
        | "PutObjectRetention"
        | "PutObjectLegalHold"
        | "PutObjectTagging"
        | "DeleteObjectTagging" => (PUT_OBJECT, For::Anyone),
        "DeleteObject" | "DeleteObjects" => (DELETE_OBJECT, For::Anyone),
        // No operation of its own, but a right that some ask for.
        "BypassGovernanceRetention" => (BYPASS_RETENTION, For::Owner),
        _ => return None,
    })
}

/// Whoever may write an object may not therefore tag or lock it: what these headers ask for is asked of a policy, too.
const BESIDES: [(&str, &str); 4] = [
    ("x-amz-tagging", "PutObjectTagging"),
    ("x-amz-object-lock-mode", "PutObjectRetention"),
    ("x-amz-object-lock-retain-until-date", "PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "PutObjectLegalHold"),
];

/// Of these it shows only in the body which objects or tags they are about, so that they ask a policy themselves.
fn asks_itself(operation: &str) -> bool {
    matches!(operation, "DeleteObjects" | "PostObject" | "PutObjectTagging")
}

impl ObjectStore {
    fn bucket_named(&self, name: &str) -> S3Result<Arc<Bucket>> {
        let found = self.find_bucket(name).map_err(|error| fault::of(&error))?;
        found.ok_or_else(no_such_bucket)
    }

    /// A bucket's policy, read.
    ///
    /// # Errors
    /// `MalformedPolicy`, for one that was put when fewer things were refused: until it is put anew nobody gets in by it.
    pub(crate) fn policy_of(&self, bucket: &Bucket) -> S3Result<Option<Policy>> {
        let Some(text) = &bucket.policy else { return Ok(None) };
        let read = |text: &[u8]| Policy::parse(text, &bucket.name);
        self.0.policies.of(&bucket.id, text.as_bytes(), read).map(Some)
    }

    /// Whether the policy of a bucket denies anything to anybody, or does not read.
    pub(crate) fn denies_something(&self, bucket: &Bucket) -> bool {
        self.policy_of(bucket).map_or(true, |policy| policy.is_some_and(|policy| policy.denies_something()))
    }

    /// Whether an operation may be done in a bucket, with an object if it is about one. `given` are the tags that it would
    /// give the object, if they are not in a header.
    ///
    /// # Errors
    /// `AccessDenied`, and nothing that would tell why.
    pub(crate) fn may(
        &self,
        asker: &Asker,
        bucket: &Bucket,
        operation: &str,
        object: Option<Named<'_>>,
        given: Option<&Tags>,
    ) -> S3Result<()> {
        let (verb, whose) = verb(operation).ok_or_else(denied)?;
        let caller = asker.caller.as_ref();
        let is_own = caller.and_then(|caller| caller.project_id()) == Some(&bucket.project_id);
        // In the caller's own project, whichever that is: no role reaches further.
        let has_role = caller.is_some_and(|caller| {
            let target = Target::new(&bucket.name).in_project(caller.project_id().unwrap_or_default());
            caller.project_id().is_some() && caller.authorize(&asker.cx, verb, target).is_ok()
        });
        let by_role = || if is_own && has_role { Ok(()) } else { Err(denied()) };
        let policy = match whose {
            For::OwnerAlways => None,
            For::Anyone | For::Owner => self.policy_of(bucket)?,
        };
        let Some(policy) = policy else { return by_role() };
        let facts = asker.facts.as_ref().ok_or_else(denied)?;
        let is_closed = bucket.public_access_block.is_some_and(|block| block.restrict_public_buckets)
            && policy.is_public();
        let may_be_let_in = whose == For::Anyone && (is_own || !is_closed && (caller.is_none() || has_role));
        let (resource, version) = match object {
            Some((key, version)) => (Resource::Object(key), version),
            None => (Resource::Bucket, None),
        };
        let existing = || match object {
            Some((key, version)) => self.tags_there(bucket, key, version),
            None => Ok(Tags::new()),
        };
        for action in actions::needed(operation, version.is_some()).ok_or_else(denied)? {
            let request = Request {
                principal: facts.principal.as_ref(),
                action,
                resource,
                context: &|key| facts.values(key, given, &existing),
            };
            match policy.decide(&request)? {
                Decision::Deny => return Err(denied()),
                Decision::Allow if may_be_let_in => {}
                Decision::Allow | Decision::Silent => by_role()?,
            }
        }
        Ok(())
    }

    /// Whether the caller may not know which objects a bucket has. Whoever has a role there may.
    pub(crate) fn hides_missing(&self, asker: &Asker, bucket: &Bucket) -> bool {
        bucket.policy.is_some() && self.may(asker, bucket, "ListObjectsV2", None, None).is_err()
    }

    /// The bucket of a name in which the caller may do this to an object: the source of a copy.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub(crate) fn bucket_for(
        &self,
        asker: &Asker,
        name: &str,
        operation: &str,
        object: Named<'_>,
    ) -> S3Result<Arc<Bucket>> {
        let bucket = self.bucket_named(name)?;
        self.may(asker, &bucket, operation, Some(object), None)?;
        Ok(bucket)
    }

    async fn decide(&self, context: &mut S3AccessContext<'_>) -> S3Result<Decided> {
        let operation = context.s3_op().name().to_owned();
        let access = context.credentials().map(|credentials| credentials.access_key.clone());
        let cx = context.extensions_mut().get::<Cx>().cloned().unwrap_or_else(|| self.0.cx.clone());
        let caller = match access {
            Some(access) => {
                let key = self.0.keys.find(&cx, &access).await.map_err(|error| fault::of(&error))?;
                Some(key.ok_or_else(unknown_key)?.caller)
            }
            None => None,
        };
        let own_project =
            caller.as_ref().map(|caller| caller.project_id().map(str::to_owned).ok_or_else(denied));
        let own_project = own_project.transpose()?;
        let Some((verb, _)) = verb(&operation) else {
            // Whoever is nobody does not learn what there is.
            own_project.ok_or_else(denied)?;
            return Err(s3_error!(NotImplemented, "{} is not offered here.", operation));
        };
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let is_tls = context.extensions_mut().get::<Tls>().is_some();
        let mut asker = Asker { cx, caller, is_tls, facts: None };
        // Whether it is there is for the operation to say.
        let name = bucket.filter(|_| operation != "CreateBucket");
        let Some(name) = name else {
            let (caller, project_id) =
                (asker.caller.clone().ok_or_else(denied)?, own_project.ok_or_else(denied)?);
            let target = Target::new("").in_project(&project_id);
            caller.authorize(&asker.cx, verb, target).map_err(|_| denied())?;
            return Ok(Decided { asker, project_id, verb, bucket: None, hides_missing: false });
        };
        let bucket = self.bucket_named(&name)?;
        if let Some(noted) = context.extensions_mut().get::<Noted>() {
            noted.know(&bucket, &asker);
        }
        let headers = context.headers();
        // These two are about another bucket, too, which may have a policy.
        let has_other = headers.contains_key("x-amz-copy-source") || operation == "PutBucketLogging";
        if bucket.policy.is_some() || has_other {
            asker.facts = Some(Arc::new(facts(context, &asker)));
        }
        let query = asker.facts.as_ref().map(|facts| &facts.query[..]).unwrap_or_default();
        let version = query.iter().find(|(name, value)| name == "versionId" && !value.is_empty());
        let object = key.as_deref().map(|key| (key, version.map(|(_, id)| id.as_str())));
        if bucket.policy.is_none() || !asks_itself(&operation) {
            self.may(&asker, &bucket, &operation, object, None)?;
            if bucket.policy.is_some() && verb == PUT_OBJECT {
                for (header, operation) in BESIDES {
                    if context.headers().contains_key(header) {
                        self.may(&asker, &bucket, operation, object, None)?;
                    }
                }
            }
        }
        let owner = context.headers().get("x-amz-expected-bucket-owner");
        expect_owner(owner.map(|owner| owner.to_str().unwrap_or_default()), &bucket)?;
        let hides_missing = object.is_some() && self.hides_missing(&asker, &bucket);
        let project_id = bucket.project_id.clone();
        Ok(Decided { asker, project_id, verb, bucket: Some(bucket), hides_missing })
    }
}

fn facts(context: &S3AccessContext<'_>, asker: &Asker) -> Facts {
    Facts {
        principal: asker.caller.as_ref().and_then(|caller| Principal::of(caller)),
        source: asker.cx.source(),
        is_tls: asker.is_tls,
        now: asker.cx.now(),
        headers: context.headers().clone(),
        query: Facts::query_of(context.uri()),
    }
}

fn unknown_key() -> S3Error {
    fault::error(
        S3ErrorCode::InvalidAccessKeyId,
        "The AWS Access Key Id you provided does not exist in our records.",
    )
}

#[async_trait]
impl S3Auth for ObjectStore {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let key = self.0.keys.find(&self.0.cx, access_key).await.map_err(|error| fault::of(&error))?;
        Ok(SecretKey::from(key.ok_or_else(unknown_key)?.secret.expose().as_str()))
    }
}

#[async_trait]
impl S3Access for ObjectStore {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let decided = self.decide(context).await?;
        context.extensions_mut().insert(decided);
        Ok(())
    }
}
