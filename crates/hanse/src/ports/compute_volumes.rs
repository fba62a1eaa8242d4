//! What compute asks of volumes.

use async_trait::async_trait;
use hanse_compute::ports::{VolumeUse, Volumes};
use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Caller;
use hanse_volume::{Use, Volume};
use hanse_work::Turn;

pub struct VolumeService(pub Volume);

#[async_trait]
impl Volumes for VolumeService {
    async fn validate(&self, _: &Cx, caller: &Caller, volume_id: Uuid) -> Result<()> {
        self.0.validate(caller, volume_id).await.map(drop)
    }

    async fn reserve(&self, cx: &Cx, caller: &Caller, wanted: &VolumeUse) -> Result<()> {
        self.0.reserve(cx, caller, &as_known(wanted)).await.map(drop)
    }

    async fn ensure_reserved(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()> {
        self.0.ensure_reserved(&turn.cx, &as_known(wanted)).await
    }

    async fn ensure_attached(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()> {
        self.0.ensure_attached(&turn.cx, &as_known(wanted)).await
    }

    async fn release(&self, cx: &Cx, volume_id: Uuid, attachment_id: Uuid) -> Result<()> {
        self.0.release(cx, volume_id, attachment_id).await
    }
}

fn as_known(wanted: &VolumeUse) -> Use {
    Use {
        id: wanted.attachment_id,
        volume_id: wanted.volume_id,
        server_id: wanted.server_id,
        project_id: wanted.project_id.clone(),
        node: wanted.node.clone(),
        device: wanted.device.clone(),
    }
}
