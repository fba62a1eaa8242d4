//! The rows of the tables, and what they name.

use std::fmt;

use hanse_core::{Error, Result, Timestamp};
use serde_json::{Map, Value};

use crate::db::revision::Touched;
use crate::row::row;

pub(crate) type Attributes = Map<String, Value>;

/// What a role is held on and a token is good for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Site {
    Project(String),
    Domain(String),
    System,
}

impl Site {
    /// `scope_kind` and `scope_id` of `role_assignments`.
    pub(crate) fn columns(&self) -> (&'static str, &str) {
        match self {
            Site::Project(id) => ("project", id),
            Site::Domain(id) => ("domain", id),
            Site::System => ("system", "all"),
        }
    }

    pub(crate) fn from_columns(kind: &str, id: String) -> Result<Site> {
        match kind {
            "project" => Ok(Site::Project(id)),
            "domain" => Ok(Site::Domain(id)),
            "system" => Ok(Site::System),
            other => Err(Error::internal(format!("a role assignment has the unknown scope {other}"))),
        }
    }
}

row! {
    User in "users" {
        domain_id: String,
        name: String,
        enabled: bool,
        default_project_id: Option<String>,
        token_epoch: i64,
        password_expires_at: Option<Timestamp>,
        /// The beginning of the day of the last login.
        last_active_at: Option<Timestamp>,
        options: Attributes as Json,
        extra: Attributes as Json,
    }
}

row! {
    /// A project or, with `is_domain`, a domain (whose `domain_id` and `parent_id` are empty).
    Project in "projects" {
        domain_id: String,
        parent_id: String,
        is_domain: bool,
        name: String,
        description: String,
        enabled: bool,
        tags: Vec<String> as Json,
        options: Attributes as Json,
        extra: Attributes as Json,
        token_epoch: i64,
    }
}

row! {
    /// `domain_id` is empty for roles that are good in every domain.
    Role in "roles" {
        domain_id: String,
        name: String,
        description: Option<String>,
        options: Attributes as Json,
        extra: Attributes as Json,
    }
}

row! {
    Group in "user_groups" {
        domain_id: String,
        name: String,
        description: String,
        extra: Attributes as Json,
    }
}

/// Who holds a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Holder {
    User(String),
    Group(String),
}

impl Holder {
    /// `actor_kind` and `actor_id` of `role_assignments`.
    pub(crate) fn columns(&self) -> (&'static str, &str) {
        match self {
            Holder::User(id) => ("user", id),
            Holder::Group(id) => ("group", id),
        }
    }

    pub(crate) fn from_columns(kind: &str, id: String) -> Result<Holder> {
        match kind {
            "user" => Ok(Holder::User(id)),
            "group" => Ok(Holder::Group(id)),
            other => Err(Error::internal(format!("a role assignment has the unknown holder {other}"))),
        }
    }

    /// What of the snapshot an assignment to it changes.
    pub(crate) fn touched(&self) -> Touched {
        match self {
            Holder::User(id) => Touched::User(id.clone()),
            Holder::Group(id) => Touched::Group(id.clone()),
        }
    }
}

/// Somebody holds a role somewhere or, if it is inherited, on all projects below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Assignment {
    pub(crate) holder: Holder,
    pub(crate) site: Site,
    pub(crate) role_id: String,
    pub(crate) inherited: bool,
}

impl Assignment {
    /// The id of its row, and its name in the audit trail.
    pub(crate) fn id(&self) -> String {
        let ((actor, actor_id), (scope, scope_id)) = (self.holder.columns(), self.site.columns());
        let end = if self.inherited { "/inherited" } else { "" };
        format!("{actor}:{actor_id}/{scope}:{scope_id}/role:{}{end}", self.role_id)
    }
}

/// Whether the options say that the object must not be changed.
pub(crate) fn is_immutable(options: &Attributes) -> bool {
    options.get("immutable") == Some(&Value::Bool(true))
}

/// 403 for what its owner has protected.
pub(crate) fn immutable(what: &str, id: &str) -> Error {
    Error::forbidden(format!(
        "Unable to change or delete immutable {what} resource: {id}. Set resource option \"immutable\" to false first."
    ))
}

/// An id that may be none, as JSON.
pub(crate) fn or_null(id: &str) -> Value {
    if id.is_empty() { Value::Null } else { Value::String(id.to_owned()) }
}

/// 404 in Keystone's words.
pub(crate) fn missing(what: &str, id: impl fmt::Display) -> Error {
    Error::new(hanse_core::Kind::NotFound, format!("Could not find {what}: {id}."))
}

/// 409 in Keystone's words.
pub(crate) fn duplicate(what: &str, name: &str, domain_id: &str) -> String {
    let place = if domain_id.is_empty() { String::new() } else { format!(" at domain ID {domain_id}") };
    format!("Conflict occurred attempting to store {what} - Duplicate entry found with name {name}{place}.")
}

/// The one answer to every login and every token that is not good: it tells nothing of the reason.
pub(crate) fn unauthorized() -> Error {
    Error::unauthorized("The request you have made requires authentication.")
}

/// How much of what it does not know itself identity keeps for a client, in bytes of JSON.
const EXTRA_MAX: usize = 16 * 1024;

/// Checks a name as Keystone does, which ignores space around it.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    let name = name.trim();
    hanse_core::check_name("name", name)?;
    Ok(name.to_owned())
}

/// What a client may attach to an object under names of its own: whatever is not read-only, up to a limit.
pub(crate) fn checked_extra(mut extra: Attributes) -> Result<Attributes> {
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
pub(crate) fn set_options(options: &mut Attributes, changes: Attributes) -> Result<()> {
    for (key, value) in changes {
        match (key.as_str(), value) {
            ("immutable", Value::Null) => {
                options.remove("immutable");
            }
            ("immutable", Value::Bool(flag)) => {
                options.insert(key, Value::Bool(flag));
            }
            ("immutable", _) => return Err(Error::bad_request("options.immutable must be true or false")),
            _ => return Err(Error::bad_request(format!("The option {key} is not known."))),
        }
    }
    Ok(())
}

/// A domain that the client names must be its object's own: nothing moves between domains.
pub(crate) fn check_same_domain(asked: Option<&str>, own: &str) -> Result<()> {
    match asked {
        Some(asked) if asked != own => Err(Error::bad_request("Cannot change Domain ID.")),
        _ => Ok(()),
    }
}

/// Tells `null` (`Some(None)`) from a field that is not there (`None`).
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}
