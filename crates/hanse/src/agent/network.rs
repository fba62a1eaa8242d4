//! The machine's virtual network: applied as a whole, whenever something of it changed.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_core::Uuid;
use hanse_node::documents::{Document, Kind, Spec};
use hanse_node::reports::{Report, State};
use hanse_sdn::{Applied, Model};

use super::Machine;

impl Machine {
    pub(super) async fn watch_network(self) {
        let mut failures = 0_u32;
        loop {
            self.0.network_changed.notified().await;
            let documents: BTreeMap<(Kind, Uuid), Document> = self.documents().clone();
            if documents.keys().all(|key| matches!(key.0, Kind::Guest | Kind::Disk)) {
                continue;
            }
            let model = model(&documents);
            match self.0.drivers.network.apply(&model).await {
                Ok(applied) => {
                    failures = 0;
                    self.report_network(&documents, &applied);
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "cannot apply the network");
                    self.network_waits(&documents, &error.detail());
                    tokio::time::sleep(Duration::from_millis(250 << failures.min(6))).await;
                    self.0.network_changed.notify_one();
                }
            }
        }
    }

    fn report_network(&self, documents: &BTreeMap<(Kind, Uuid), Document>, applied: &Applied) {
        for ((kind, id), document) in network_only(documents) {
            let state = match &document.spec {
                Spec::Absent { .. } => State::Gone,
                _ => applied.states.get(&(*kind, *id)).cloned().unwrap_or(State::Ready),
            };
            self.report(Report { kind: *kind, id: *id, revision: document.revision, state });
        }
    }

    /// Nothing that was ready stops being so; what is new has to wait.
    fn network_waits(&self, documents: &BTreeMap<(Kind, Uuid), Document>, reason: &str) {
        for ((kind, id), document) in network_only(documents) {
            let known = self.0.reports.get(*kind, *id);
            if known.is_none_or(|report| report.revision != document.revision) {
                let state = State::Pending { reason: reason.to_owned() };
                self.report(Report { kind: *kind, id: *id, revision: document.revision, state });
            }
        }
    }
}

fn network_only(
    documents: &BTreeMap<(Kind, Uuid), Document>,
) -> impl Iterator<Item = (&(Kind, Uuid), &Document)> {
    documents.iter().filter(|(key, _)| !matches!(key.0, Kind::Guest | Kind::Disk))
}

fn model(documents: &BTreeMap<(Kind, Uuid), Document>) -> Model {
    let mut model = Model::default();
    for ((_, id), document) in documents {
        match document.spec.clone() {
            Spec::Switch(switch) => _ = model.switches.insert(*id, switch),
            Spec::Port(port) => _ = model.ports.insert(*id, port),
            Spec::Router(router) => _ = model.routers.insert(*id, router),
            Spec::PortGroup(group) => _ = model.port_groups.insert(*id, group),
            Spec::Guest(guest) => _ = model.guests.insert(*id, guest.identity),
            Spec::Disk(_) | Spec::Absent { .. } => {}
        }
    }
    model
}
