use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use hanse_core::{Error, Result};
use hanse_web::{Body, Call, Failure, Reply};
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Identity;
use crate::domain_config::{self as verbs, Config, Part};

/// What the path names: a domain (unless it is about defaults) and a part of its configuration.
pub(crate) struct Named {
    domain: String,
    part: Part,
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Failure> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::internal("a path of a domain's configuration without its parts"))?;
        let get = |key: &str| params.iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned());
        let part = Part { group: get("group"), option: get("option") };
        Ok(Named { domain: get("domain").unwrap_or_default(), part })
    }
}

/// As much of the configuration as the path names, without what stands around it.
fn view(config: &Config, part: &Part) -> Json<Value> {
    let shown = match (&part.group, &part.option) {
        (Some(group), Some(option)) => {
            let value = config.get(group).and_then(|options| options.get(option));
            json!({ option.as_str(): value })
        }
        (Some(group), None) => json!({ group.as_str(): config.get(group) }),
        _ => json!(config),
    };
    Json(json!({ "config": shown }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    config: Map<String, Value>,
}

/// The body as groups of options; that of one option leaves its group out.
fn parse(body: Of, part: &Part) -> Result<Config> {
    let bad = || Error::bad_request("The configuration is an object of groups with options.");
    if let (Some(group), Some(_)) = (&part.group, &part.option) {
        return Ok(Config::from([(group.clone(), body.config)]));
    }
    body.config
        .into_iter()
        .map(|(group, options)| match options {
            Value::Object(options) => Ok((group, options)),
            _ => Err(bad()),
        })
        .collect()
}

pub(crate) async fn show(State(identity): State<Identity>, call: Call, named: Named) -> Reply<Json<Value>> {
    let config = verbs::show(&identity, &call.caller, &named.domain, &named.part).await?;
    Ok(view(&config, &named.part))
}

pub(crate) async fn show_default(call: Call, named: Named) -> Reply<Json<Value>> {
    Ok(view(&verbs::show_default(&call.caller, &named.part)?, &named.part))
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    call: Call,
    named: Named,
    Body(body): Body<Of>,
) -> Reply<(StatusCode, Json<Value>)> {
    let config = parse(body, &Part::default())?;
    let (before, config) = verbs::create(&identity, &call.cx, &call.caller, &named.domain, config).await?;
    let status = if before { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, view(&config, &Part::default())))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    call: Call,
    named: Named,
    Body(body): Body<Of>,
) -> Reply<Json<Value>> {
    let config = parse(body, &named.part)?;
    let config = verbs::update(&identity, &call.cx, &call.caller, &named.domain, &named.part, config).await?;
    Ok(view(&config, &Part::default()))
}

pub(crate) async fn delete(State(identity): State<Identity>, call: Call, named: Named) -> Reply<StatusCode> {
    verbs::delete(&identity, &call.cx, &call.caller, &named.domain, &named.part).await?;
    Ok(StatusCode::NO_CONTENT)
}
