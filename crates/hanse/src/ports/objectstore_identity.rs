//! What object storage asks of identity.

use std::sync::Arc;

use async_trait::async_trait;
use hanse_core::{Cx, Result};
use hanse_identity::Identity;
use hanse_objectstore::ports::{Key, Keys, Limits, Project, Projects, Quota, Tokens};
use hanse_policy::Caller;

/// Access keys are EC2 credentials, limits are the unified limits of the service `s3`, tokens are those of all services.
pub struct IdentityService(pub Identity);

#[async_trait]
impl Keys for IdentityService {
    async fn find(&self, cx: &Cx, access: &str) -> Result<Option<Key>> {
        let found = self.0.access_key(cx, access).await?;
        Ok(found.map(|key| Key { secret: key.secret.clone(), caller: key.caller.clone() }))
    }
}

#[async_trait]
impl Limits for IdentityService {
    async fn of(&self, _: &Cx, project_id: &str) -> Result<Quota> {
        let limits = self.0.limits("s3", project_id).await?;
        // -1 is without limit.
        let limit = |name: &str| limits.get(name).and_then(|limit| u64::try_from(*limit).ok());
        Ok(Quota { buckets: limit("buckets"), objects: limit("objects"), bytes: limit("bytes") })
    }
}

#[async_trait]
impl Tokens for IdentityService {
    async fn authenticate(&self, cx: &Cx, token: &str) -> Result<Arc<Caller>> {
        self.0.authenticator().authenticate(cx, token).await
    }
}

#[async_trait]
impl Projects for IdentityService {
    async fn all(&self, cx: &Cx) -> Result<Vec<Project>> {
        let all = self.0.projects(cx).await?;
        Ok(all
            .into_iter()
            .map(|(known, enabled)| Project { id: known.id, name: known.name, enabled })
            .collect())
    }
}
