//! The actions that policies name, and which of them an operation needs. Source: Service Authorization Reference, "Actions,
//! resources, and condition keys for Amazon S3"; S3 User Guide, "Required permissions for Amazon S3 API operations".

use super::matching::Pattern;

/// What an action is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Account,
    Bucket,
    Object,
}

const ACCOUNT: [&str; 1] = ["s3:ListAllMyBuckets"];

const BUCKET: &[&str] = &[
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteBucketWebsite",
    "s3:GetAccelerateConfiguration",
    "s3:GetAnalyticsConfiguration",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:GetBucketLocation",
    "s3:GetBucketLogging",
    "s3:GetBucketNotification",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPolicyStatus",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketTagging",
    "s3:GetBucketVersioning",
    "s3:GetBucketWebsite",
    "s3:GetEncryptionConfiguration",
    "s3:GetIntelligentTieringConfiguration",
    "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetMetricsConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    "s3:PutAccelerateConfiguration",
    "s3:PutAnalyticsConfiguration",
    "s3:PutBucketAcl",
    "s3:PutBucketCORS",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketRequestPayment",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutBucketWebsite",
    "s3:PutEncryptionConfiguration",
    "s3:PutIntelligentTieringConfiguration",
    "s3:PutInventoryConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutMetricsConfiguration",
    "s3:PutReplicationConfiguration",
];

const OBJECT: &[&str] = &[
    "s3:AbortMultipartUpload",
    "s3:BypassGovernanceRetention",
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:GetObject",
    "s3:GetObjectAcl",
    "s3:GetObjectAttributes",
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectTagging",
    "s3:GetObjectTorrent",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
    "s3:GetObjectVersionTorrent",
    "s3:InitiateReplication",
    "s3:ListMultipartUploadParts",
    "s3:ObjectOwnerOverrideToBucketOwner",
    "s3:PutObject",
    "s3:PutObjectAcl",
    "s3:PutObjectLegalHold",
    "s3:PutObjectRetention",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
    "s3:ReplicateDelete",
    "s3:ReplicateObject",
    "s3:ReplicateTags",
    "s3:RestoreObject",
];

/// Where the actions that a pattern names are asked.
pub fn matching(pattern: &Pattern) -> impl Iterator<Item = Scope> {
    let all = [(Scope::Account, &ACCOUNT[..]), (Scope::Bucket, BUCKET), (Scope::Object, OBJECT)];
    let named = move |actions: &[&str]| actions.iter().any(|action| pattern.matches(action, None, false));
    all.into_iter().filter_map(move |(scope, actions)| named(actions).then_some(scope))
}

/// The actions that an operation needs, all of them, of the bucket or the object in its path; `None` if it is not known. What a
/// request needs beyond them, for tags, locks or the source of a copy, is told by `GetObject`, `PutObjectTagging` and
/// their like.
pub fn needed(operation: &str, has_version: bool) -> Option<&'static [&'static str]> {
    if has_version {
        match operation {
            "GetObject" | "HeadObject" | "SelectObjectContent" => return Some(&["s3:GetObjectVersion"]),
            "GetObjectAttributes" => {
                return Some(&["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"]);
            }
            "GetObjectAcl" => return Some(&["s3:GetObjectVersionAcl"]),
            "PutObjectAcl" => return Some(&["s3:PutObjectVersionAcl"]),
            "GetObjectTagging" => return Some(&["s3:GetObjectVersionTagging"]),
            "PutObjectTagging" => return Some(&["s3:PutObjectVersionTagging"]),
            "DeleteObjectTagging" => return Some(&["s3:DeleteObjectVersionTagging"]),
            "DeleteObject" | "DeleteObjects" => return Some(&["s3:DeleteObjectVersion"]),
            "GetObjectTorrent" => return Some(&["s3:GetObjectVersionTorrent"]),
            _ => {}
        }
    }
    Some(match operation {
        "AbortMultipartUpload" => &["s3:AbortMultipartUpload"],
        "BypassGovernanceRetention" => &["s3:BypassGovernanceRetention"],
        "CreateBucket" => &["s3:CreateBucket"],
        "DeleteBucket" => &["s3:DeleteBucket"],
        "DeleteBucketPolicy" => &["s3:DeleteBucketPolicy"],
        "DeleteBucketWebsite" => &["s3:DeleteBucketWebsite"],
        "DeleteObject" | "DeleteObjects" => &["s3:DeleteObject"],
        "DeleteObjectTagging" => &["s3:DeleteObjectTagging"],
        "GetBucketAccelerateConfiguration" => &["s3:GetAccelerateConfiguration"],
        "GetBucketAcl" => &["s3:GetBucketAcl"],
        "GetBucketAnalyticsConfiguration" | "ListBucketAnalyticsConfigurations" => {
            &["s3:GetAnalyticsConfiguration"]
        }
        "GetBucketCors" => &["s3:GetBucketCORS"],
        "GetBucketEncryption" => &["s3:GetEncryptionConfiguration"],
        "GetBucketIntelligentTieringConfiguration" | "ListBucketIntelligentTieringConfigurations" => {
            &["s3:GetIntelligentTieringConfiguration"]
        }
        "GetBucketInventoryConfiguration" | "ListBucketInventoryConfigurations" => {
            &["s3:GetInventoryConfiguration"]
        }
        "GetBucketLifecycleConfiguration" => &["s3:GetLifecycleConfiguration"],
        "GetBucketLocation" => &["s3:GetBucketLocation"],
        "GetBucketLogging" => &["s3:GetBucketLogging"],
        "GetBucketMetricsConfiguration" | "ListBucketMetricsConfigurations" => {
            &["s3:GetMetricsConfiguration"]
        }
        "GetBucketNotificationConfiguration" => &["s3:GetBucketNotification"],
        "GetBucketOwnershipControls" => &["s3:GetBucketOwnershipControls"],
        "GetBucketPolicy" => &["s3:GetBucketPolicy"],
        "GetBucketPolicyStatus" => &["s3:GetBucketPolicyStatus"],
        "GetBucketReplication" => &["s3:GetReplicationConfiguration"],
        "GetBucketRequestPayment" => &["s3:GetBucketRequestPayment"],
        "GetBucketTagging" => &["s3:GetBucketTagging"],
        "GetBucketVersioning" => &["s3:GetBucketVersioning"],
        "GetBucketWebsite" => &["s3:GetBucketWebsite"],
        "GetObject" | "HeadObject" | "SelectObjectContent" => &["s3:GetObject"],
        "GetObjectAcl" => &["s3:GetObjectAcl"],
        "GetObjectAttributes" => &["s3:GetObject", "s3:GetObjectAttributes"],
        "GetObjectLegalHold" => &["s3:GetObjectLegalHold"],
        "GetObjectLockConfiguration" => &["s3:GetBucketObjectLockConfiguration"],
        "GetObjectRetention" => &["s3:GetObjectRetention"],
        "GetObjectTagging" => &["s3:GetObjectTagging"],
        "GetObjectTorrent" => &["s3:GetObjectTorrent"],
        "GetPublicAccessBlock" => &["s3:GetBucketPublicAccessBlock"],
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => &["s3:ListBucket"],
        "ListBuckets" => &["s3:ListAllMyBuckets"],
        "ListMultipartUploads" => &["s3:ListBucketMultipartUploads"],
        "ListObjectVersions" => &["s3:ListBucketVersions"],
        "ListParts" => &["s3:ListMultipartUploadParts"],
        "PutBucketAccelerateConfiguration" => &["s3:PutAccelerateConfiguration"],
        "PutBucketAcl" => &["s3:PutBucketAcl"],
        "PutBucketAnalyticsConfiguration" | "DeleteBucketAnalyticsConfiguration" => {
            &["s3:PutAnalyticsConfiguration"]
        }
        "PutBucketCors" | "DeleteBucketCors" => &["s3:PutBucketCORS"],
        "PutBucketEncryption" | "DeleteBucketEncryption" => &["s3:PutEncryptionConfiguration"],
        "PutBucketIntelligentTieringConfiguration" | "DeleteBucketIntelligentTieringConfiguration" => {
            &["s3:PutIntelligentTieringConfiguration"]
        }
        "PutBucketInventoryConfiguration" | "DeleteBucketInventoryConfiguration" => {
            &["s3:PutInventoryConfiguration"]
        }
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => &["s3:PutLifecycleConfiguration"],
        "PutBucketLogging" => &["s3:PutBucketLogging"],
        "PutBucketMetricsConfiguration" | "DeleteBucketMetricsConfiguration" => {
            &["s3:PutMetricsConfiguration"]
        }
        "PutBucketNotificationConfiguration" => &["s3:PutBucketNotification"],
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => &["s3:PutBucketOwnershipControls"],
        "PutBucketPolicy" => &["s3:PutBucketPolicy"],
        "PutBucketReplication" | "DeleteBucketReplication" => &["s3:PutReplicationConfiguration"],
        "PutBucketRequestPayment" => &["s3:PutBucketRequestPayment"],
        "PutBucketTagging" | "DeleteBucketTagging" => &["s3:PutBucketTagging"],
        "PutBucketVersioning" => &["s3:PutBucketVersioning"],
        "PutBucketWebsite" => &["s3:PutBucketWebsite"],
        "PutObject"
        | "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => &["s3:PutObject"],
        "PutObjectAcl" => &["s3:PutObjectAcl"],
        "PutObjectLegalHold" => &["s3:PutObjectLegalHold"],
        "PutObjectLockConfiguration" => &["s3:PutBucketObjectLockConfiguration"],
        "PutObjectRetention" => &["s3:PutObjectRetention"],
        "PutObjectTagging" => &["s3:PutObjectTagging"],
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => &["s3:PutBucketPublicAccessBlock"],
        "RestoreObject" => &["s3:RestoreObject"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_need_known_actions() {
        for (operation, has_version, expected) in [
            ("GetObject", false, &["s3:GetObject"][..]),
            ("HeadObject", true, &["s3:GetObjectVersion"]),
            ("GetObjectAttributes", false, &["s3:GetObject", "s3:GetObjectAttributes"]),
            ("DeleteObjects", true, &["s3:DeleteObjectVersion"]),
            ("UploadPartCopy", false, &["s3:PutObject"]),
            ("PutObject", true, &["s3:PutObject"]),
            ("HeadBucket", false, &["s3:ListBucket"]),
            ("DeleteBucketCors", false, &["s3:PutBucketCORS"]),
            ("PutObjectLockConfiguration", false, &["s3:PutBucketObjectLockConfiguration"]),
        ] {
            assert_eq!(needed(operation, has_version), Some(expected), "{operation}");
        }
        assert_eq!(needed("CreateSession", false), None);
    }

    /// Each that may be called here is in the table, and what it needs can be written in a policy.
    #[test]
    fn all_operations_that_are_offered_have_an_action() {
        let offered = include_str!("../../../../docs/s3-operations.md");
        let lines = offered.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
        let mut count = 0;
        for (operation, _) in lines.filter(|(_, rest)| rest.starts_with("yes")) {
            for has_version in [false, true] {
                for action in needed(operation, has_version).unwrap_or_else(|| panic!("{operation}")) {
                    let all = ACCOUNT.iter().chain(BUCKET).chain(OBJECT);
                    assert_eq!(all.filter(|known| *known == action).count(), 1, "{operation} {action}");
                    count += 1;
                }
            }
        }
        assert!(count > 60, "{count}");
    }
}
