//! Containers.

use http::{HeaderMap, StatusCode};
use s3s::S3ErrorCode;
use serde_json::json;

use super::auth::Session;
use super::listing::{self, Asked, Named};
use super::meta::DEFAULT_TYPE;
use super::reply::{Done, empty, set, timestamp};
use super::{acl, bucket_name, meta, versions, walk};
use crate::record::{self, Bucket, Head, PublicAccessBlock, Versioning};
use crate::verbs::{CREATE_BUCKET, DELETE_BUCKET, SHOW_BUCKET, UPDATE_BUCKET};
use crate::{keys, lists, quotas};

impl Session<'_> {
    pub async fn create_container(&self, name: &str) -> Done {
        let decided = self.decide(CREATE_BUCKET, None)?;
        let wish = self.wish("container")?;
        let mut bucket =
            Bucket::new(&self.call.cx, bucket_name(&self.call.account, name), self.call.account.clone());
        bucket.swift = wish.check(&bucket.swift)?;
        if let Some(is_on) = wish.versions {
            versions::set_enabled(&mut bucket, is_on)?;
        }
        // Here lists are how one shares: whoever names the public means it.
        bucket.public_access_block = PublicAccessBlock::policies();
        match self.store.make(&decided, bucket).await {
            Ok(()) => Ok(empty(StatusCode::CREATED, HeaderMap::new())),
            Err(error) if *error.code() == S3ErrorCode::BucketAlreadyOwnedByYou => {
                self.change_container(name, wish).await?;
                Ok(empty(StatusCode::ACCEPTED, HeaderMap::new()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn change_container(&self, name: &str, wish: meta::Wish) -> Done<()> {
        let (decided, bucket) = self.within(UPDATE_BUCKET, name)?;
        // A client that only makes sure that it is there changes nothing.
        let wished = wish.check(&bucket.swift)?;
        let mut turned = (*bucket).clone();
        if let Some(is_on) = wish.versions {
            versions::set_enabled(&mut turned, is_on)?;
        }
        if wished == bucket.swift && turned.versioning == bucket.versioning {
            return Ok(());
        }
        let lists = [&wished.read, &wished.write].into_iter().flatten();
        let is_public = lists.clone().any(|list| acl::is_public(list));
        let set = move |bucket: &mut Bucket| {
            if is_public && bucket.public_access_block.is_some_and(|block| block.block_public_acls) {
                return Err(crate::fault::error(
                    S3ErrorCode::AccessDenied,
                    "The bucket blocks public access: take that away by S3's DeletePublicAccessBlock first.",
                ));
            }
            wish.apply(&mut bucket.swift);
            if let Some(is_on) = wish.versions {
                versions::set_enabled(bucket, is_on)?;
            }
            if bucket.swift.archive.is_some() && !bucket.versioning.is_off() {
                return Err(crate::fault::error(
                    S3ErrorCode::InvalidBucketState,
                    "The container keeps versions itself, or did.",
                ));
            }
            Ok(())
        };
        self.store.try_configure(&decided, set).await?;
        Ok(())
    }

    pub async fn update_container(&self, name: &str) -> Done {
        self.within(UPDATE_BUCKET, name)?;
        self.change_container(name, self.wish("container")?).await?;
        Ok(empty(StatusCode::NO_CONTENT, HeaderMap::new()))
    }

    pub async fn delete_container(&self, name: &str) -> Done {
        let (decided, _) = self.within(DELETE_BUCKET, name)?;
        self.store.remove(decided).await?;
        Ok(empty(StatusCode::NO_CONTENT, HeaderMap::new()))
    }

    pub fn show_container(&self, name: &str) -> Done {
        let (_, bucket) = self.within(SHOW_BUCKET, name)?;
        let view = self.store.0.store.view()?;
        let used = quotas::used(&view, &keys::bucket_usage(&bucket.id))?;
        let mut headers = HeaderMap::new();
        set(&mut headers, "x-container-object-count", used.objects);
        set(&mut headers, "x-container-bytes-used", used.bytes);
        set(&mut headers, "x-timestamp", timestamp(bucket.created_at()));
        set(&mut headers, "accept-ranges", "bytes");
        set(&mut headers, "x-storage-policy", meta::POLICY);
        if !bucket.versioning.is_off() {
            let is_on = bucket.versioning == Versioning::Enabled;
            set(&mut headers, "x-versions-enabled", if is_on { "True" } else { "False" });
        }
        self.show("container", &bucket.swift, &mut headers)?;
        if self.call.method == http::Method::HEAD {
            set(&mut headers, "content-type", "text/plain; charset=utf-8");
            return Ok(empty(StatusCode::NO_CONTENT, headers));
        }
        let asked = Asked::of(self.call)?;
        let named = Named { kind: "container", name, line: "object" };
        // Without versions they are all in the list of what there is.
        if self.call.parameter("versions").is_some_and(|value| value != "false")
            && !bucket.versioning.is_off()
        {
            return self.list_versions(&named, &bucket, &asked, headers);
        }
        let now = self.call.cx.now();
        let found = walk::lines(&view, &keys::objects(&bucket.id), &asked, |value| {
            let (head, rest) = Head::decode(value)?;
            Ok(if head.is_gone(now) { None } else { Some((record::listed(rest)?, head)) })
        })?;
        let mut lines = Vec::new();
        for line in found {
            let (name, object) = match line {
                lists::Line::One(name, object) => (name, Some(object)),
                lists::Line::CommonPrefix(prefix) => (prefix, None),
            };
            lines.push(match object {
                None => listing::subdir(name),
                Some((listed, head)) => {
                    let mut line = vec![
                        ("name", json!(name)),
                        ("hash", json!(head.etag)),
                        ("bytes", json!(head.size)),
                        ("content_type", json!(listed.content_type.as_deref().unwrap_or(DEFAULT_TYPE))),
                        ("last_modified", json!(head.modified_at.iso_naive())),
                    ];
                    if let Some(link) = listed.link() {
                        line.push(("symlink_path", json!(link.path())));
                        line.extend(link.etag.as_ref().map(|etag| ("symlink_etag", json!(etag))));
                    }
                    line
                }
            });
        }
        Ok(listing::show(asked.format, &named, lines, headers))
    }
}
