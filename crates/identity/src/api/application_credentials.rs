use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{list, resource};
use crate::Identity;
use crate::application_credentials::{self as verbs, AccessRule, Create, Ruled};
use crate::model::Role;
use crate::resource::Resource;

fn rule(identity: &Identity, rule: &AccessRule) -> Value {
    let own = json!({ "id": rule.id, "service": rule.service, "path": rule.path, "method": rule.method });
    let path = format!("users/{}/access_rules/{}", rule.user_id, rule.id);
    list::object(identity, &path, &Map::new(), own)
}

/// `roles` are all that there are in some.
fn view(identity: &Identity, roles: &[Role], (credential, rules): &Ruled) -> Value {
    let role = |id: &String| roles.iter().find(|role| role.id == *id).map(Resource::view);
    let roles: Vec<Value> = credential.roles.iter().filter_map(role).collect();
    let mut own = json!({
        "id": credential.id, "name": credential.name, "description": credential.description,
        "user_id": credential.user_id, "project_id": credential.project_id, "roles": roles,
        "expires_at": credential.expires_at.map(|at| at.iso_naive()), "unrestricted": credential.unrestricted,
        "system": null,
    });
    if credential.access_rules.is_some() {
        own["access_rules"] = rules
            .iter()
            .map(|rule| json!({ "id": rule.id, "service": rule.service, "path": rule.path, "method": rule.method }))
            .collect();
    }
    let path = format!("users/{}/application_credentials/{}", credential.user_id, credential.id);
    list::object(identity, &path, &Map::new(), own)
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<(StatusCode, Json<Value>)> {
    let new: Create = resource::inside(body, "application_credential")?;
    let made = verbs::create(&identity, &call.cx, &call.caller, &user, new).await?;
    let ruled = [(made.credential, made.rules)];
    let roles = verbs::roles(&identity, &ruled).await?;
    let mut shown = view(&identity, &roles, &ruled[0]);
    // The only time that it is told.
    shown["secret"] = json!(made.secret.expose());
    Ok((StatusCode::CREATED, Json(json!({ "application_credential": shown }))))
}

#[derive(Deserialize)]
pub(crate) struct OfUser {
    user: String,
    id: String,
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    call: Call,
    Path(OfUser { user, id }): Path<OfUser>,
) -> Reply<Json<Value>> {
    let found = [verbs::show(&identity, &call.caller, &user, &id).await?];
    let roles = verbs::roles(&identity, &found).await?;
    Ok(Json(json!({ "application_credential": view(&identity, &roles, &found[0]) })))
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let (found, more) = verbs::list(&identity, &call.caller, &user, params.get("name"), &page).await?;
    let roles = verbs::roles(&identity, &found).await?;
    let rows = found.iter().map(|each| view(&identity, &roles, each)).collect();
    let path = format!("users/{user}/application_credentials");
    Ok(list::view(&identity, &params, &path, "application_credentials", rows, more))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    call: Call,
    Path(OfUser { user, id }): Path<OfUser>,
) -> Reply<StatusCode> {
    verbs::delete(&identity, &call.cx, &call.caller, &user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn list_rules(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let found = verbs::list_rules(&identity, &call.caller, &user).await?;
    let wanted = |rule: &&AccessRule| {
        [("service", &rule.service), ("path", &rule.path), ("method", &rule.method)]
            .iter()
            .all(|(key, own)| params.get(key).is_none_or(|asked| asked == own.as_str()))
    };
    let rows = found.iter().filter(wanted).map(|each| rule(&identity, each)).collect();
    Ok(list::view(&identity, &params, &format!("users/{user}/access_rules"), "access_rules", rows, false))
}

pub(crate) async fn show_rule(
    State(identity): State<Identity>,
    call: Call,
    Path(OfUser { user, id }): Path<OfUser>,
) -> Reply<Json<Value>> {
    let found = verbs::show_rule(&identity, &call.caller, &user, &id).await?;
    Ok(Json(json!({ "access_rule": rule(&identity, &found) })))
}

pub(crate) async fn delete_rule(
    State(identity): State<Identity>,
    call: Call,
    Path(OfUser { user, id }): Path<OfUser>,
) -> Reply<StatusCode> {
    verbs::delete_rule(&identity, &call.cx, &call.caller, &user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
