//! Who may do what: the one place where that is decided, for every operation, before anything is read of the request's
//! body. What is not named here is refused.

use std::sync::Arc;

use async_trait::async_trait;
use hanse_core::Cx;
use hanse_policy::{Caller, Grant, Target, Verb};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::ObjectStore;
use crate::fault;
use crate::record::Bucket;
use crate::verbs::{
    CREATE_BUCKET, DELETE_BUCKET, DELETE_OBJECT, GET_OBJECT, LIST_BUCKETS, PUT_OBJECT, SHOW_BUCKET,
    UPDATE_BUCKET,
};

/// Says of a request that it came over TLS.
#[derive(Clone, Copy)]
pub struct Tls;

/// What was decided of a request; operations take it from there.
#[derive(Clone)]
pub struct Decided {
    pub cx: Cx,
    pub caller: Arc<Caller>,
    pub project_id: String,
    pub verb: Verb,
    /// Whether the request came over TLS.
    pub is_tls: bool,
    /// The bucket of the path, if it names one that is there.
    pub bucket: Option<Arc<Bucket>>,
}

impl Decided {
    /// The right to change what the request names, for the audit trail.
    ///
    /// # Errors
    /// 403, which cannot be: it was decided before.
    pub fn grant(&self, target: &str) -> S3Result<Grant> {
        let target = Target::new(target).in_project(&self.project_id);
        self.caller.authorize(&self.cx, self.verb, target).map_err(|error| fault::of(&error))
    }

    /// The bucket of the request.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self) -> S3Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(no_such_bucket)
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

/// What an operation needs, by the name that S3 gives it; `None` for what is not offered.
///
/// Source: S3 User Guide, "Required permissions for Amazon S3 API operations".
pub fn verb(operation: &str) -> Option<Verb> {
    Some(match operation {
        "ListBuckets" => LIST_BUCKETS,
        "CreateBucket" => CREATE_BUCKET,
        "DeleteBucket" => DELETE_BUCKET,
        "HeadBucket"
        | "GetBucketLocation"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListMultipartUploads"
        | "ListObjectVersions"
        | "GetBucketVersioning"
        | "GetBucketCors"
        | "GetBucketTagging"
        | "GetBucketAcl"
        | "GetBucketEncryption"
        | "GetBucketOwnershipControls" => SHOW_BUCKET,
        "PutBucketVersioning"
        | "PutBucketCors"
        | "DeleteBucketCors"
        | "PutBucketTagging"
        | "DeleteBucketTagging" => UPDATE_BUCKET,
        "GetObject"
        | "HeadObject"
        | "GetObjectTagging"
        | "GetObjectAttributes"
        | "ListParts"
        | "GetObjectAcl" => GET_OBJECT,
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "PutObjectTagging"
        | "DeleteObjectTagging" => PUT_OBJECT,
        "DeleteObject" | "DeleteObjects" => DELETE_OBJECT,
        _ => return None,
    })
}

impl ObjectStore {
    /// The bucket of that name, if the caller's project has it; the stranger learns that it is there, as S3 has it, and no
    /// more.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`.
    pub fn bucket_of(&self, caller: &Caller, name: &str) -> S3Result<Arc<Bucket>> {
        let bucket = self.find_bucket(name).map_err(|error| fault::of(&error))?.ok_or_else(no_such_bucket)?;
        // Not even an administrator reads what belongs to another project with a key of their own.
        if caller.project_id() != Some(&bucket.project_id) {
            return Err(denied());
        }
        Ok(Arc::new(bucket))
    }

    async fn decide(&self, context: &mut S3AccessContext<'_>) -> S3Result<Decided> {
        let operation = context.s3_op().name().to_owned();
        let access = context.credentials().ok_or_else(denied)?.access_key.clone();
        let cx = context.extensions_mut().get::<Cx>().cloned().unwrap_or_else(|| self.0.cx.clone());
        let key = self.0.keys.find(&cx, &access).await.map_err(|error| fault::of(&error))?;
        let caller = key.ok_or_else(unknown_key)?.caller;
        let project_id = caller.project_id().ok_or_else(denied)?.to_owned();
        let Some(verb) = verb(&operation) else {
            return Err(s3_error!(NotImplemented, "{} is not offered here.", operation));
        };
        let bucket = match context.s3_path() {
            S3Path::Root => None,
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => Some(bucket.to_string()),
        };
        let bucket = match bucket {
            // Whether it is there is for the operation to say.
            Some(_) if operation == "CreateBucket" => None,
            Some(name) => {
                let bucket = self.bucket_of(&caller, &name)?;
                let owner = context.headers().get("x-amz-expected-bucket-owner");
                expect_owner(owner.map(|owner| owner.to_str().unwrap_or_default()), &bucket)?;
                Some(bucket)
            }
            None => None,
        };
        let target = Target::new(bucket.as_ref().map_or("", |bucket| &bucket.name)).in_project(&project_id);
        caller.authorize(&cx, verb, target).map_err(|_| denied())?;
        let is_tls = context.extensions_mut().get::<Tls>().is_some();
        Ok(Decided { cx, caller: Arc::new(caller), project_id, verb, is_tls, bucket })
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
