//! Tags of objects and buckets. Source: S3 User Guide, "Categorizing your objects using tags".

use http::StatusCode;
use s3s::dto::{self, Tag};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result};

use crate::access::Decided;
use crate::facts::Tags;
use crate::fault::{self, error, named};
use crate::notifications::Cause;
use crate::record::{Bucket, Object};
use crate::{ObjectStore, query, versions};

const OBJECT_MAX: usize = 10;
const BUCKET_MAX: usize = 50;
/// In characters.
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

fn wrong(message: impl Into<String>) -> S3Error {
    error(S3ErrorCode::InvalidTag, message)
}

fn check(tags: &Tags, most: usize) -> S3Result<()> {
    if tags.len() > most {
        return Err(named(
            "BadRequest",
            StatusCode::BAD_REQUEST,
            format!("Object tags cannot be greater than {most}"),
        ));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > KEY_MAX || key.starts_with("aws:") {
            return Err(wrong("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > VALUE_MAX {
            return Err(wrong("The TagValue you have provided is invalid"));
        }
        if tags.iter().take(index).any(|(other, _)| other == key) {
            return Err(wrong("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(())
}

/// Reads `x-amz-tagging`, which is written as a query is.
///
/// # Errors
/// `InvalidTag`, `InvalidArgument`.
pub fn of_header(header: Option<&str>) -> S3Result<Tags> {
    let Some(text) = header.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let tags = query::parse(text).ok_or_else(|| {
        error(
            S3ErrorCode::InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
        )
    })?;
    check(&tags, OBJECT_MAX)?;
    Ok(tags)
}

/// The tags of a filter.
///
/// # Errors
/// `InvalidTag`, `MalformedXML`.
pub fn checked(tags: Vec<Tag>) -> S3Result<Tags> {
    of_body(dto::Tagging { tag_set: tags }, OBJECT_MAX)
}

fn of_body(tagging: dto::Tagging, most: usize) -> S3Result<Tags> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    let tags: Option<Tags> = tagging.tag_set.into_iter().map(pair).collect();
    let tags = tags.ok_or_else(|| error(S3ErrorCode::MalformedXML, "A tag has no key."))?;
    check(&tags, most)?;
    Ok(tags)
}

fn shown(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.iter().map(tag).collect()
}

impl ObjectStore {
    /// The tags of an object; none if it is not there.
    pub(crate) fn tags_there(&self, bucket: &Bucket, key: &str, version: Option<&str>) -> S3Result<Tags> {
        let version = versions::check_id(version)?;
        let read = || -> hanse_core::Result<Tags> {
            let found = versions::look_up(&self.0.store.view()?, bucket, key, version)?;
            let object = found.map(|found| Object::decode(&found.value)).transpose()?;
            Ok(object.map(|object| object.rest.meta.tags).unwrap_or_default())
        };
        read().map_err(|error| fault::of(&error))
    }

    pub(crate) fn object_tags(
        &self,
        input: &dto::GetObjectTaggingInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetObjectTaggingOutput>> {
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let bucket = decided.bucket()?;
        let found = self
            .find(&view, bucket, &input.key, input.version_id.as_deref())
            .map_err(|e| decided.missing(e))?;
        let tag_set = shown(&found.object.rest.meta.tags);
        let version_id = versions::shown(bucket, &found.object.head);
        Ok(S3Response::new(dto::GetObjectTaggingOutput { tag_set, version_id }))
    }

    async fn tag_object(
        &self,
        decided: &Decided,
        key: String,
        version: Option<String>,
        tags: Tags,
        cause: Cause,
    ) -> S3Result<()> {
        let set = |object: &mut Object| {
            object.rest.meta.tags = tags;
            Ok(())
        };
        let told = Some((decided.asker.cx.now(), self.origin(decided, cause)));
        self.change_and_tell(decided.bucket()?.clone(), key, version, set, told).await
    }

    pub(crate) async fn put_object_tags(
        &self,
        input: dto::PutObjectTaggingInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutObjectTaggingOutput>> {
        let tags = of_body(input.tagging, OBJECT_MAX)?;
        let bucket = decided.bucket()?;
        if bucket.policy.is_some() {
            // Now that the tags are known, of which the policy may ask.
            let object = (input.key.as_str(), input.version_id.as_deref());
            self.may(&decided.asker, bucket, "PutObjectTagging", Some(object), Some(&tags))?;
        }
        self.tag_object(&decided, input.key, input.version_id, tags, Cause::PutTagging).await?;
        Ok(S3Response::new(dto::PutObjectTaggingOutput::default()))
    }

    pub(crate) async fn delete_object_tags(
        &self,
        input: dto::DeleteObjectTaggingInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteObjectTaggingOutput>> {
        self.tag_object(&decided, input.key, input.version_id, Vec::new(), Cause::DeleteTagging).await?;
        Ok(S3Response::with_status(dto::DeleteObjectTaggingOutput::default(), StatusCode::NO_CONTENT))
    }

    pub(crate) fn bucket_tags(&self, decided: &Decided) -> S3Result<S3Response<dto::GetBucketTaggingOutput>> {
        let bucket = decided.bucket()?;
        if bucket.tags.is_empty() {
            return Err(error(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"));
        }
        Ok(S3Response::new(dto::GetBucketTaggingOutput { tag_set: shown(&bucket.tags) }))
    }

    pub(crate) async fn put_bucket_tags(
        &self,
        input: dto::PutBucketTaggingInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::PutBucketTaggingOutput>> {
        let tags = of_body(input.tagging, BUCKET_MAX)?;
        self.configure(&decided, move |bucket| bucket.tags.clone_from(&tags)).await?;
        Ok(S3Response::new(dto::PutBucketTaggingOutput {}))
    }

    pub(crate) async fn delete_bucket_tags(
        &self,
        decided: Decided,
    ) -> S3Result<S3Response<dto::DeleteBucketTaggingOutput>> {
        self.configure(&decided, |bucket| bucket.tags.clear()).await?;
        Ok(S3Response::with_status(dto::DeleteBucketTaggingOutput {}, StatusCode::NO_CONTENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_a_query_with_limits() {
        let pairs = |text: &str| of_header(Some(text)).ok();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(of_header(None).unwrap(), []);
        assert_eq!(pairs("a=b&c=d%20e+f").unwrap(), [pair("a", "b"), pair("c", "d e f")]);
        assert_eq!(pairs("a").unwrap(), [pair("a", "")]);
        for wrong in ["a=1&a=2", "=x", "aws:a=b", "a=%zz", "a=%f", &format!("{}=1", "k".repeat(129))] {
            assert!(pairs(wrong).is_none(), "{wrong}");
        }
        let many = (0..11).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join("&");
        assert!(pairs(&many).is_none());
    }
}
