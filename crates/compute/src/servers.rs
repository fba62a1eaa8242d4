//! The verbs on servers: each writes what is wanted and wakes the reconciler, which makes it so.

pub(crate) mod create;
mod document;
pub(crate) mod power;
pub(crate) mod reconcile;

use hanse_core::{Cx, Error, Kind, Page, Result, Uuid};
use hanse_policy::{Caller, Grant, Scope, Target, Verb};
use hanse_store::{Select, SortKey, Tx};

use crate::Deps;
use crate::db;
use crate::db::events::Event;
use crate::model::{Server, State, Wanted};
use crate::ports::Quota;
use crate::verbs;

/// The kind of the reconciler of servers.
pub const KIND: &str = "compute.servers";

/// The longest piece of a console that is handed out.
const CONSOLE_LIMIT: usize = 100 * 1024;

pub(crate) fn not_found(id: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotFound, format!("Instance {id} could not be found."))
}

pub(crate) async fn show(deps: &Deps, caller: &Caller, verb: Verb, id: Uuid) -> Result<Server> {
    let scope = caller.scope(verb)?;
    db::servers::show(&mut deps.db.read().await?, &scope, id).await?.ok_or_else(|| not_found(id))
}

/// `scope` is what the caller may see, as the API has worked it out; `filter` narrows it.
pub(crate) async fn list(
    deps: &Deps,
    scope: &Scope,
    filter: impl FnOnce(Select) -> Result<Select>,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Server>, bool)> {
    let select = filter(db::servers::visible(scope))?;
    db::servers::list(&mut deps.db.read().await?, select, keys, page).await
}

/// Reads in the caller's scope, then asks for the right to write.
pub(crate) async fn writable(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: Uuid,
) -> Result<(Server, Grant)> {
    let server = show(deps, caller, verbs::SHOW, id).await?;
    let grant = caller.authorize(cx, verb, Target::new(id).in_project(&server.project_id))?;
    Ok((server, grant))
}

/// `change` is applied to the server as the transaction finds it; the guest learns of it.
pub(crate) async fn update<C>(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: Uuid,
    change: C,
) -> Result<Server>
where
    C: Fn(&mut Server) -> Result<()> + Send + Sync,
{
    let (_, grant) = writable(deps, cx, caller, verb, id).await?;
    let (grant, change) = (&grant, &change);
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut server = current(tx, id).await?;
                change(&mut server)?;
                db::servers::update(tx, cx, grant, &server).await?;
                hanse_work::wake(tx, cx, KIND, &id.to_string()).await?;
                current(tx, id).await
            })
        })
        .await
}

pub(crate) async fn delete(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    act(deps, cx, caller, verbs::DELETE, id, "delete", |server| {
        server.state = State::Deleting;
        Ok(())
    })
    .await
}

/// The server as the transaction finds it.
pub(crate) async fn current(tx: &mut Tx<'_>, id: Uuid) -> Result<Server> {
    db::servers::show(tx, &Scope::All, id).await?.ok_or_else(|| not_found(id))
}

/// Changes the state of a server, notes what was done, and wakes the reconciler.
async fn act<C>(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    verb: Verb,
    id: Uuid,
    action: &str,
    change: C,
) -> Result<()>
where
    C: Fn(&mut Server) -> Result<()> + Send + Sync,
{
    let (_, grant) = writable(deps, cx, caller, verb, id).await?;
    let (grant, change) = (&grant, &change);
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut server = current(tx, id).await?;
                let from = server.state;
                // What is being deleted stays so; deleting it once more is fine.
                if from == State::Deleting {
                    let deletes = verb == verbs::DELETE;
                    return if deletes { Ok(()) } else { Err(conflict(&server, action)) };
                }
                change(&mut server)?;
                db::servers::turn(tx, cx, grant, from, &server).await?;
                db::events::insert(tx, cx, grant, action, &caller.user_id, &server.project_id).await?;
                hanse_work::wake(tx, cx, KIND, &id.to_string()).await
            })
        })
        .await
}

/// The action does not fit the state that the server is in.
fn conflict(server: &Server, action: &str) -> Error {
    let (id, state) = (server.id, server.state);
    Error::conflict(match state.task_state() {
        Some(task) => format!("Cannot '{action}' instance {id} while it is in task_state {task}"),
        None => format!("Cannot '{action}' instance {id} while it is in vm_state {}", state.vm_state()),
    })
}

/// Sets the state by hand, after an operator has looked.
pub(crate) async fn reset_state(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid, active: bool) -> Result<()> {
    act(deps, cx, caller, verbs::RESET_STATE, id, "resetState", |server| {
        server.state_reason = None;
        server.state = State::Error;
        if active {
            if server.launched_at.is_none() {
                return Err(Error::conflict("The server was never built; delete it and create another one."));
            }
            server.state = State::Active;
            server.wanted = Wanted::Running;
        }
        Ok(())
    })
    .await
}

/// The last lines of the console, or all that is kept of it.
pub(crate) async fn console(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    lines: Option<usize>,
) -> Result<String> {
    let (server, _) = writable(deps, cx, caller, verbs::CONSOLE, id).await?;
    let Some(node) = server.node.as_deref().filter(|_| server.state != State::Building) else {
        return Err(Error::conflict(format!("Instance {id} is not ready")));
    };
    let bytes = deps.consoles.console(node, id, CONSOLE_LIMIT).await?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match lines {
        None => text.into_owned(),
        Some(count) => {
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            all[all.len().saturating_sub(count)..].concat()
        }
    })
}

pub(crate) async fn set_security_group(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    group: &str,
    member: bool,
) -> Result<()> {
    let verb = if member { verbs::GROUPS_ADD } else { verbs::GROUPS_REMOVE };
    let (server, _) = writable(deps, cx, caller, verb, id).await?;
    if server.state == State::Deleting {
        return Err(conflict(&server, verb.name));
    }
    deps.networks.set_security_group(cx, caller, id, group, member).await
}

/// What users did to a server, the latest first.
pub(crate) async fn events(deps: &Deps, caller: &Caller, id: Uuid) -> Result<Vec<Event>> {
    show(deps, caller, verbs::ACTIONS_LIST, id).await?;
    db::events::list(&mut deps.db.read().await?, id).await
}

/// What a project may use, and what it uses.
pub(crate) async fn quota(deps: &Deps, cx: &Cx, project_id: &str) -> Result<(Quota, Quota)> {
    let limit = deps.limits.show(cx, project_id).await?;
    let used = db::servers::used(&mut deps.db.read().await?, project_id).await?;
    Ok((limit, used))
}
