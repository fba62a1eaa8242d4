//! What object storage asks of identity.

use async_trait::async_trait;
use hanse_core::{Cx, Result};
use hanse_identity::Identity;
use hanse_objectstore::ports::{Key, Keys};

/// Access keys are EC2 credentials.
pub struct AccessKeys(pub Identity);

#[async_trait]
impl Keys for AccessKeys {
    async fn find(&self, cx: &Cx, access: &str) -> Result<Option<Key>> {
        let found = self.0.access_key(cx, access).await?;
        Ok(found.map(|key| Key { secret: key.secret, caller: key.caller }))
    }
}
