//! `POST /volumes`

use axum::Json;
use axum::extract::State;
use hanse_core::{Error, Result};
use hanse_web::{Body, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::here::Here;
use super::view;
use crate::Volume;
use crate::model::Metadata;
use crate::volumes::{self, New, Shown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    volume: Wanted,
    /// Where volumes go is not for clients to say; hints are taken and not followed, as Cinder without a filter does.
    #[serde(rename = "OS-SCH-HNT:scheduler_hints", alias = "scheduler_hints")]
    _hints: Option<Value>,
}

/// GiB, which older clients write as text.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Gib {
    Number(u32),
    Text(String),
}

impl Gib {
    pub(crate) fn number(&self, field: &str) -> Result<u32> {
        let wrong = |text: &str| {
            Error::bad_request(format!(
                "Invalid input for field/attribute {field}: '{text}' is no whole number."
            ))
        };
        match self {
            Gib::Number(number) => Ok(*number),
            Gib::Text(text) => text.parse().map_err(|_| wrong(text)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    size: Option<Gib>,
    #[serde(alias = "display_name")]
    name: Option<String>,
    #[serde(alias = "display_description")]
    description: Option<String>,
    metadata: Option<Metadata>,
    availability_zone: Option<String>,
    volume_type: Option<String>,
    multiattach: Option<bool>,
    snapshot_id: Option<String>,
    source_volid: Option<String>,
    source_replica: Option<String>,
    #[serde(rename = "imageRef", alias = "image_id")]
    image: Option<String>,
    consistencygroup_id: Option<String>,
    backup_id: Option<String>,
}

impl Wanted {
    fn into_new(self) -> Result<New> {
        let sources = [
            ("a snapshot", self.snapshot_id.is_some()),
            ("another volume", self.source_volid.is_some() || self.source_replica.is_some()),
            ("an image", self.image.is_some()),
            ("a backup", self.backup_id.is_some()),
            ("a consistency group", self.consistencygroup_id.is_some()),
        ];
        if let Some((source, _)) = sources.iter().find(|(_, asked)| *asked) {
            return Err(Error::not_implemented(format!(
                "This cloud makes empty volumes only, none from {source} yet."
            )));
        }
        if self.multiattach == Some(true) {
            return Err(Error::not_implemented(
                "This cloud has no volumes for several servers (multiattach).",
            ));
        }
        let missing = || Error::bad_request("Invalid input received: size must be given.");
        Ok(New {
            size: self.size.ok_or_else(missing)?.number("size")?,
            name: self.name,
            description: self.description,
            metadata: self.metadata.unwrap_or_default(),
            availability_zone: self.availability_zone,
            volume_type: self.volume_type,
        })
    }
}

pub(crate) async fn create(
    State(volume): State<Volume>,
    Here(call): Here,
    Body(body): Body<Request>,
) -> Reply<(StatusCode, Json<Value>)> {
    let row = volumes::create(&volume, &call.cx, &call.caller, body.volume.into_new()?).await?;
    // Cinder answers before it has looked for room; a volume that found none is seen to be in error when it is shown.
    let shown = Shown { row, attachment: None };
    let view = view::summary(&volume, &call.caller, &shown);
    Ok((StatusCode::ACCEPTED, Json(json!({ "volume": view }))))
}
