//! Makes servers what their users want: looks at the row, states the documents, reads the reports, moves the state.

use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Context, Error, Kind as ErrorKind, Result, Uuid};
use hanse_node::desired;
use hanse_node::documents::{Kind, Spec};
use hanse_node::reports::State as Seen;
use hanse_policy::Scope;
use hanse_work::{Outcome, Reconciler, Turn};

use super::{KIND, document};
use crate::Deps;
use crate::attachments;
use crate::db;
use crate::model::{Attachment, AttachmentState, Server, State, Wanted};
use crate::ports::Plugged;

/// Reports wake us; this is for the case that one is lost, and for deadlines.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

pub(crate) struct Servers {
    deps: Deps,
}

/// How a look at a server ends.
enum Look {
    Outcome(Outcome),
    /// It cannot succeed; the server goes into error.
    Failed(String),
}

impl From<Outcome> for Look {
    fn from(outcome: Outcome) -> Look {
        Look::Outcome(outcome)
    }
}

fn wait(reason: impl Into<String>) -> Look {
    Look::Outcome(Outcome::wait(LOOK_AGAIN, reason))
}

/// Whether a neighbour's refusal is its last word.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BadRequest
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::OverQuota
            | ErrorKind::NotImplemented
    )
}

#[async_trait]
impl Reconciler for Servers {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome> {
        let id: Uuid = id.parse().context("the id of a server")?;
        let read = db::servers::show(&mut self.deps.db.read().await?, &Scope::All, id).await?;
        // A volume's report wakes us with the volume's id: it is no server.
        let Some(server) = read else { return Ok(Outcome::Done) };
        let look = match (server.state, server.node.as_deref()) {
            (State::Deleting, node) => self.delete(turn, &server, node).await?,
            (State::Error, _) => self.rest(turn, &server).await?,
            (_, None) => Look::Failed(super::create::NO_HOST.to_owned()),
            (State::Building, Some(node)) => self.build(turn, &server, node).await?,
            (_, Some(node)) => self.run(turn, &server, node).await?,
        };
        match look {
            Look::Failed(reason) => self.fail(turn, &server, reason).await,
            Look::Outcome(Outcome::Wait { reason, .. }) if is_overdue(turn, &server) => {
                self.fail(turn, &server, format!("It took too long: still waiting {reason}.")).await
            }
            Look::Outcome(outcome) => Ok(outcome),
        }
    }
}

fn is_overdue(turn: &Turn, server: &Server) -> bool {
    let deadline = server.state.deadline();
    deadline.is_some_and(|deadline| turn.cx.now().since(server.state_since) > deadline)
}

impl Servers {
    pub(crate) fn new(deps: Deps) -> Servers {
        Servers { deps }
    }

    /// Building: ports, then the root disk, then the guest.
    async fn build(&self, turn: &Turn, server: &Server, node: &str) -> Result<Look> {
        let plugged = match self.plug(turn, server, node).await? {
            Ok(plugged) => plugged,
            Err(reason) => return Ok(Look::Failed(reason)),
        };
        let revision = self.put(turn, node, server.id, &document::disk(server)).await?;
        turn.crash_point("compute.disk_put")?;
        match self.seen(node, Kind::Disk, server.id, revision).await? {
            Some(Seen::Ready) => {}
            Some(Seen::Failed { reason }) => return Ok(Look::Failed(reason)),
            seen => return Ok(wait(awaited("for the root disk", seen))),
        }
        self.state_guest(turn, server, node, plugged, &[]).await
    }

    /// All states between building and deleting: the guest is as the row says, and the row as the guest is.
    async fn run(&self, turn: &Turn, server: &Server, node: &str) -> Result<Look> {
        let plugged = match self.plug(turn, server, node).await? {
            Ok(plugged) => plugged,
            Err(reason) => return Ok(Look::Failed(reason)),
        };
        let volumes = self.volumes(server.id).await?;
        for volume in &volumes {
            if !self.take(turn, server, node, volume).await? {
                return Ok(Outcome::Again.into());
            }
        }
        self.state_guest(turn, server, node, plugged, &volumes).await
    }

    /// Gets hold of a volume that is on its way to the server. Answers false when the attachment has changed.
    async fn take(&self, turn: &Turn, server: &Server, node: &str, volume: &Attachment) -> Result<bool> {
        let (wanted, volumes) = (volume.of(server, node), &self.deps.volumes);
        match volume.state {
            AttachmentState::Attached | AttachmentState::Detaching => Ok(true),
            AttachmentState::Reserving => {
                match volumes.ensure_reserved(turn, &wanted).await {
                    Ok(()) => {
                        turn.crash_point("compute.volume_reserved")?;
                        // Unless whoever asked was refused before, and has given it up.
                        if !self.turn_attachment(turn, volume, AttachmentState::Attaching).await? {
                            volumes.release(&turn.cx, volume.volume_id, volume.id).await?;
                        }
                    }
                    Err(error) if is_final(&error) => {
                        tracing::info!(server = %server.id, volume = %volume.volume_id, %error, "a volume was refused");
                        self.withdraw_attachment(turn, volume).await?;
                    }
                    Err(error) => return Err(error),
                }
                Ok(false)
            }
            AttachmentState::Attaching => match volumes.ensure_attached(turn, &wanted).await {
                Ok(()) => turn.crash_point("compute.volume_ensured").map(|()| true),
                Err(error) if is_final(&error) => {
                    tracing::warn!(server = %server.id, volume = %volume.volume_id, %error, "a volume cannot be attached");
                    self.turn_attachment(turn, volume, AttachmentState::Detaching).await?;
                    Ok(false)
                }
                Err(error) => Err(error),
            },
        }
    }

    async fn plug(&self, turn: &Turn, server: &Server, node: &str) -> Result<Result<Plugged, String>> {
        let owner = document::port_owner(server, node);
        match self.deps.networks.ensure_ports(turn, &owner, &server.nics).await {
            Ok(plugged) => {
                turn.crash_point("compute.ports_ensured")?;
                Ok(Ok(plugged))
            }
            Err(error) if is_final(&error) => Ok(Err(error.message().to_owned())),
            Err(error) => Err(error),
        }
    }

    /// In error: nothing is done until somebody says so, but nobody waits for what will not come.
    async fn rest(&self, turn: &Turn, server: &Server) -> Result<Look> {
        for volume in self.volumes(server.id).await? {
            if volume.state == AttachmentState::Reserving {
                self.withdraw_attachment(turn, &volume).await?;
            }
        }
        Ok(Outcome::Done.into())
    }

    /// States what the guest shall be, and moves the server on by what is seen of it.
    async fn state_guest(
        &self,
        turn: &Turn,
        server: &Server,
        node: &str,
        plugged: Plugged,
        volumes: &[Attachment],
    ) -> Result<Look> {
        let spec = document::guest(&*self.deps.sealer, server, plugged, volumes)?;
        let revision = self.put(turn, node, server.id, &spec).await?;
        turn.crash_point("compute.guest_put")?;
        let mut next = server.clone();
        match self.seen(node, Kind::Guest, server.id, revision).await? {
            Some(Seen::Ready) => {
                next.state = match server.wanted {
                    Wanted::Running => State::Active,
                    Wanted::Stopped => State::Stopped,
                };
            }
            Some(Seen::Stopped) => {
                // It switched itself off, and stays off until somebody wants it on.
                next.state = State::Stopped;
                next.wanted = Wanted::Stopped;
            }
            Some(Seen::Failed { reason }) => return Ok(Look::Failed(reason)),
            // What is stable stays so while its node is busy with a change of its documents.
            seen if server.state.deadline().is_none() => {
                let idle = volumes.iter().all(|volume| volume.state == AttachmentState::Attached);
                return Ok(if idle { Outcome::Done.into() } else { wait(awaited("for the guest", seen)) });
            }
            seen => return Ok(wait(awaited("for the guest", seen))),
        }
        if next.state != server.state || next.wanted != server.wanted {
            next.launched_at = server.launched_at.or(Some(turn.cx.now()));
            next.state_reason = None;
            self.turn_state(turn, server, &next).await?;
            return Ok(Outcome::Again.into());
        }
        self.settle_volumes(turn, volumes).await
    }

    /// The guest has taken note of its disks: what came is attached, what went is released.
    async fn settle_volumes(&self, turn: &Turn, volumes: &[Attachment]) -> Result<Look> {
        for volume in volumes {
            match volume.state {
                AttachmentState::Attached | AttachmentState::Reserving => {}
                AttachmentState::Attaching => {
                    self.turn_attachment(turn, volume, AttachmentState::Attached).await?;
                }
                AttachmentState::Detaching => {
                    self.release(turn, volume).await?;
                }
            }
        }
        Ok(Outcome::Done.into())
    }

    /// Deleting: the guest, its root disk, its volumes, its ports, and at last the rows.
    async fn delete(&self, turn: &Turn, server: &Server, node: Option<&str>) -> Result<Look> {
        if let Some(node) = node {
            for (kind, what) in
                [(Kind::Guest, "for the guest to be gone"), (Kind::Disk, "for the root disk to be gone")]
            {
                if let Some(look) = self.withdraw(turn, node, kind, server.id, what).await? {
                    return Ok(look);
                }
            }
        }
        for volume in self.volumes(server.id).await? {
            self.release(turn, &volume).await?;
        }
        self.deps.networks.release_ports(turn, server.id, &server.nics).await?;
        turn.crash_point("compute.ports_released")?;
        let grant = turn.grant();
        turn.write(|tx| {
            Box::pin(async move {
                db::allocations::delete(tx, grant).await?;
                db::events::delete(tx, grant).await?;
                db::servers::delete(tx, grant).await
            })
        })
        .await?;
        Ok(Outcome::Done.into())
    }

    /// Takes a document back; answers what is still awaited, if something is.
    async fn withdraw(
        &self,
        turn: &Turn,
        node: &str,
        kind: Kind,
        id: Uuid,
        what: &str,
    ) -> Result<Option<Look>> {
        let (cx, documents) = (&turn.cx, &self.deps.documents);
        let revision = turn.write(|tx| Box::pin(documents.withdraw(tx, cx, node, kind, id))).await?;
        turn.crash_point("compute.withdrawn")?;
        let Some(revision) = revision else { return Ok(None) };
        match self.seen(node, kind, id, revision).await? {
            Some(Seen::Gone) => {}
            seen => return Ok(Some(wait(awaited(what, seen)))),
        }
        turn.write(|tx| Box::pin(documents.forget(tx, node, kind, id))).await?;
        turn.crash_point("compute.forgotten")?;
        Ok(None)
    }

    async fn put(&self, turn: &Turn, node: &str, id: Uuid, spec: &Spec) -> Result<i64> {
        let (cx, documents) = (&turn.cx, &self.deps.documents);
        turn.write(|tx| Box::pin(documents.put(tx, cx, node, id, spec))).await
    }

    async fn seen(&self, node: &str, kind: Kind, id: Uuid, revision: i64) -> Result<Option<Seen>> {
        desired::report(&mut self.deps.db.read().await?, node, kind, id, revision).await
    }

    async fn volumes(&self, id: Uuid) -> Result<Vec<Attachment>> {
        let mut all = db::attachments::list(&mut self.deps.db.read().await?, &[id]).await?;
        Ok(all.remove(&id).unwrap_or_default())
    }

    /// Unless a user has decided otherwise meanwhile.
    async fn turn_state(&self, turn: &Turn, from: &Server, to: &Server) -> Result<()> {
        let (cx, grant, from) = (&turn.cx, turn.grant(), from.state);
        turn.write(|tx| Box::pin(db::servers::turn(tx, cx, grant, from, to))).await.map(drop)
    }

    /// Unless it has changed meanwhile: answers whether it has not.
    async fn turn_attachment(&self, turn: &Turn, volume: &Attachment, to: AttachmentState) -> Result<bool> {
        let grant = turn.grant();
        turn.write(|tx| Box::pin(db::attachments::turn(tx, grant, volume, to))).await
    }

    async fn withdraw_attachment(&self, turn: &Turn, volume: &Attachment) -> Result<()> {
        let (grant, id) = (turn.grant(), volume.id);
        turn.write(|tx| Box::pin(attachments::withdraw(tx, grant, id))).await
    }

    async fn release(&self, turn: &Turn, volume: &Attachment) -> Result<()> {
        self.deps.volumes.release(&turn.cx, volume.volume_id, volume.id).await?;
        turn.crash_point("compute.volume_released")?;
        let (grant, id) = (turn.grant(), volume.id);
        turn.write(|tx| Box::pin(db::attachments::delete(tx, grant, id))).await
    }

    async fn fail(&self, turn: &Turn, server: &Server, reason: String) -> Result<Outcome> {
        tracing::warn!(server = %server.id, reason, "a server goes into error");
        let mut next = server.clone();
        next.state = State::Error;
        next.state_reason = Some(reason);
        let (cx, grant, from, next) = (&turn.cx, turn.grant(), server.state, &next);
        turn.write(|tx| {
            Box::pin(async move {
                if db::servers::turn(tx, cx, grant, from, next).await? {
                    db::events::failed(tx, grant).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(Outcome::Again)
    }
}

/// What is waited for, in the agent's words if it has any.
fn awaited(what: &str, seen: Option<Seen>) -> String {
    match seen {
        Some(Seen::Pending { reason } | Seen::Failed { reason }) => format!("{what}: {reason}"),
        _ => what.to_owned(),
    }
}
