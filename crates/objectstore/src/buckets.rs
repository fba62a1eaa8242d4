//! Buckets.

use hanse_core::Result;
use hanse_policy::Grant;
use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Decided, no_such_bucket};
use crate::conditions::time;
use crate::fault::{self, error};
use crate::record::{self, Bucket, BucketLock, Head, Versioning};
use crate::{ObjectStore, keys, notifications, quotas};

/// Names that the listener needs for itself: paths of Swift begin with them.
pub const RESERVED: [&str; 3] = ["info", "v1", "healthcheck"];

/// A page of buckets. Source: S3 API Reference, ListBuckets.
const PAGE: usize = 10_000;

/// Source: S3 User Guide, "General purpose bucket naming rules".
///
/// # Errors
/// `InvalidBucketName`.
pub fn check_name(name: &str) -> S3Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_fine = (3..=63).contains(&name.len())
        && name.bytes().all(|byte| is_plain(byte) || byte == b'-' || byte == b'.')
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().last().is_some_and(is_plain)
        && !["..", ".-", "-."].iter().any(|wrong| name.contains(wrong))
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !name.starts_with("xn--");
    if !is_fine {
        return Err(error(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."));
    }
    if RESERVED.contains(&name) {
        return Err(error(S3ErrorCode::InvalidBucketName, "The name is reserved."));
    }
    Ok(())
}

/// Says anew whether a bucket keeps versions.
///
/// # Errors
/// `InvalidBucketState` if its objects can be locked, or go to a container of Swift's when they are overwritten.
pub fn turn(bucket: &mut Bucket, versioning: Versioning) -> S3Result<()> {
    if bucket.lock.is_some() && versioning != Versioning::Enabled {
        return Err(error(
            S3ErrorCode::InvalidBucketState,
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        ));
    }
    if bucket.swift.archive.is_some() {
        return Err(error(
            S3ErrorCode::InvalidBucketState,
            "Overwritten objects of this bucket go to a container (X-Versions-Location, X-History-Location), so that it keeps no versions.",
        ));
    }
    bucket.versioning = versioning;
    Ok(())
}

/// What came out of a transaction that had to look first.
enum Made {
    New,
    Own,
    Foreign,
    TooMany,
}

impl ObjectStore {
    /// Writes down who does it, before it is done.
    pub(crate) async fn audit(&self, decided: &Decided, grant: &Grant) -> S3Result<()> {
        let written = self.0.db.write(&decided.asker.cx, grant, |_| Box::pin(async { Ok(()) })).await;
        written.map_err(|error| fault::of(&error))
    }

    pub(crate) async fn create(
        &self,
        request: S3Request<dto::CreateBucketInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let input = request.input;
        check_name(&input.bucket)?;
        let wanted = input.create_bucket_configuration.and_then(|wanted| wanted.location_constraint);
        let region = &self.0.settings.region;
        if wanted.is_some_and(|wanted| {
            !wanted.as_str().is_empty() && wanted.as_str() != region && wanted.as_str() != "us-east-1"
        }) {
            return Err(error(
                S3ErrorCode::InvalidLocationConstraint,
                format!("The specified location-constraint is not valid; this is {region}."),
            ));
        }
        check_acl(input.acl.as_ref().map(dto::BucketCannedACL::as_str))?;
        let location = format!("/{}", input.bucket);
        let mut bucket = Bucket::new(&decided.asker.cx, input.bucket, decided.project_id.clone());
        if input.object_lock_enabled_for_bucket == Some(true) {
            (bucket.versioning, bucket.lock) = (Versioning::Enabled, Some(BucketLock::default()));
        }
        self.make(&decided, bucket).await?;
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(location) }))
    }

    /// Makes a bucket of a name that was checked.
    ///
    /// # Errors
    /// `BucketAlreadyOwnedByYou`, `BucketAlreadyExists`, `TooManyBuckets`.
    pub(crate) async fn make(&self, decided: &Decided, bucket: Bucket) -> S3Result<()> {
        if self.find_bucket(&bucket.name).map_err(|error| fault::of(&error))?.is_none() {
            self.audit(decided, &decided.grant(&bucket.name)?).await?;
        }
        let quota = self.quota_of(&decided.asker.cx, &decided.project_id).await.map_err(|e| fault::of(&e))?;
        let most =
            quota.buckets.and_then(|most| usize::try_from(most).ok()).unwrap_or(self.0.settings.buckets);
        let made = self
            .0
            .store
            .write(move |change| {
                let place = keys::bucket(&bucket.name);
                if let Some(found) = change.get(&place)? {
                    let found: Bucket = record::from_json(&found.value)?;
                    return Ok(if found.project_id == bucket.project_id { Made::Own } else { Made::Foreign });
                }
                if change.scan_prefix(&keys::of_project(&bucket.project_id))?.take(most).count() >= most {
                    return Ok(Made::TooMany);
                }
                change.put(&place, record::to_json(&bucket)?, &[])?;
                change.put(&keys::owned(&bucket.project_id, &bucket.name), Vec::new(), &[])?;
                Ok(Made::New)
            })
            .await
            .map_err(|error| fault::of(&error))?;
        match made {
            Made::New => Ok(()),
            Made::Own => Err(error(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            )),
            Made::Foreign => Err(error(
                S3ErrorCode::BucketAlreadyExists,
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. \
                 Select a different name and try again.",
            )),
            Made::TooMany => Err(error(
                S3ErrorCode::TooManyBuckets,
                format!("You have attempted to create more buckets than allowed: {most}."),
            )),
        }
    }

    pub(crate) async fn remove(&self, decided: Decided) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
        let bucket = decided.bucket()?.clone();
        let rooms = [keys::objects(&bucket.id), keys::all_versions(&bucket.id)];
        let begins_ended = || -> Result<bool> {
            let first = self.0.store.view()?.scan_prefix(&keys::objects(&bucket.id))?.next().transpose()?;
            let Some((_, first)) = first else { return Ok(false) };
            Ok(Head::decode(&first.value)?.0.has_ended(decided.asker.cx.now()))
        };
        // What nobody sees any more does not keep a bucket. That is looked for in all of them, so only where it is there.
        if begins_ended().map_err(|error| fault::of(&error))? {
            self.end_due().await.map_err(|error| fault::of(&error))?;
        }
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let not_empty = || error(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty");
        for room in &rooms {
            if view.scan_prefix(room).map_err(|error| fault::of(&error))?.next().is_some() {
                return Err(not_empty());
            }
        }
        drop(view);
        self.audit(&decided, &decided.grant(&bucket.name)?).await?;
        let deleted = self
            .0
            .store
            .write(move |change| {
                for room in &rooms {
                    if change.scan_prefix(room)?.next().is_some() {
                        return Ok(false);
                    }
                }
                // What was uploaded of objects that never came to be.
                let start = keys::uploads(&bucket.id);
                let uploads: Vec<_> = change.scan_prefix(&start)?.collect::<Result<_>>()?;
                let mut freed = 0;
                for (key, _) in uploads {
                    if let Some((_, upload)) = key.get(start.len()..).and_then(keys::split_id) {
                        freed += delete_parts(change, upload)?;
                    }
                    change.delete(&key)?;
                }
                quotas::count(change, &bucket, 0, -i128::from(freed))?;
                change.delete(&keys::bucket(&bucket.name))?;
                change.delete(&keys::owned(&bucket.project_id, &bucket.name))?;
                change.delete(&keys::bucket_usage(&bucket.id))?;
                notifications::forget(change, &bucket)?;
                Ok(true)
            })
            .await
            .map_err(|error| fault::of(&error))?;
        if !deleted {
            return Err(not_empty());
        }
        Ok(S3Response::new(dto::DeleteBucketOutput {}))
    }

    pub(crate) fn head_bucket(&self, decided: &Decided) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        decided.bucket()?;
        let bucket_region = Some(self.0.settings.region.clone());
        Ok(S3Response::new(dto::HeadBucketOutput { bucket_region, ..Default::default() }))
    }

    pub(crate) fn location(&self, decided: &Decided) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        decided.bucket()?;
        let region = dto::BucketLocationConstraint::from(self.0.settings.region.clone());
        Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint: Some(region) }))
    }

    pub(crate) fn list(
        &self,
        input: &dto::ListBucketsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let wrong = |message: &str| error(S3ErrorCode::InvalidArgument, message);
        let most = match input.max_buckets {
            None => PAGE,
            Some(most) => usize::try_from(most)
                .ok()
                .filter(|most| (1..=PAGE).contains(most))
                .ok_or_else(|| wrong("max-buckets must be between 1 and 10000"))?,
        };
        let list = || -> Result<(Vec<dto::Bucket>, Option<String>)> {
            let view = self.0.store.view()?;
            let start = keys::of_project(&decided.project_id);
            let prefix = [&start[..], input.prefix.as_deref().unwrap_or_default().as_bytes()].concat();
            let mut scan = view.scan_prefix(&prefix)?;
            let after = input.continuation_token.as_deref().unwrap_or_default();
            if !after.is_empty() {
                scan.seek(&[&start[..], after.as_bytes(), b"\0"].concat().max(prefix))?;
            }
            let mut buckets: Vec<dto::Bucket> = Vec::new();
            for found in scan {
                let (key, _) = found?;
                let name = String::from_utf8_lossy(key.get(start.len()..).unwrap_or_default()).into_owned();
                if buckets.len() == most {
                    let last = buckets.last().and_then(|last| last.name.clone());
                    return Ok((buckets, last));
                }
                let Some(bucket) = view.get(&keys::bucket(&name))? else { continue };
                let bucket: Bucket = record::from_json(&bucket.value)?;
                buckets.push(dto::Bucket {
                    creation_date: Some(time(bucket.created_at())),
                    name: Some(name),
                    bucket_region: Some(self.0.settings.region.clone()),
                });
            }
            Ok((buckets, None))
        };
        let (buckets, continuation_token) = list().map_err(|error| fault::of(&error))?;
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            owner: Some(owner(&decided.project_id)),
            prefix: input.prefix.clone(),
        }))
    }

    /// Changes the settings of a bucket.
    pub(crate) async fn configure(
        &self,
        decided: &Decided,
        set: impl Fn(&mut Bucket) + Send + 'static,
    ) -> S3Result<()> {
        let set = move |bucket: &mut Bucket| {
            set(bucket);
            Ok(())
        };
        self.try_configure(decided, set).await
    }

    /// Changes the settings of a bucket, unless those that it has do not allow that.
    pub(crate) async fn try_configure(
        &self,
        decided: &Decided,
        set: impl Fn(&mut Bucket) -> S3Result<()> + Send + 'static,
    ) -> S3Result<()> {
        let bucket = decided.bucket()?.clone();
        self.audit(decided, &decided.grant(&bucket.name)?).await?;
        let done = self
            .0
            .store
            .write(move |change| {
                let place = keys::bucket(&bucket.name);
                let Some(mut found) = current(change, &bucket)? else { return Ok(Err(no_such_bucket())) };
                if let Err(refused) = set(&mut found) {
                    return Ok(Err(refused));
                }
                change.put(&place, record::to_json(&found)?, &[])?;
                Ok(Ok(()))
            })
            .await;
        done.map_err(|error| fault::of(&error))?
    }
}

/// The bucket as a transaction finds it; `None` if it is gone, or another one has its name.
///
/// # Errors
/// Internal if it does not read.
pub fn current(change: &hanse_logstore::Change<'_>, bucket: &Bucket) -> Result<Option<Bucket>> {
    let Some(found) = change.get(&keys::bucket(&bucket.name))? else { return Ok(None) };
    let found: Bucket = record::from_json(&found.value)?;
    Ok((found.id == bucket.id).then_some(found))
}

/// Deletes the parts of an upload; returns how many bytes they had.
///
/// # Errors
/// Internal if one does not read.
pub fn delete_parts(change: &mut hanse_logstore::Change<'_>, upload: &str) -> Result<u64> {
    let parts: Vec<_> = change.scan_prefix(&keys::parts(upload))?.collect::<Result<_>>()?;
    let mut freed = 0;
    for (place, part) in parts {
        freed += record::from_json::<record::Part>(&part.value)?.piece.size;
        change.delete(&place)?;
    }
    Ok(freed)
}

/// Who owns what a project has.
pub fn owner(project_id: &str) -> dto::Owner {
    dto::Owner { id: Some(project_id.to_owned()), display_name: None }
}

/// Ownership is enforced: the owner has all rights, and other access control lists are refused. Source: S3 User Guide,
/// "Controlling ownership of objects and disabling ACLs".
///
/// # Errors
/// `AccessControlListNotSupported`.
pub fn check_acl(acl: Option<&str>) -> S3Result<()> {
    match acl {
        None | Some("private" | "bucket-owner-full-control") => Ok(()),
        Some(_) => Err(error(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_s3() {
        let long = "a".repeat(63);
        for name in ["abc", "my-bucket", "my.bucket.1", "1bucket", long.as_str()] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in [
            "",
            "ab",
            too_long.as_str(),
            "Bucket",
            "my_bucket",
            "-abc",
            "abc-",
            ".abc",
            "abc.",
            "a..b",
            "a.-b",
            "a-.b",
            "192.168.5.4",
            "xn--abc",
            "info",
            "v1",
            "a b",
            "büro",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
