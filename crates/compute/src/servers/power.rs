//! Switching servers on and off.

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::Caller;

use super::{act, conflict};
use crate::Deps;
use crate::model::{State, Wanted};
use crate::verbs;

pub(crate) async fn start(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    act(deps, cx, caller, verbs::START, id, "start", |server| match server.state {
        State::Stopped => {
            server.state = State::Starting;
            server.wanted = Wanted::Running;
            Ok(())
        }
        _ => Err(conflict(server, "start")),
    })
    .await
}

pub(crate) async fn stop(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid) -> Result<()> {
    act(deps, cx, caller, verbs::STOP, id, "stop", |server| match server.state {
        State::Error if server.launched_at.is_none() => Err(conflict(server, "stop")),
        State::Active | State::Error => {
            server.state = State::Stopping;
            server.state_reason = None;
            server.wanted = Wanted::Stopped;
            Ok(())
        }
        _ => Err(conflict(server, "stop")),
    })
    .await
}

/// A hard reboot also brings back what is off or in error.
pub(crate) async fn reboot(deps: &Deps, cx: &Cx, caller: &Caller, id: Uuid, hard: bool) -> Result<()> {
    act(deps, cx, caller, verbs::REBOOT, id, "reboot", |server| {
        match (server.state, hard) {
            (State::Active, false) => {
                server.state = State::Rebooting;
                server.reboots.soft += 1;
            }
            (State::Error, true) if server.launched_at.is_none() => return Err(conflict(server, "reboot")),
            (State::Active | State::Stopped | State::Error, true) => {
                server.state = State::HardRebooting;
                server.state_reason = None;
                server.reboots.hard += 1;
            }
            _ => return Err(conflict(server, "reboot")),
        }
        server.wanted = Wanted::Running;
        Ok(())
    })
    .await
}
