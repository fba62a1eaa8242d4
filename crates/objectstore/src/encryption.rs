//! Under which key something is encrypted: that of the project (SSE-S3), one that the project manages (SSE-KMS), or one that the
//! client brings (SSE-C).
//!
//! Source: S3 User Guide, "Protecting data with server-side encryption".

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::Result;
use http::StatusCode;
use s3s::dto::{
    DeleteBucketEncryptionOutput, GetBucketEncryptionOutput, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::{Asker, Decided, denied};
use crate::crypt::WrappingKey;
use crate::customer::CustomerKey;
use crate::fault::{self, error};
use crate::kms::keys::{self as kms, Key, State};
use crate::look::Look;
use crate::offered::Asked;
use crate::record::{DefaultEncryption, Managed, Rest};

/// `x-amz-server-side-encryption` of a managed key.
const KMS: &str = "aws:kms";
/// Of an encryption context, in base64. Source: AWS KMS Developer Guide, "Encryption context".
const CONTEXT_MAX: usize = 8192;

/// What the data keys of something are wrapped under.
#[derive(Clone, Default)]
pub enum Under {
    #[default]
    Project,
    Customer(CustomerKey),
    Managed(Managed),
}

impl Under {
    /// What an object is under; the client's key, if it is one, was compared before.
    pub fn of(managed: Option<&Managed>, customer: Option<CustomerKey>) -> Under {
        match (managed, customer) {
            (_, Some(customer)) => Under::Customer(customer),
            (Some(managed), None) => Under::Managed(managed.clone()),
            (None, None) => Under::Project,
        }
    }

    pub fn is_projects(&self) -> bool {
        matches!(self, Under::Project)
    }

    pub fn customer(&self) -> Option<&CustomerKey> {
        match self {
            Under::Customer(customer) => Some(customer),
            Under::Project | Under::Managed(_) => None,
        }
    }

    pub fn managed(&self) -> Option<&Managed> {
        match self {
            Under::Managed(managed) => Some(managed),
            Under::Project | Under::Customer(_) => None,
        }
    }

    /// What is kept to tell whether a client's key is the right one.
    ///
    /// # Errors
    /// Internal if it cannot be made.
    pub fn proof(&self, decided: &Decided) -> S3Result<Option<String>> {
        self.customer().map(|customer| customer.proof(decided)).transpose()
    }
}

/// `x-amz-server-side-encryption`, of what no client's key is needed for.
pub fn algorithm(managed: Option<&Managed>) -> ServerSideEncryption {
    ServerSideEncryption::from_static(if managed.is_some() { KMS } else { ServerSideEncryption::AES256 })
}

/// Shows in an output what something is encrypted under.
macro_rules! show_encryption {
    ($store:expr, $project_id:expr, $output:expr, $under:expr) => {{
        let (output, under): (_, &crate::encryption::Under) = ($output, &$under);
        match under.customer() {
            Some(customer) => {
                output.sse_customer_algorithm = Some(crate::customer::ALGORITHM.to_owned());
                output.sse_customer_key_md5 = Some(customer.md5.clone());
            }
            None => show_encryption!(managed $store, $project_id, output, under.managed()),
        }
    }};
    (managed $store:expr, $project_id:expr, $output:expr, $managed:expr) => {{
        let (output, managed): (_, Option<&crate::record::Managed>) = ($output, $managed);
        output.server_side_encryption = Some(crate::encryption::algorithm(managed));
        output.ssekms_key_id = managed.map(|managed| $store.key_arn($project_id, managed));
        output.bucket_key_enabled = managed.filter(|managed| managed.bucket_key).map(|_| true);
    }};
}
pub(crate) use show_encryption;

fn kms_error(code: &'static str, message: impl Into<String>) -> S3Error {
    fault::named(code, StatusCode::BAD_REQUEST, message)
}

fn usable(key: Option<Key>, name: &str) -> S3Result<Key> {
    let key =
        key.ok_or_else(|| kms_error("KMS.NotFoundException", format!("Key '{name}' does not exist")))?;
    match key.state {
        State::Enabled => Ok(key),
        State::Disabled => Err(kms_error("KMS.DisabledException", format!("{} is disabled.", key.id))),
        State::PendingDeletion(_) => {
            Err(kms_error("KMS.KMSInvalidStateException", format!("{} is pending deletion.", key.id)))
        }
    }
}

/// Only the project whose keys they are uses them, whatever a policy of the bucket says: there are no policies of keys.
fn check_user(asker: &Asker, project_id: &str) -> S3Result<()> {
    let own = asker.caller.as_ref().and_then(|caller| caller.project_id());
    if own == Some(project_id) { Ok(()) } else { Err(denied()) }
}

/// Source: S3 User Guide, "Encryption context".
fn context(given: &str) -> S3Result<BTreeMap<String, String>> {
    let wrong = || {
        let message = "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON \
                       with the encryption context key-value pairs";
        error(S3ErrorCode::InvalidArgument, message)
    };
    if given.len() > CONTEXT_MAX {
        return Err(wrong());
    }
    serde_json::from_slice(&BASE64.decode(given).map_err(|_| wrong())?).map_err(|_| wrong())
}

/// # Errors
/// `InvalidRequest`, for APIs that know no managed keys and no keys of clients.
pub fn check_plain(rest: &Rest) -> S3Result<()> {
    crate::customer::check(rest.customer.as_deref(), None)?;
    if rest.managed.is_some() {
        let message = "The object is encrypted under a key that the project manages: read it by S3.";
        return Err(error(S3ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

impl ObjectStore {
    pub(crate) fn key_arn(&self, project_id: &str, managed: &Managed) -> String {
        kms::arn(&self.0.settings.region, project_id, &format!("key/{}", managed.key))
    }

    /// The key that a request, or a bucket, names; the project's default if it names none.
    async fn managed_key(&self, decided: &Decided, name: Option<&str>) -> S3Result<Key> {
        let (cx, project_id) = (decided.asker.cx.clone(), decided.project_id.clone());
        let find = |name: &str| -> Result<Option<Key>> {
            kms::find(&self.0.store.view()?, &project_id, name, cx.now())
        };
        let found = find(name.unwrap_or(kms::DEFAULT)).map_err(|error| fault::of(&error))?;
        if let (None, None | Some(kms::DEFAULT)) = (&found, name) {
            let master = self.0.master.clone();
            let made =
                self.0.store.write(move |change| kms::default(change, &cx, &master, &project_id)).await;
            return made.map_err(|error| fault::of(&error));
        }
        usable(found, name.unwrap_or(kms::DEFAULT))
    }

    /// What a write is to be encrypted under: what it asks for, or else what its bucket has as a default.
    ///
    /// # Errors
    /// `InvalidArgument`, `KMS.NotFoundException` and others that say what is wrong with the key; `AccessDenied` if it is not
    /// for the caller.
    pub(crate) async fn under(
        &self,
        decided: &Decided,
        asked: &Asked<'_>,
        customer: Option<CustomerKey>,
    ) -> S3Result<Under> {
        let invalid = |message: &str| Err(error(S3ErrorCode::InvalidArgument, message));
        let is_kms = match (asked.encryption, customer) {
            (Some(_), Some(_)) => {
                return invalid(
                    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
                );
            }
            (None, Some(customer)) => return Ok(Under::Customer(customer)),
            (asked, None) => asked == Some(KMS),
        };
        if !is_kms && (asked.kms_key.is_some() || asked.kms_context.is_some()) {
            return invalid(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            );
        }
        let default = match &decided.bucket()?.encryption {
            Some(default) if is_kms || asked.encryption.is_none() => default.clone(),
            _ if is_kms => DefaultEncryption::default(),
            _ => return Ok(Under::Project),
        };
        check_user(&decided.asker, &decided.project_id)?;
        let context = asked.kms_context.map(context).transpose()?.unwrap_or_default();
        let key = self.managed_key(decided, asked.kms_key.or(default.key.as_deref())).await?;
        let bucket_key = asked.bucket_key.unwrap_or(default.bucket_key);
        Ok(Under::Managed(Managed { key: key.id, context, bucket_key }))
    }

    /// The key that data keys are wrapped under.
    ///
    /// # Errors
    /// As [`ObjectStore::under`].
    pub(crate) async fn wrapping(
        &self,
        decided: &Decided,
        project_id: &str,
        under: &Under,
    ) -> S3Result<Arc<WrappingKey>> {
        match under {
            Under::Customer(customer) => Ok(customer.key.clone()),
            Under::Managed(managed) => {
                let view = self.0.store.view().map_err(|error| fault::of(&error))?;
                self.managed(&view, &decided.asker, project_id, managed)
            }
            Under::Project => {
                self.0.projects.of(&decided.asker.cx, project_id).await.map_err(|error| fault::of(&error))
            }
        }
    }

    /// What a managed key makes of a context.
    ///
    /// # Errors
    /// As [`ObjectStore::under`].
    pub(crate) fn managed(
        &self,
        look: &impl Look,
        asker: &Asker,
        project_id: &str,
        managed: &Managed,
    ) -> S3Result<Arc<WrappingKey>> {
        check_user(asker, project_id)?;
        let found =
            kms::find(look, project_id, &managed.key, asker.cx.now()).map_err(|error| fault::of(&error))?;
        let key = usable(found, &managed.key)?;
        let open = || -> Result<WrappingKey> {
            let context = crate::record::to_json(&managed.context)?;
            key.wrapping(&self.0.master, project_id, &context)
        };
        open().map(Arc::new).map_err(|error| fault::of(&error))
    }

    pub(crate) fn bucket_encryption(
        &self,
        decided: &Decided,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let default = decided.bucket()?.encryption.as_ref();
        let by_default = ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from_static(match default {
                Some(_) => KMS,
                None => ServerSideEncryption::AES256,
            }),
            kms_master_key_id: default.and_then(|default| default.key.clone()),
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(by_default),
            bucket_key_enabled: Some(default.is_some_and(|default| default.bucket_key)),
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(configuration),
        }))
    }

    pub(crate) async fn put_encryption(
        &self,
        input: PutBucketEncryptionInput,
        decided: Decided,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        let malformed = |message: &str| Err(error(S3ErrorCode::MalformedXML, message));
        let [rule] = &input.server_side_encryption_configuration.rules[..] else {
            return malformed("The configuration has one rule.");
        };
        let Some(wanted) = &rule.apply_server_side_encryption_by_default else {
            return malformed("The rule names no encryption.");
        };
        let default = match wanted.sse_algorithm.as_str() {
            ServerSideEncryption::AES256 if wanted.kms_master_key_id.is_none() => None,
            ServerSideEncryption::AES256 => {
                let message =
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms";
                return Err(error(S3ErrorCode::InvalidArgument, message));
            }
            KMS => {
                // Told at once, and not with the first object.
                self.managed_key(&decided, wanted.kms_master_key_id.as_deref()).await?;
                let bucket_key = rule.bucket_key_enabled.unwrap_or(false);
                Some(DefaultEncryption { key: wanted.kms_master_key_id.clone(), bucket_key })
            }
            other => {
                let message = format!("Encryption by '{other}' is not offered.");
                return Err(error(S3ErrorCode::NotImplemented, message));
            }
        };
        self.configure(&decided, move |bucket| bucket.encryption = default.clone()).await?;
        Ok(S3Response::new(PutBucketEncryptionOutput {}))
    }

    pub(crate) async fn delete_encryption(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        self.configure(&decided, |bucket| bucket.encryption = None).await?;
        Ok(S3Response::with_status(DeleteBucketEncryptionOutput {}, StatusCode::NO_CONTENT))
    }
}
