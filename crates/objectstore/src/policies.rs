//! Bucket policies, and the block of public access that keeps them from opening a bucket to everybody.

use s3s::dto;
use s3s::{S3ErrorCode, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::Decided;
use crate::fault::error;
use crate::policy::Policy;
use crate::record::{Bucket, PublicAccessBlock};

fn no_policy() -> s3s::S3Error {
    error(S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist")
}

impl ObjectStore {
    pub(crate) fn show_policy(&self, decided: &Decided) -> S3Result<S3Response<dto::GetBucketPolicyOutput>> {
        let policy = decided.bucket()?.policy.clone().ok_or_else(no_policy)?;
        Ok(S3Response::new(dto::GetBucketPolicyOutput { policy: Some(policy) }))
    }

    pub(crate) fn policy_status(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetBucketPolicyStatusOutput>> {
        let bucket = decided.bucket()?;
        let is_public = self.policy_of(bucket)?.ok_or_else(no_policy)?.is_public();
        let policy_status = Some(dto::PolicyStatus { is_public: Some(is_public) });
        Ok(S3Response::new(dto::GetBucketPolicyStatusOutput { policy_status }))
    }

    pub(crate) async fn put_policy(
        &self,
        input: dto::PutBucketPolicyInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketPolicyOutput>> {
        let bucket = decided.bucket()?;
        let policy = Policy::parse(input.policy.as_bytes(), &bucket.name)?;
        let is_public = policy.is_public();
        let refused = || {
            error(
                S3ErrorCode::AccessDenied,
                "Public policies are blocked by the BlockPublicPolicy block public access setting: to open the bucket to everybody, take \
                 that away first (DeletePublicAccessBlock).",
            )
        };
        // Looked at within the transaction, so that it holds whichever of the two comes first.
        let set = move |bucket: &mut Bucket| {
            if is_public && bucket.public_access_block.is_some_and(|block| block.block_public_policy) {
                return Err(refused());
            }
            bucket.policy = Some(policy.text().to_owned());
            Ok(())
        };
        self.try_configure(&decided, set).await?;
        Ok(S3Response::with_status(dto::PutBucketPolicyOutput {}, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn delete_policy(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteBucketPolicyOutput>> {
        self.configure(&decided, |bucket| bucket.policy = None).await?;
        Ok(S3Response::with_status(dto::DeleteBucketPolicyOutput {}, http::StatusCode::NO_CONTENT))
    }

    pub(crate) fn access_block(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetPublicAccessBlockOutput>> {
        let block = decided.bucket()?.public_access_block.ok_or_else(|| {
            let status = http::StatusCode::NOT_FOUND;
            let message = "The public access block configuration was not found";
            crate::fault::named("NoSuchPublicAccessBlockConfiguration", status, message)
        })?;
        let configuration = dto::PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            ignore_public_acls: Some(block.ignore_public_acls),
            block_public_policy: Some(block.block_public_policy),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        Ok(S3Response::new(dto::GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(configuration),
        }))
    }

    pub(crate) async fn put_access_block(
        &self,
        input: dto::PutPublicAccessBlockInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutPublicAccessBlockOutput>> {
        let wanted = input.public_access_block_configuration;
        let is = |setting: Option<bool>| setting == Some(true);
        let block = PublicAccessBlock {
            block_public_acls: is(wanted.block_public_acls),
            ignore_public_acls: is(wanted.ignore_public_acls),
            block_public_policy: is(wanted.block_public_policy),
            restrict_public_buckets: is(wanted.restrict_public_buckets),
        };
        self.configure(&decided, move |bucket| bucket.public_access_block = Some(block)).await?;
        Ok(S3Response::new(dto::PutPublicAccessBlockOutput {}))
    }

    pub(crate) async fn delete_access_block(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeletePublicAccessBlockOutput>> {
        self.configure(&decided, |bucket| bucket.public_access_block = None).await?;
        Ok(S3Response::with_status(dto::DeletePublicAccessBlockOutput {}, http::StatusCode::NO_CONTENT))
    }
}
