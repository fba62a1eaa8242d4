//! A cloud without a network service, or without volumes, is a real one: its servers have none.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, Uuid};
use hanse_policy::Caller;
use hanse_work::Turn;

use super::{
    Networks, NicRequest, PlannedNic, Plugged, PortOwner, ResolvedNic, ServerPort, VolumeUse, Volumes,
};

/// There is no network service.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNetworks;

#[async_trait]
impl Networks for NoNetworks {
    async fn validate(
        &self,
        _: &Cx,
        _: &Caller,
        requests: &[NicRequest],
        security_groups: &[String],
    ) -> Result<Vec<ResolvedNic>> {
        if !requests.is_empty() {
            return Err(Error::bad_request(
                "This cloud has no network service; create the server without networks.",
            ));
        }
        if security_groups.iter().any(|group| group != "default") {
            return Err(Error::bad_request(
                "This cloud has no network service, so it has no security groups.",
            ));
        }
        Ok(Vec::new())
    }

    async fn ensure_ports(&self, _: &Turn, _: &PortOwner, _: &[PlannedNic]) -> Result<Plugged> {
        let network_data = r#"{"links":[],"networks":[],"services":[]}"#.to_owned();
        Ok(Plugged { nics: Vec::new(), network_data })
    }

    async fn release_ports(&self, _: &Turn, _: Uuid, _: &[PlannedNic]) -> Result<()> {
        Ok(())
    }

    async fn ports_of(&self, _: &Cx, _: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<ServerPort>>> {
        Ok(BTreeMap::new())
    }

    async fn servers_at(&self, _: &Cx, _: Option<&str>, _: &str) -> Result<Vec<Uuid>> {
        Ok(Vec::new())
    }

    async fn set_security_group(&self, _: &Cx, _: &Caller, _: Uuid, group: &str, _: bool) -> Result<()> {
        Err(Error::not_found("Security group", group))
    }
}

/// There is no volume service.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVolumes;

#[async_trait]
impl Volumes for NoVolumes {
    async fn validate(&self, _: &Cx, _: &Caller, volume_id: Uuid) -> Result<()> {
        Err(Error::not_found("Volume", volume_id))
    }

    async fn reserve(&self, _: &Cx, _: &Caller, wanted: &VolumeUse) -> Result<()> {
        Err(Error::not_found("Volume", wanted.volume_id))
    }

    async fn ensure_reserved(&self, _: &Turn, wanted: &VolumeUse) -> Result<()> {
        Err(Error::not_found("Volume", wanted.volume_id))
    }

    async fn ensure_attached(&self, _: &Turn, wanted: &VolumeUse) -> Result<()> {
        Err(Error::not_found("Volume", wanted.volume_id))
    }

    async fn release(&self, _: &Cx, _: Uuid, _: Uuid) -> Result<()> {
        Ok(())
    }
}
