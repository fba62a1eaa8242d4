//! S3's operations, each with the room where it is done. What is not here answers `NotImplemented`.

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::{Decided, denied};
use crate::buckets::owner;

/// What was decided of the request; without it nothing is done.
fn decided<T>(request: &mut S3Request<T>) -> S3Result<Decided> {
    request.extensions.remove::<Decided>().ok_or_else(denied)
}

/// The operations that are offered: name, input, output, and what does them.
macro_rules! operations {
    ($($name:ident($request:ident: $input:ident, $decided:ident) -> $output:ident { $($body:tt)* })*) => {
        #[async_trait]
        impl S3 for ObjectStore {
            $(
                async fn $name(&self, mut $request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let $decided = decided(&mut $request)?;
                    let store = self;
                    operations!(@ store, $($body)*)
                }
            )*
        }

        /// The names of the operations that are offered, as the functions spell them.
        #[cfg(test)]
        pub const OFFERED: &[&str] = &[$(stringify!($name)),*];
    };
    (@ $store:ident, $method:ident($($argument:expr),*) await) => { ObjectStore::$method($store, $($argument),*).await };
    (@ $store:ident, $method:ident($($argument:expr),*)) => { ObjectStore::$method($store, $($argument),*) };
    (@ $store:ident, = $value:expr) => { Ok(S3Response::new($value)) };
}

operations! {
    list_buckets(r: ListBucketsInput, d) -> ListBucketsOutput { list(&r.input, &d) }
    create_bucket(r: CreateBucketInput, d) -> CreateBucketOutput { create(r, d) await }
    delete_bucket(r: DeleteBucketInput, d) -> DeleteBucketOutput { remove(d) await }
    head_bucket(r: HeadBucketInput, d) -> HeadBucketOutput { head_bucket(&d) }
    get_bucket_location(r: GetBucketLocationInput, d) -> GetBucketLocationOutput { location(&d) }
    put_bucket_versioning(r: PutBucketVersioningInput, d) -> PutBucketVersioningOutput { put_versioning(r.input, d) await }
    get_bucket_versioning(r: GetBucketVersioningInput, d) -> GetBucketVersioningOutput { versioning(&d) }
    get_bucket_acl(r: GetBucketAclInput, d) -> GetBucketAclOutput { bucket_acl(&d) }
    get_object_lock_configuration(r: GetObjectLockConfigurationInput, d) -> GetObjectLockConfigurationOutput { lock_configuration(&d) }
    put_object_lock_configuration(r: PutObjectLockConfigurationInput, d) -> PutObjectLockConfigurationOutput { put_lock_configuration(r.input, d) await }
    get_object_retention(r: GetObjectRetentionInput, d) -> GetObjectRetentionOutput { retention(&r.input, &d) }
    put_object_retention(r: PutObjectRetentionInput, d) -> PutObjectRetentionOutput { put_retention(r.input, d) await }
    get_object_legal_hold(r: GetObjectLegalHoldInput, d) -> GetObjectLegalHoldOutput { legal_hold(&r.input, &d) }
    put_object_legal_hold(r: PutObjectLegalHoldInput, d) -> PutObjectLegalHoldOutput { put_legal_hold(r.input, d) await }
    get_bucket_lifecycle_configuration(r: GetBucketLifecycleConfigurationInput, d) -> GetBucketLifecycleConfigurationOutput { show_lifecycle(&d) }
    put_bucket_lifecycle_configuration(r: PutBucketLifecycleConfigurationInput, d) -> PutBucketLifecycleConfigurationOutput { put_lifecycle(r.input, d) await }
    delete_bucket_lifecycle(r: DeleteBucketLifecycleInput, d) -> DeleteBucketLifecycleOutput { delete_lifecycle(d) await }
    put_bucket_acl(r: PutBucketAclInput, d) -> PutBucketAclOutput { no_acls(&d) }
    put_object_acl(r: PutObjectAclInput, d) -> PutObjectAclOutput { no_acls(&d) }
    get_bucket_policy(r: GetBucketPolicyInput, d) -> GetBucketPolicyOutput { show_policy(&d) }
    put_bucket_policy(r: PutBucketPolicyInput, d) -> PutBucketPolicyOutput { put_policy(r.input, d) await }
    delete_bucket_policy(r: DeleteBucketPolicyInput, d) -> DeleteBucketPolicyOutput { delete_policy(d) await }
    get_bucket_policy_status(r: GetBucketPolicyStatusInput, d) -> GetBucketPolicyStatusOutput { policy_status(&d) }
    get_public_access_block(r: GetPublicAccessBlockInput, d) -> GetPublicAccessBlockOutput { access_block(&d) }
    put_public_access_block(r: PutPublicAccessBlockInput, d) -> PutPublicAccessBlockOutput { put_access_block(r.input, d) await }
    delete_public_access_block(r: DeletePublicAccessBlockInput, d) -> DeletePublicAccessBlockOutput { delete_access_block(d) await }
    put_bucket_encryption(r: PutBucketEncryptionInput, d) -> PutBucketEncryptionOutput { put_encryption(r.input, d) await }
    delete_bucket_encryption(r: DeleteBucketEncryptionInput, d) -> DeleteBucketEncryptionOutput { delete_encryption(d) await }
    put_bucket_ownership_controls(r: PutBucketOwnershipControlsInput, d) -> PutBucketOwnershipControlsOutput { put_ownership(&r.input, &d) }
    get_bucket_encryption(r: GetBucketEncryptionInput, d) -> GetBucketEncryptionOutput { bucket_encryption(&d) }
    get_bucket_ownership_controls(r: GetBucketOwnershipControlsInput, d) -> GetBucketOwnershipControlsOutput { ownership(&d) }
    get_bucket_cors(r: GetBucketCorsInput, d) -> GetBucketCorsOutput { show_cors(&d) }
    put_bucket_cors(r: PutBucketCorsInput, d) -> PutBucketCorsOutput { put_cors(r.input, d) await }
    delete_bucket_cors(r: DeleteBucketCorsInput, d) -> DeleteBucketCorsOutput { delete_cors(d) await }
    get_bucket_tagging(r: GetBucketTaggingInput, d) -> GetBucketTaggingOutput { bucket_tags(&d) }
    put_bucket_tagging(r: PutBucketTaggingInput, d) -> PutBucketTaggingOutput { put_bucket_tags(r.input, d) await }
    delete_bucket_tagging(r: DeleteBucketTaggingInput, d) -> DeleteBucketTaggingOutput { delete_bucket_tags(d) await }
    get_bucket_website(r: GetBucketWebsiteInput, d) -> GetBucketWebsiteOutput { show_website(&d) }
    put_bucket_website(r: PutBucketWebsiteInput, d) -> PutBucketWebsiteOutput { put_website(r.input, d) await }
    delete_bucket_website(r: DeleteBucketWebsiteInput, d) -> DeleteBucketWebsiteOutput { delete_website(d) await }
    get_bucket_logging(r: GetBucketLoggingInput, d) -> GetBucketLoggingOutput { show_logging(&d) }
    put_bucket_logging(r: PutBucketLoggingInput, d) -> PutBucketLoggingOutput { put_logging(r.input, d) await }
    get_bucket_notification_configuration(r: GetBucketNotificationConfigurationInput, d) -> GetBucketNotificationConfigurationOutput { show_notifications(&d) }
    put_bucket_notification_configuration(r: PutBucketNotificationConfigurationInput, d) -> PutBucketNotificationConfigurationOutput { put_notifications(r.input, d) await }
    list_objects(r: ListObjectsInput, d) -> ListObjectsOutput { list_v1(r.input, &d) }
    list_objects_v2(r: ListObjectsV2Input, d) -> ListObjectsV2Output { list_v2(r.input, &d) }
    list_object_versions(r: ListObjectVersionsInput, d) -> ListObjectVersionsOutput { list_versions(r.input, &d) }
    put_object(r: PutObjectInput, d) -> PutObjectOutput { put_object(r, d) await }
    get_object(r: GetObjectInput, d) -> GetObjectOutput { get_object(r, d) await }
    head_object(r: HeadObjectInput, d) -> HeadObjectOutput { head_object(&r.input, &d) }
    get_object_attributes(r: GetObjectAttributesInput, d) -> GetObjectAttributesOutput { attributes(&r.input, &d) }
    get_object_acl(r: GetObjectAclInput, d) -> GetObjectAclOutput { object_acl(&r.input, &d) }
    copy_object(r: CopyObjectInput, d) -> CopyObjectOutput { copy_object(r, d) await }
    delete_object(r: DeleteObjectInput, d) -> DeleteObjectOutput { delete_object(r.input, d) await }
    delete_objects(r: DeleteObjectsInput, d) -> DeleteObjectsOutput { delete_objects(r, d) await }
    get_object_tagging(r: GetObjectTaggingInput, d) -> GetObjectTaggingOutput { object_tags(&r.input, &d) }
    put_object_tagging(r: PutObjectTaggingInput, d) -> PutObjectTaggingOutput { put_object_tags(r.input, d) await }
    delete_object_tagging(r: DeleteObjectTaggingInput, d) -> DeleteObjectTaggingOutput { delete_object_tags(r.input, d) await }
    create_multipart_upload(r: CreateMultipartUploadInput, d) -> CreateMultipartUploadOutput { begin_upload(r, d) await }
    upload_part(r: UploadPartInput, d) -> UploadPartOutput { upload_part(r, d) await }
    upload_part_copy(r: UploadPartCopyInput, d) -> UploadPartCopyOutput { copy_part(r, d) await }
    complete_multipart_upload(r: CompleteMultipartUploadInput, d) -> CompleteMultipartUploadOutput { complete_upload(r.input, d) await }
    abort_multipart_upload(r: AbortMultipartUploadInput, d) -> AbortMultipartUploadOutput { abort_upload(r.input, d) await }
    list_parts(r: ListPartsInput, d) -> ListPartsOutput { list_parts(r.input, &d) }
    list_multipart_uploads(r: ListMultipartUploadsInput, d) -> ListMultipartUploadsOutput { list_uploads(r.input, &d) }
}

/// What is the same for every bucket and object.
impl ObjectStore {
    fn put_ownership(
        &self,
        input: &PutBucketOwnershipControlsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        decided.bucket()?;
        let enforced = ObjectOwnership::BUCKET_OWNER_ENFORCED;
        match &input.ownership_controls.rules[..] {
            [rule] if rule.object_ownership.as_str() == enforced => {
                Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
            }
            [_] => {
                let message = "Access control lists are not offered: the bucket's owner owns every object.";
                Err(crate::fault::error(S3ErrorCode::NotImplemented, message))
            }
            _ => Err(crate::fault::error(S3ErrorCode::MalformedXML, "There is one rule of ownership.")),
        }
    }

    /// Source: S3 User Guide, "Controlling ownership of objects and disabling ACLs": lists can be read and not changed.
    fn no_acls<T>(&self, decided: &Decided) -> S3Result<S3Response<T>> {
        decided.bucket()?;
        Err(crate::fault::error(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"))
    }

    fn ownership(&self, decided: &Decided) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        decided.bucket()?;
        let enforced = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
        let rules = vec![OwnershipControlsRule { object_ownership: enforced }];
        let ownership_controls = Some(OwnershipControls { rules });
        Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
    }

    fn bucket_acl(&self, decided: &Decided) -> S3Result<S3Response<GetBucketAclOutput>> {
        decided.bucket()?;
        let (owner, grants) = all_to(&decided.project_id);
        Ok(S3Response::new(GetBucketAclOutput { owner, grants }))
    }

    fn object_acl(
        &self,
        input: &GetObjectAclInput,
        decided: &Decided,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let view = self.0.store.view().map_err(|error| crate::fault::of(&error))?;
        self.find(&view, decided.bucket()?, &input.key, input.version_id.as_deref())
            .map_err(|e| decided.missing(e))?;
        let (owner, grants) = all_to(&decided.project_id);
        Ok(S3Response::new(GetObjectAclOutput { owner, grants, request_charged: None }))
    }
}

/// The owner has every right, and nobody else has any.
fn all_to(project_id: &str) -> (Option<Owner>, Option<Vec<Grant>>) {
    let grantee = Grantee {
        id: Some(project_id.to_owned()),
        type_: Type::from_static(Type::CANONICAL_USER),
        display_name: None,
        email_address: None,
        uri: None,
    };
    let grant =
        Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) };
    (Some(owner(project_id)), Some(vec![grant]))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::OFFERED;

    /// What S3 has and we have not, with the reason if it will stay so. Source: S3 API Reference, as `s3s` 0.14.1 knows it.
    const MISSING: &[&str] = &[
        "create_bucket_metadata_table_configuration",
        "create_session",
        "delete_bucket_analytics_configuration",
        "delete_bucket_intelligent_tiering_configuration",
        "delete_bucket_inventory_configuration",
        "delete_bucket_metadata_table_configuration",
        "delete_bucket_metrics_configuration",
        "delete_bucket_ownership_controls",
        "delete_bucket_replication",
        "get_bucket_accelerate_configuration",
        "get_bucket_analytics_configuration",
        "get_bucket_intelligent_tiering_configuration",
        "get_bucket_inventory_configuration",
        "get_bucket_metadata_table_configuration",
        "get_bucket_metrics_configuration",
        "get_bucket_replication",
        "get_bucket_request_payment",
        "get_object_torrent",
        "list_bucket_analytics_configurations",
        "list_bucket_intelligent_tiering_configurations",
        "list_bucket_inventory_configurations",
        "list_bucket_metrics_configurations",
        "list_directory_buckets",
        "put_bucket_accelerate_configuration",
        "put_bucket_analytics_configuration",
        "put_bucket_intelligent_tiering_configuration",
        "put_bucket_inventory_configuration",
        "put_bucket_metrics_configuration",
        "put_bucket_replication",
        "put_bucket_request_payment",
        "restore_object",
        "select_object_content",
        "write_get_object_response",
    ];

    /// `list_objects_v2` as S3 spells it.
    fn title(name: &str) -> String {
        name.split('_')
            .map(|word| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default())
            .collect()
    }

    /// `make docs` writes it anew.
    #[test]
    fn the_derived_documents_list_the_operations_of_the_code() {
        let mut text = String::from(
            "# Operations of S3\n\nMade from the code by a test of `crates/objectstore`. What is not offered answers 501, \
             `NotImplemented`.\nPostObject (forms) is offered as PutObject.\n\n| operation | offered | needs |\n| --- | --- | --- |\n",
        );
        let mut all: Vec<(String, bool)> = OFFERED.iter().map(|name| (title(name), true)).collect();
        all.extend(MISSING.iter().map(|name| (title(name), false)));
        all.sort();
        for (name, is_offered) in &all {
            let verb = crate::access::verb(name);
            assert_eq!(verb.is_some(), *is_offered, "{name}: whoever offers it says what it needs");
            let (offered, needs) =
                (if *is_offered { "yes" } else { "no" }, verb.map_or("", |(verb, _)| verb.name));
            let _ = writeln!(text, "| {name} | {offered} | {needs} |");
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/s3-operations.md");
        if std::env::var_os("HANSE_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == text,
            "docs/s3-operations.md is out of date: run `make docs`"
        );
    }
}
