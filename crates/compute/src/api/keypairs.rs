use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Microversion};
use hanse_web::{Body, Call, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Deps;
use crate::keypairs;
use crate::model::Keypair;

/// 2.2 shows the type of a key, and answers 201 and 204.
const TYPES: Microversion = Microversion::new(2, 2);

fn view(keypair: &Keypair, version: Microversion) -> Value {
    let mut view = json!({
        "name": keypair.name,
        "public_key": keypair.public_key,
        "fingerprint": keypair.fingerprint,
    });
    if version >= TYPES {
        view["type"] = "ssh".into();
    }
    view
}

pub async fn list(State(deps): State<Deps>, call: Call) -> Reply<Json<Value>> {
    let all = keypairs::list(&deps, &call.caller).await?;
    let views: Vec<Value> = all.iter().map(|one| json!({"keypair": view(one, call.version)})).collect();
    Ok(Json(json!({ "keypairs": views })))
}

pub async fn show(State(deps): State<Deps>, call: Call, Path(name): Path<String>) -> Reply<Json<Value>> {
    let keypair = keypairs::show(&deps, &call.caller, &name).await?;
    let mut view = view(&keypair, call.version);
    view["user_id"] = keypair.user_id.into();
    view["created_at"] = keypair.created_at.iso_naive().into();
    view["updated_at"] = Value::Null;
    view["deleted_at"] = Value::Null;
    view["deleted"] = false.into();
    // Clients only look whether it is a number.
    view["id"] = keypair.created_at.0.into();
    Ok(Json(json!({ "keypair": view })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    keypair: New,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    #[serde(default)]
    public_key: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

pub async fn create(
    State(deps): State<Deps>,
    call: Call,
    Body(body): Body<Create>,
) -> Reply<(StatusCode, Json<Value>)> {
    let new = body.keypair;
    match new.kind.as_deref() {
        Some(_) if call.version < TYPES => {
            return Err(Error::bad_request("keypair.type needs the microversion 2.2.").into());
        }
        None | Some("ssh") => {}
        Some(kind) => {
            return Err(Error::bad_request(format!(
                "Key pairs of the type {kind} are not offered; use ssh."
            ))
            .into());
        }
    }
    let public = new.public_key.as_deref();
    let (keypair, private) = keypairs::create(&deps, &call.cx, &call.caller, &new.name, public).await?;
    let mut view = view(&keypair, call.version);
    view["user_id"] = keypair.user_id.into();
    if let Some(private) = private {
        view["private_key"] = private.expose().clone().into();
    }
    let status = if call.version >= TYPES { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "keypair": view }))))
}

pub async fn delete(State(deps): State<Deps>, call: Call, Path(name): Path<String>) -> Reply<StatusCode> {
    keypairs::delete(&deps, &call.cx, &call.caller, &name).await?;
    Ok(if call.version >= TYPES { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED })
}
