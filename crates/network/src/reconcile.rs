//! States every object to the nodes, whole and again, whenever something of it has changed.
//!
//! Level-triggered: a step takes no notice of what was changed. It renders the document from rows and puts it, or
//! takes it back when the object is gone, and forgets it once the node says that nothing is left.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Cx, Result, Uuid};
use hanse_node::desired;
use hanse_node::documents::{Kind, Spec};
use hanse_node::reports::State;
use hanse_policy::Grant;
use hanse_store::Tx;
use hanse_work::{Outcome, Reconciler, Turn, wake};

use crate::{Network, db, render};

pub const NETWORKS: &str = "network.networks";
pub const PORTS: &str = "network.ports";
pub const ROUTERS: &str = "network.routers";
pub const SECURITY_GROUPS: &str = "network.security_groups";
pub const NODES: &str = "network.nodes";

/// A node that is gone for longer than this is looked at again without a report.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn all(network: &Network) -> Vec<Arc<dyn Reconciler>> {
    let object = |kind| -> Arc<dyn Reconciler> { Arc::new(Object { network: network.clone(), kind }) };
    vec![
        object(Kind::Switch),
        object(Kind::Port),
        object(Kind::Router),
        object(Kind::PortGroup),
        Arc::new(Nodes),
    ]
}

/// What has become of an object on all nodes together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Every node that shall have it has it, and no other does.
    Settled,
    Waiting(String),
    Failed,
}

struct Object {
    network: Network,
    kind: Kind,
}

#[async_trait]
impl Reconciler for Object {
    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Port => PORTS,
            Kind::Router => ROUTERS,
            Kind::PortGroup => SECURITY_GROUPS,
            _ => NETWORKS,
        }
    }

    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome> {
        // Ours are UUIDs; whatever else stands there names nothing.
        let Ok(id) = id.parse::<Uuid>() else { return Ok(Outcome::Done) };
        let (cx, grant) = (&turn.cx, turn.grant());
        // A database is the only thing that is touched, in one transaction: there is nothing to crash between.
        let progress = turn.write(|tx| Box::pin(self.state(tx, cx, grant, id))).await?;
        Ok(match progress {
            Progress::Settled | Progress::Failed => Outcome::Done,
            Progress::Waiting(reason) => Outcome::wait(PATIENCE, reason),
        })
    }
}

impl Object {
    async fn state(&self, tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, id: Uuid) -> Result<Progress> {
        let (spec, host) = self.render(tx, id).await?;
        let documents = &self.network.documents;
        let (mut waiting, mut failed) = (None, false);
        let nodes = desired::nodes(tx).await?;
        if nodes.is_empty() {
            // The first one to connect wakes everything.
            return Ok(Progress::Settled);
        }
        for node in nodes {
            let name = &node.name;
            let wanted = spec.as_ref().filter(|_| host.as_ref().is_none_or(|host| host == name));
            let Some(spec) = wanted else {
                if let Some(revision) = documents.withdraw(tx, cx, name, self.kind, id).await? {
                    match desired::report(tx, name, self.kind, id, revision).await? {
                        Some(State::Gone) => documents.forget(tx, name, self.kind, id).await?,
                        _ => waiting = Some(format!("until node {name} has removed it")),
                    }
                }
                continue;
            };
            let revision = documents.put(tx, cx, name, id, spec).await?;
            match desired::report(tx, name, self.kind, id, revision).await? {
                Some(State::Ready) => {}
                Some(State::Failed { .. }) => failed = true,
                _ => waiting = Some(format!("until node {name} has applied it")),
            }
        }
        let progress = match waiting {
            _ if failed => Progress::Failed,
            Some(reason) => Progress::Waiting(reason),
            None => Progress::Settled,
        };
        self.note(tx, grant, id, spec.is_some(), &progress).await?;
        Ok(progress)
    }

    /// The document, and the one node that it is for, if it is not for all.
    async fn render(&self, tx: &mut Tx<'_>, id: Uuid) -> Result<(Option<Spec>, Option<String>)> {
        Ok(match self.kind {
            Kind::Port => match render::bound_port(tx, id).await? {
                Some((host, spec)) => (Some(spec), Some(host)),
                None => (None, None),
            },
            Kind::Router => (render::router(tx, id).await?, None),
            Kind::PortGroup => (render::port_group(tx, id).await?, None),
            _ => (render::switch(tx, id).await?, None),
        })
    }

    /// Writes into the rows what the API tells of it.
    async fn note(
        &self,
        tx: &mut Tx<'_>,
        grant: &Grant,
        id: Uuid,
        stated: bool,
        progress: &Progress,
    ) -> Result<()> {
        let failed = *progress == Progress::Failed;
        match self.kind {
            // Tenants may use a network and a router at once; only a failure is worth telling.
            Kind::Switch => {
                db::networks::set_status(tx, grant, if failed { "ERROR" } else { "ACTIVE" }).await
            }
            Kind::Router => {
                db::routers::set_status(tx, grant, if failed { "ERROR" } else { "ACTIVE" }).await?;
                let floating = match progress {
                    Progress::Settled => "ACTIVE",
                    Progress::Failed => "ERROR",
                    Progress::Waiting(_) => return Ok(()),
                };
                db::floating_ips::set_status_of_router(tx, grant, floating).await
            }
            Kind::Port if stated => {
                let status = match progress {
                    Progress::Settled => "ACTIVE",
                    Progress::Failed => "ERROR",
                    Progress::Waiting(_) => "BUILD",
                };
                db::ports::set_status(tx, grant, id, status).await
            }
            Kind::Port => db::ports::set_guest_status(tx, grant, id, "DOWN").await,
            _ => Ok(()),
        }
    }
}

/// Puts everything on a node that is new. The id is the node's name.
struct Nodes;

#[async_trait]
impl Reconciler for Nodes {
    fn kind(&self) -> &'static str {
        NODES
    }

    async fn step(&self, turn: &Turn, name: &str) -> Result<Outcome> {
        let cx = &turn.cx;
        turn.write(|tx| Box::pin(greet(tx, cx, name))).await?;
        Ok(Outcome::Done)
    }
}

/// From now on each object's own reconciler keeps the node in step; here they all take a first look at it.
async fn greet(tx: &mut Tx<'_>, cx: &Cx, name: &str) -> Result<()> {
    if !db::nodes::is_new(tx, name).await? {
        return Ok(());
    }
    for (kind, ids) in [
        (NETWORKS, db::networks::all_ids(tx).await?),
        (SECURITY_GROUPS, db::security_groups::all_used_ids(tx).await?),
        (PORTS, db::ports::bound_ids(tx).await?),
        (ROUTERS, db::routers::all_ids(tx).await?),
    ] {
        for id in ids {
            wake(tx, cx, kind, &id.to_string()).await?;
        }
    }
    Ok(())
}
