//! What the request bodies of all resources have in common.

use hanse_core::Result;
use hanse_policy::Caller;
use serde::{Deserialize, Deserializer};

use crate::error::invalid;

/// The most objects of one bulk request.
const MOST: usize = 100;

/// Tells `null` from a field that is not there.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A number that clients also write as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Number(i64),
    Text(String),
}

impl Number {
    pub fn read(&self, field: &str) -> Result<i64> {
        match self {
            Number::Number(number) => Ok(*number),
            Number::Text(text) => text.parse().map_err(|_| {
                let text: String = text.chars().take(64).collect();
                invalid(format!("Invalid input for {field}. Reason: '{text}' is not an integer."))
            }),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Number::Number(number) => number.to_string(),
            Number::Text(text) => text.clone(),
        }
    }
}

/// `{"network": {…}}` or `{"networks": […]}`: the objects, and whether they came as a list.
///
/// # Errors
/// 400 for neither, both, an empty list or too long a list.
pub fn single_or_bulk<T>(name: &str, single: Option<T>, bulk: Option<Vec<T>>) -> Result<(Vec<T>, bool)> {
    match (single, bulk) {
        (Some(single), None) => Ok((vec![single], false)),
        (None, Some(bulk)) if bulk.is_empty() => Err(invalid("Resources required")),
        (None, Some(bulk)) if bulk.len() > MOST => {
            Err(invalid(format!("A bulk request makes at most {MOST} objects.")))
        }
        (None, Some(bulk)) => Ok((bulk, true)),
        _ => Err(invalid(format!("Unable to find '{name}' in request body"))),
    }
}

/// Whom an object shall belong to: the project that is named, or the caller's.
///
/// # Errors
/// 400 if there is none, or two.
pub fn project(caller: &Caller, project_id: Option<String>, tenant_id: Option<String>) -> Result<String> {
    let named = match (project_id, tenant_id) {
        (Some(a), Some(b)) if a != b => {
            return Err(invalid("'project_id' and 'tenant_id' do not match"));
        }
        (a, b) => a.or(b),
    };
    let project = named
        .or_else(|| caller.project_id().map(str::to_owned))
        .filter(|project| !project.is_empty())
        .ok_or_else(|| invalid("Running without keystone project scope, 'project_id' must be specified."))?;
    hanse_core::check_text("project_id", &project, 255)?;
    // Grants of bulk requests are told apart by commas, and ids of projects have none.
    match project.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        true => Ok(project),
        false => Err(invalid("Invalid input for project_id.")),
    }
}

/// The only zone that there is.
///
/// # Errors
/// 404 for any other.
pub fn check_zones(network: &crate::Network, hints: &[String]) -> Result<()> {
    match hints.iter().find(|hint| **hint != network.config.availability_zone) {
        None => Ok(()),
        Some(other) => {
            let other: String = other.chars().take(255).collect();
            Err(crate::error::named(
                hanse_core::Kind::NotFound,
                "AvailabilityZoneNotFound",
                format!("AvailabilityZone {other} could not be found."),
            ))
        }
    }
}

pub fn yes() -> bool {
    true
}
