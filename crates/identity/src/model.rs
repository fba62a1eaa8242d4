//! The rows of the tables, and what they name.

use std::fmt;

use hanse_core::{Error, Result, Timestamp};
use serde_json::{Map, Value};

pub type Attributes = Map<String, Value>;

/// What a role is held on and a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    Project(String),
    Domain(String),
    System,
}

impl Site {
    /// `scope_kind` and `scope_id` of `role_assignments`.
    pub fn columns(&self) -> (&'static str, &str) {
        match self {
            Site::Project(id) => ("project", id),
            Site::Domain(id) => ("domain", id),
            Site::System => ("system", "all"),
        }
    }

    pub fn from_columns(kind: &str, id: String) -> Result<Site> {
        match kind {
            "project" => Ok(Site::Project(id)),
            "domain" => Ok(Site::Domain(id)),
            "system" => Ok(Site::System),
            other => Err(Error::internal(format!("a role assignment has the unknown scope {other}"))),
        }
    }
}

#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub domain_id: String,
    pub name: String,
    pub enabled: bool,
    pub default_project_id: Option<String>,
    pub token_epoch: i64,
    pub options: Attributes,
    pub extra: Attributes,
    pub created_at: Timestamp,
}

/// A project or, with `is_domain`, a domain (whose `domain_id` and `parent_id` are empty).
#[derive(Clone, Debug)]
pub struct Project {
    pub id: String,
    pub domain_id: String,
    pub parent_id: String,
    pub is_domain: bool,
    pub name: String,
    pub description: String,
    pub enabled: bool,
    pub tags: Vec<String>,
    pub options: Attributes,
    pub extra: Attributes,
    pub token_epoch: i64,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub id: String,
    pub domain_id: String,
    pub name: String,
    pub description: Option<String>,
    pub options: Attributes,
    pub extra: Attributes,
    pub created_at: Timestamp,
}

/// A user holds a role somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub user_id: String,
    pub site: Site,
    pub role_id: String,
}

impl Assignment {
    /// The id of its row, and its name in the audit trail.
    pub fn id(&self) -> String {
        let (kind, id) = self.site.columns();
        format!("user:{}/{kind}:{id}/role:{}", self.user_id, self.role_id)
    }
}

/// Whether the options say that the object must not be changed.
pub fn is_immutable(options: &Attributes) -> bool {
    options.get("immutable") == Some(&Value::Bool(true))
}

/// 404 in Keystone's words.
pub fn missing(what: &str, id: impl fmt::Display) -> Error {
    Error::new(hanse_core::Kind::NotFound, format!("Could not find {what}: {id}."))
}

/// 409 in Keystone's words.
pub fn duplicate(what: &str, name: &str, domain_id: &str) -> String {
    let place = if domain_id.is_empty() { String::new() } else { format!(" at domain ID {domain_id}") };
    format!("Conflict occurred attempting to store {what} - Duplicate entry found with name {name}{place}.")
}

/// The one answer to every login and every token that is not good: it tells nothing of the reason.
pub fn unauthorized() -> Error {
    Error::unauthorized("The request you have made requires authentication.")
}

/// How much of what it does not know itself identity keeps for a client, in bytes of JSON.
const EXTRA_MAX: usize = 16 * 1024;

/// Checks a name as Keystone does, which ignores space around it.
pub fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    hanse_core::check_name("name", name)?;
    Ok(name.to_owned())
}

/// What a client may attach to an object under names of its own: whatever is not read-only, up to a limit.
pub fn checked_extra(mut extra: Attributes) -> Result<Attributes> {
    for read_only in ["id", "links", "password_expires_at", "is_domain"] {
        extra.remove(read_only);
    }
    let size: usize = extra.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
    if size > EXTRA_MAX {
        return Err(Error::bad_request(format!("the extra attributes are longer than {EXTRA_MAX} bytes")));
    }
    Ok(extra)
}

/// Changes the options as a client asks: `null` takes one away. Only `immutable` is known.
pub fn set_options(options: &mut Attributes, changes: Attributes) -> Result<()> {
    for (key, value) in changes {
        match (key.as_str(), value) {
            ("immutable", Value::Null) => {
                options.remove("immutable");
            }
            ("immutable", Value::Bool(flag)) => {
                options.insert(key, Value::Bool(flag));
            }
            ("immutable", _) => return Err(Error::bad_request("options.immutable must be true or false")),
            _ => return Err(Error::not_implemented(format!("The option {key} is not supported."))),
        }
    }
    Ok(())
}

/// A domain that the client names must be its object's own: nothing moves between domains.
pub fn check_same_domain(asked: Option<&str>, own: &str) -> Result<()> {
    match asked {
        Some(asked) if asked != own => Err(Error::bad_request("Cannot change Domain ID.")),
        _ => Ok(()),
    }
}

/// Tells `null` (`Some(None)`) from a field that is not there (`None`).
pub fn nullable<'de, D, T>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}
