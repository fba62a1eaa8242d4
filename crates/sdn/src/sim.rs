//! The engine without a kernel: the same checks and answers, no packets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hanse_core::{Result, Uuid};
use hanse_node::documents::Kind;

use crate::names::CloudNames;
use crate::plan::{self, PublicRange};
use crate::{Applied, Capability, Model, Sdn, linux};

/// Remembers the last model. Tests read it back and let single objects fail.
pub struct Sim {
    names: CloudNames,
    public: PublicRange,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    model: Model,
    failures: BTreeMap<(Kind, Uuid), String>,
}

impl Sim {
    /// # Errors
    /// 400 for a malformed cloud id, as the real engine answers.
    pub fn new(cloud: &str, public: PublicRange) -> Result<Sim> {
        Ok(Sim { names: CloudNames::new(cloud)?, public, inner: Mutex::default() })
    }

    /// What was applied last.
    pub fn model(&self) -> Model {
        self.inner().model.clone()
    }

    /// From now on this object fails with this reason; with none it is well again.
    pub fn fail(&self, kind: Kind, id: Uuid, reason: Option<&str>) {
        let mut inner = self.inner();
        match reason {
            Some(reason) => inner.failures.insert((kind, id), reason.to_owned()),
            None => inner.failures.remove(&(kind, id)),
        };
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sdn for Sim {
    async fn apply(&self, model: &Model) -> Result<Applied> {
        let mut applied = plan::compile(model, &self.names, &self.public).applied;
        let mut inner = self.inner();
        inner.model = model.clone();
        for ((kind, id), reason) in &inner.failures {
            if applied.states.contains_key(&(*kind, *id)) {
                applied.fail(*kind, *id, reason.as_str());
            }
        }
        Ok(applied)
    }

    fn namespace_path(&self) -> Option<PathBuf> {
        None
    }

    async fn teardown(&self) -> Result<()> {
        self.inner().model = Model::default();
        Ok(())
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        linux::CAPABILITIES.into()
    }
}

#[cfg(test)]
mod tests {
    use hanse_node::documents::PortGroup;
    use hanse_node::reports::State;

    use super::*;

    #[tokio::test]
    async fn an_object_fails_only_as_long_as_the_test_says() {
        let public = PublicRange {
            cidr: "172.24.4.0/24".parse().unwrap(),
            host_address: "172.24.4.1".parse().unwrap(),
        };
        let sim = Sim::new("abcdef", public).unwrap();
        let group = Uuid::from_u128(1);
        let mut model = Model::default();
        model.port_groups.insert(group, PortGroup::default());

        sim.fail(Kind::PortGroup, group, Some("out of order"));
        let applied = sim.apply(&model).await.unwrap();
        let failed = State::Failed { reason: "out of order".to_owned() };
        assert_eq!(applied.states[&(Kind::PortGroup, group)], failed);

        sim.fail(Kind::PortGroup, group, None);
        assert!(sim.apply(&model).await.unwrap().is_complete());
        assert_eq!(sim.model(), model);
        sim.teardown().await.unwrap();
        assert_eq!(sim.model(), Model::default());
    }
}
