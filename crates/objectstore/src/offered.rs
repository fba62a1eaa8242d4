//! What may be asked of a write beside its bytes. What is not offered is refused, in headers as in the fields of forms.

use s3s::{S3ErrorCode, S3Result};

use crate::buckets::check_acl;
use crate::fault::error;

/// What a write asks for.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    pub acl: Option<&'a str>,
    pub grants: bool,
    /// `x-amz-server-side-encryption`.
    pub encryption: Option<&'a str>,
    /// A managed key, by its id, name or ARN.
    pub kms_key: Option<&'a str>,
    pub kms_context: Option<&'a str>,
    pub bucket_key: Option<bool>,
    pub storage_class: Option<&'a str>,
}

/// Takes that out of an input of PutObject, CopyObject or CreateMultipartUpload.
macro_rules! asked {
    ($input:expr) => {{
        let input = $input;
        let grants = [
            input.grant_full_control.is_some(),
            input.grant_read.is_some(),
            input.grant_read_acp.is_some(),
            input.grant_write_acp.is_some(),
        ];
        crate::offered::Asked {
            acl: input.acl.as_ref().map(s3s::dto::ObjectCannedACL::as_str),
            grants: grants.contains(&true),
            encryption: input.server_side_encryption.as_ref().map(s3s::dto::ServerSideEncryption::as_str),
            kms_key: input.ssekms_key_id.as_deref(),
            kms_context: input.ssekms_encryption_context.as_deref(),
            bucket_key: input.bucket_key_enabled,
            storage_class: input.storage_class.as_ref().map(s3s::dto::StorageClass::as_str),
        }
    }};
}
pub(crate) use asked;

/// # Errors
/// `NotImplemented`, `InvalidArgument`, `InvalidStorageClass`, `AccessControlListNotSupported`.
pub fn check(asked: &Asked<'_>) -> S3Result<()> {
    let missing = |what: &str| Err(error(S3ErrorCode::NotImplemented, format!("{what} is not offered.")));
    check_acl(asked.acl)?;
    if asked.grants {
        return Err(error(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"));
    }
    match asked.encryption {
        Some("aws:kms:dsse") => return missing("Encryption in two layers"),
        None | Some("AES256" | "aws:kms") => {}
        Some(_) => {
            return Err(error(
                S3ErrorCode::InvalidArgument,
                "The encryption method specified is not supported",
            ));
        }
    }
    match asked.storage_class {
        None | Some("STANDARD") => Ok(()),
        Some(_) => {
            Err(error(S3ErrorCode::InvalidStorageClass, "The storage class you specified is not valid"))
        }
    }
}
