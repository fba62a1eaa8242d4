//! Who is in which group.

use axum::Json;
use axum::extract::{Path, State};
use hanse_web::{Call, Params, Reply};
use http::StatusCode;
use serde_json::Value;

use super::{list, resource, users};
use crate::Identity;
use crate::groups;

pub(crate) async fn list_members(
    State(identity): State<Identity>,
    call: Call,
    Path(group): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let (found, more) =
        groups::list_members(&identity, &call.cx, &call.caller, &group, &params, &page).await?;
    let rows = found.iter().map(|user| users::view(&identity, user)).collect();
    Ok(list::view(&identity, &params, &format!("groups/{group}/users"), "users", rows, more))
}

pub(crate) async fn list_of_user(
    State(identity): State<Identity>,
    call: Call,
    Path(user): Path<String>,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let (found, more) = groups::list_of_user(&identity, &call.caller, &user, &params, &page).await?;
    let row = |group| {
        let mut row = resource::view(&identity, group);
        // Only federated users are members for a time.
        row["membership_expires_at"] = Value::Null;
        row
    };
    let rows = found.iter().map(row).collect();
    Ok(list::view(&identity, &params, &format!("users/{user}/groups"), "groups", rows, more))
}

pub(crate) async fn check_member(
    State(identity): State<Identity>,
    call: Call,
    Path((group, user)): Path<(String, String)>,
) -> Reply<StatusCode> {
    groups::check_member(&identity, &call.caller, &group, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn add_member(
    State(identity): State<Identity>,
    call: Call,
    Path((group, user)): Path<(String, String)>,
) -> Reply<StatusCode> {
    groups::add_member(&identity, &call.cx, &call.caller, &group, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn remove_member(
    State(identity): State<Identity>,
    call: Call,
    Path((group, user)): Path<(String, String)>,
) -> Reply<StatusCode> {
    groups::remove_member(&identity, &call.cx, &call.caller, &group, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
