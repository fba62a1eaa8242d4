use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{list, resource};
use crate::Identity;
use crate::model::{Role, missing};
use crate::trusts::{self as verbs, Create, Trust};

/// Lists leave the roles out, as Keystone does.
fn view(identity: &Identity, trust: &Trust, roles: Option<&[Role]>) -> Value {
    let path = format!("OS-TRUST/trusts/{}", trust.id);
    let mut own = json!({
        "id": trust.id, "trustor_user_id": trust.trustor_user_id, "trustee_user_id": trust.trustee_user_id,
        "project_id": trust.project_id, "impersonation": trust.impersonation,
        "expires_at": trust.expires_at.map(|at| at.iso_micros()), "deleted_at": null,
        "remaining_uses": trust.remaining_uses, "redelegation_count": trust.redelegation_count,
        "redelegated_trust_id": trust.redelegated_id,
    });
    if let Some(roles) = roles {
        own["roles"] = roles.iter().map(|role| resource::view(identity, role)).collect();
        let link = identity.0.catalog.link(&format!("{path}/roles"));
        own["roles_links"] = json!({ "self": link, "next": null, "previous": null });
    }
    list::object(identity, &path, &Map::new(), own)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let new: Create = resource::inside(body, "trust")?;
    let trust = verbs::create(&identity, &call.cx, &call.caller, new).await?;
    let roles = verbs::roles(&identity, &call.cx, &call.caller, &trust.id).await?;
    Ok((StatusCode::CREATED, Json(json!({ "trust": view(&identity, &trust, Some(&roles)) }))))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<Json<Value>> {
    let trust = verbs::show(&identity, &call.cx, &call.caller, &id).await?;
    let roles = verbs::roles(&identity, &call.cx, &call.caller, &id).await?;
    Ok(Json(json!({ "trust": view(&identity, &trust, Some(&roles)) })))
}

pub(crate) async fn list(State(identity): State<Identity>, call: Call, params: Params) -> Reply<Json<Value>> {
    let (trustor, trustee) = (params.get("trustor_user_id"), params.get("trustee_user_id"));
    let found = verbs::list(&identity, &call.caller, trustor, trustee).await?;
    let rows = found.iter().map(|trust| view(&identity, trust, None)).collect();
    Ok(list::view(&identity, &params, "OS-TRUST/trusts", "trusts", rows, false))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
) -> Reply<StatusCode> {
    verbs::delete(&identity, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn list_roles(
    State(identity): State<Identity>,
    call: Call,
    Path(id): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let roles = verbs::roles(&identity, &call.cx, &call.caller, &id).await?;
    let rows = roles.iter().map(|role| resource::view(&identity, role)).collect();
    Ok(list::view(&identity, &params, &format!("OS-TRUST/trusts/{id}/roles"), "roles", rows, false))
}

pub(crate) async fn show_role(
    State(identity): State<Identity>,
    call: Call,
    Path((id, role)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let roles = verbs::roles(&identity, &call.cx, &call.caller, &id).await?;
    let found = roles.iter().find(|each| each.id == role).ok_or_else(|| missing("role", &role))?;
    Ok(Json(json!({ "role": resource::view(&identity, found) })))
}
