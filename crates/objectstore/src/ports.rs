//! What object storage needs of its neighbours.

use std::sync::Arc;

use async_trait::async_trait;
use hanse_core::{Cx, Result, Secret};
use hanse_policy::Caller;

/// An access key, and what its user may do at this moment in the project that it is for.
pub struct Key {
    pub secret: Secret<String>,
    pub caller: Arc<Caller>,
}

/// Who has which access key: identity's EC2 credentials.
#[async_trait]
pub trait Keys: Send + Sync {
    /// `None` if there is no such key, or if it is good for nothing now. Asked for each request.
    ///
    /// # Errors
    /// 503 if that cannot be told now.
    async fn find(&self, cx: &Cx, access: &str) -> Result<Option<Key>>;
}

/// Whose a token is: identity's.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// # Errors
    /// 401 if the token is good for nothing (any more); 503 if that cannot be told now.
    async fn authenticate(&self, cx: &Cx, token: &str) -> Result<Arc<Caller>>;
}

/// What a project may have; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub buckets: Option<u64>,
    /// Versions and delete markers are objects, too.
    pub objects: Option<u64>,
    /// Of objects and of parts of uploads, before encryption.
    pub bytes: Option<u64>,
}

impl Quota {
    /// What is within both.
    #[must_use]
    pub fn and(self, other: Quota) -> Quota {
        let less = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Quota {
            buckets: less(self.buckets, other.buckets),
            objects: less(self.objects, other.objects),
            bytes: less(self.bytes, other.bytes),
        }
    }
}

/// A project of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: String,
    pub name: String,
    /// Neither it nor anything above it is disabled.
    pub enabled: bool,
}

/// Which projects there are: identity's.
#[async_trait]
pub trait Projects: Send + Sync {
    /// # Errors
    /// 503 if that cannot be told now.
    async fn all(&self, cx: &Cx) -> Result<Vec<Project>>;
}

/// What projects may have: identity's limits.
#[async_trait]
pub trait Limits: Send + Sync {
    /// # Errors
    /// If they cannot be read.
    async fn of(&self, cx: &Cx, project_id: &str) -> Result<Quota>;
}
