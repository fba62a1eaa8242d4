//! Where things lie in the log store.
//!
//! | key | record |
//! | --- | --- |
//! | `b/<bucket>` | a bucket |
//! | `w/<project>/<bucket>` | that the project has it |
//! | `o/<bucket id>/<object>` | an object, with its payloads |
//! | `v/<bucket id>/<object>\0<version>` | a version that is not the current one |
//! | `u/<bucket id>/<object>\0<upload>` | an upload in parts |
//! | `p/<upload>/<part>` | a part, with its payload |
//! | `q/<project>` | what the project uses |
//! | `n/<bucket id>` | what the bucket uses |
//! | `m/<bucket id>` | the number of the last event of the bucket |
//! | `e/<webhook>/<bucket id><number>` | an event that waits for a webhook; the number has 16 hexadecimal digits |
//! | `a/<project>` | what Swift keeps of the project's account |
//! | `d/<end>/<bucket id>/<object>` | that an object ends by itself, and the name of its bucket |
//! | `k/<project>` | the key that the project's data keys are wrapped under, sealed |
//! | `c/<project>/<key>` | a key that the project manages, sealed |
//! | `l/<project>/alias/<name>` | a name of such a key |
//!
//! A container of Swift whose name can be no bucket's is the bucket `<project>/<container>`: no name that S3 takes has a slash. The
//! project has it under the container's name alone, so that an account is listed in one go.
//!
//! Ids of buckets, uploads and versions are 32 hexadecimal digits. A bucket made anew has another id, so that it shares nothing
//! with the one before it.

/// Digits of an id.
pub const ID: usize = 32;

pub fn bucket(name: &str) -> Vec<u8> {
    format!("b/{name}").into_bytes()
}

pub fn of_project(project: &str) -> Vec<u8> {
    format!("w/{project}/").into_bytes()
}

pub fn owned(project: &str, bucket: &str) -> Vec<u8> {
    let own = bucket.strip_prefix(project).and_then(|rest| rest.strip_prefix('/'));
    format!("w/{project}/{}", own.unwrap_or(bucket)).into_bytes()
}

pub fn objects(bucket_id: &str) -> Vec<u8> {
    format!("o/{bucket_id}/").into_bytes()
}

pub fn object(bucket_id: &str, key: &str) -> Vec<u8> {
    format!("o/{bucket_id}/{key}").into_bytes()
}

pub fn all_versions(bucket_id: &str) -> Vec<u8> {
    format!("v/{bucket_id}/").into_bytes()
}

/// What the keys of all versions of an object begin with.
pub fn versions(bucket_id: &str, key: &str) -> Vec<u8> {
    format!("v/{bucket_id}/{key}\0").into_bytes()
}

pub fn version(bucket_id: &str, key: &str, id: &str) -> Vec<u8> {
    format!("v/{bucket_id}/{key}\0{id}").into_bytes()
}

pub fn uploads(bucket_id: &str) -> Vec<u8> {
    format!("u/{bucket_id}/").into_bytes()
}

pub fn upload(bucket_id: &str, key: &str, upload: &str) -> Vec<u8> {
    format!("u/{bucket_id}/{key}\0{upload}").into_bytes()
}

pub fn parts(upload: &str) -> Vec<u8> {
    format!("p/{upload}/").into_bytes()
}

pub fn part(upload: &str, number: i32) -> Vec<u8> {
    format!("p/{upload}/{number:05}").into_bytes()
}

pub fn usage(project: &str) -> Vec<u8> {
    format!("q/{project}").into_bytes()
}

pub fn bucket_usage(bucket_id: &str) -> Vec<u8> {
    format!("n/{bucket_id}").into_bytes()
}

pub fn queue(bucket_id: &str) -> Vec<u8> {
    format!("m/{bucket_id}").into_bytes()
}

/// What the keys of all events for a webhook begin with.
pub fn events_of(webhook: &str) -> Vec<u8> {
    format!("e/{webhook}/").into_bytes()
}

/// Those of a bucket, the oldest first.
pub fn events(webhook: &str, bucket_id: &str) -> Vec<u8> {
    format!("e/{webhook}/{bucket_id}").into_bytes()
}

pub fn event(webhook: &str, bucket_id: &str, number: u64) -> Vec<u8> {
    format!("e/{webhook}/{bucket_id}{number:016x}").into_bytes()
}

/// The number at the end of an event's key.
pub fn number_of_event(key: &[u8]) -> Option<u64> {
    let (_, digits) = key.split_at_checked(key.len().checked_sub(16)?)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

pub fn account(project: &str) -> Vec<u8> {
    format!("a/{project}").into_bytes()
}

/// What the keys of all that ends by itself begin with.
pub const ENDS: &[u8] = b"d/";

/// In the order of their ends, which are seconds since 1970.
pub fn end(at: i64, bucket_id: &str, key: &str) -> Vec<u8> {
    format!("d/{:016x}/{bucket_id}/{key}", at.max(0)).into_bytes()
}

pub fn project_key(project: &str) -> Vec<u8> {
    format!("k/{project}").into_bytes()
}

pub fn kms_keys_of_all() -> Vec<u8> {
    b"c/".to_vec()
}

pub fn project_of_kms_key(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_prefix("c/")?.split('/').next()
}

pub fn kms_keys(project: &str) -> Vec<u8> {
    format!("c/{project}/").into_bytes()
}

pub fn kms_key(project: &str, id: &str) -> Vec<u8> {
    format!("c/{project}/{id}").into_bytes()
}

pub fn kms_aliases(project: &str) -> Vec<u8> {
    format!("l/{project}/").into_bytes()
}

pub fn kms_alias(project: &str, name: &str) -> Vec<u8> {
    format!("l/{project}/{name}").into_bytes()
}

/// The object and the id of a key of an upload or a version, without what comes before them.
pub fn split_id(key: &[u8]) -> Option<(&str, &str)> {
    let (object, id) = key.split_at_checked(key.len().checked_sub(ID)?)?;
    let object = object.strip_suffix(b"\0")?;
    Some((std::str::from_utf8(object).ok()?, std::str::from_utf8(id).ok()?))
}
