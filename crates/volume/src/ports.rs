//! What volumes need of their neighbours.

use std::collections::BTreeSet;

use async_trait::async_trait;
use hanse_core::{Cx, Result, Uuid};

/// Whoever has servers.
#[async_trait]
pub trait Servers: Send + Sync {
    /// Those of these attachments that servers still want. Whoever asks for a volume has written down the attachment
    /// before, and never takes up its id again: one that is missing is missing for good.
    ///
    /// # Errors
    /// If they cannot be read.
    async fn standing(&self, cx: &Cx, attachments: &[Uuid]) -> Result<BTreeSet<Uuid>>;
}
