//! `POST /servers/{id}/action`: one key says what to do.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hanse_core::{Error, Result, Uuid};
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::parse_id;
use crate::Deps;
use crate::servers::{self, power};
use crate::verbs;

/// Actions of Nova that this release does not have.
const NOT_OFFERED: &[&str] = &[
    "addFixedIp",
    "removeFixedIp",
    "addFloatingIp",
    "removeFloatingIp",
    "changePassword",
    "confirmResize",
    "createBackup",
    "createImage",
    "evacuate",
    "forceDelete",
    "injectNetworkInfo",
    "lock",
    "migrate",
    "os-getRDPConsole",
    "os-getSPICEConsole",
    "os-getSerialConsole",
    "os-getVNCConsole",
    "os-migrateLive",
    "pause",
    "rebuild",
    "rescue",
    "resetNetwork",
    "resize",
    "restore",
    "resume",
    "revertResize",
    "shelve",
    "shelveOffload",
    "suspend",
    "trigger_crash_dump",
    "unlock",
    "unpause",
    "unrescue",
    "unshelve",
];

pub async fn act(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<Response> {
    let id = parse_id(&id)?;
    let mut actions = body.into_iter();
    let (Some((action, arguments)), None) = (actions.next(), actions.next()) else {
        return Err(Error::bad_request("The body must name one action.").into());
    };
    // Who may not see the server does not learn what it could do.
    servers::show(&deps, &call.caller, verbs::SHOW, id).await?;
    run(&deps, &call, id, &action, arguments).await.map_err(Into::into)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reboot {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    state: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Console {
    #[serde(default)]
    length: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
}

fn arguments<T: DeserializeOwned>(action: &str, value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::bad_request(format!("Invalid input for field/attribute {action}: {error}")))
}

async fn run(deps: &Deps, call: &Call, id: Uuid, action: &str, value: Value) -> Result<Response> {
    let (cx, caller) = (&call.cx, &*call.caller);
    match action {
        "os-start" => power::start(deps, cx, caller, id).await?,
        "os-stop" => power::stop(deps, cx, caller, id).await?,
        "reboot" => {
            let reboot: Reboot = arguments(action, value)?;
            let hard = match reboot.kind.to_ascii_uppercase().as_str() {
                "HARD" => true,
                "SOFT" => false,
                _ => return Err(Error::bad_request("Argument 'type' for reboot must be SOFT or HARD")),
            };
            power::reboot(deps, cx, caller, id, hard).await?;
        }
        "os-resetState" => {
            let reset: Reset = arguments(action, value)?;
            let active = match reset.state.as_str() {
                "active" => true,
                "error" => false,
                _ => {
                    return Err(Error::bad_request(
                        "Invalid input for field/attribute state: use active or error",
                    ));
                }
            };
            servers::reset_state(deps, cx, caller, id, active).await?;
        }
        "os-getConsoleOutput" => {
            let console: Console = arguments(action, value)?;
            let lines = lines(console.length)?;
            let output = servers::console(deps, cx, caller, id, lines).await?;
            return Ok(Json(json!({ "output": output })).into_response());
        }
        "addSecurityGroup" => {
            let group: Group = arguments(action, value)?;
            servers::set_security_group(deps, cx, caller, id, &group.name, true).await?;
        }
        "removeSecurityGroup" => {
            let group: Group = arguments(action, value)?;
            servers::set_security_group(deps, cx, caller, id, &group.name, false).await?;
        }
        known if NOT_OFFERED.contains(&known) => {
            return Err(Error::not_implemented(format!("The action {known} is not offered by this cloud.")));
        }
        other => return Err(Error::bad_request(format!("There is no such action: {other}"))),
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

/// How many lines; clients send numbers, text, `null` and -1 for all.
fn lines(length: Option<Value>) -> Result<Option<usize>> {
    let number = match &length {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse::<i64>().ok(),
        Some(value) => value.as_i64(),
    };
    match number {
        Some(-1) => Ok(None),
        Some(number) if number >= 0 => Ok(usize::try_from(number).ok()),
        _ => Err(Error::bad_request("Invalid input for field/attribute length: a number of lines expected")),
    }
}
