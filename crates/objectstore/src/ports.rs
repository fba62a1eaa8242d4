//! What object storage needs of its neighbours.

use async_trait::async_trait;
use hanse_core::{Cx, Result, Secret};
use hanse_policy::Caller;

/// An access key, and what its user may do at this moment in the project that it is for.
pub struct Key {
    pub secret: Secret<String>,
    pub caller: Caller,
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
