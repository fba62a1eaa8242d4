//! `POST /volumes/{id}/action`

use axum::extract::{Path, State};
use hanse_core::Error;
use hanse_web::{Body, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::create::Gib;
use super::here::{Here, One};
use crate::Volume;
use crate::model::parse_id;
use crate::volumes::{self, actions};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extend {
    new_size: Gib,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetStatus {
    status: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBootable {
    bootable: bool,
}

/// What Cinder can do to a volume and we cannot (yet).
const MISSING: &[&str] = &[
    "os-attach",
    "os-begin_detaching",
    "os-detach",
    "os-extend_volume_completion",
    "os-force_detach",
    "os-initialize_connection",
    "os-migrate_volume",
    "os-migrate_volume_completion",
    "os-reimage",
    "os-reserve",
    "os-retype",
    "os-roll_detaching",
    "os-set_image_metadata",
    "os-show_image_metadata",
    "os-terminate_connection",
    "os-unmanage",
    "os-unreserve",
    "os-unset_image_metadata",
    "os-update_readonly_flag",
    "os-volume_upload_image",
    "revert",
];

fn parse<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, Error> {
    serde_json::from_value(value)
        .map_err(|error| Error::bad_request(format!("Invalid input for field/attribute {name}: {error}")))
}

pub(crate) async fn act(
    State(volume): State<Volume>,
    Here(call): Here,
    Path(one): Path<One>,
    Body(body): Body<Map<String, Value>>,
) -> Reply<StatusCode> {
    let (id, cx, caller) = (parse_id(&one.id)?, &call.cx, &call.caller);
    let mut actions = body.into_iter();
    let (Some((name, value)), None) = (actions.next(), actions.next()) else {
        return Err(Error::bad_request("The body must name one action.").into());
    };
    match name.as_str() {
        "os-extend" => {
            let size = parse::<Extend>(&name, value)?.new_size.number("new_size")?;
            actions::extend(&volume, cx, caller, id, size).await?;
        }
        "os-reset_status" => {
            let status = parse::<ResetStatus>(&name, value)?.status;
            actions::reset_status(&volume, cx, caller, id, &status).await?;
        }
        "os-force_delete" => actions::force_delete(&volume, cx, caller, id).await?,
        "os-set_bootable" => {
            let bootable = parse::<SetBootable>(&name, value)?.bootable;
            actions::set_bootable(&volume, cx, caller, id, bootable).await?;
            return Ok(StatusCode::OK);
        }
        known if MISSING.contains(&known) => {
            // Whoever may not see the volume learns nothing about it here either.
            volumes::show(&volume, caller, id).await?;
            return Err(Error::not_implemented(format!("This cloud cannot do {known} yet.")).into());
        }
        other => return Err(Error::bad_request(format!("There is no such action: {other}")).into()),
    }
    Ok(StatusCode::ACCEPTED)
}
