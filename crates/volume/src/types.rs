//! Volume types: there is one, since there is one kind of storage.

use hanse_core::{Error, Kind, Result};
use hanse_policy::Caller;

use crate::verbs::{LIST_TYPES, SHOW_TYPE};

/// Cinder's name for the type of volumes that ask for none.
pub(crate) const NAME: &str = "__DEFAULT__";
pub(crate) const ID: &str = "5f1c8d1e-3c55-4a6e-9d0b-8a6e1f0c2b71";
pub(crate) const DESCRIPTION: &str = "Local storage: a file on the node where the volume was made.";

fn missing(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("Volume type {id} could not be found."))
}

/// # Errors
/// 404 unless it is the only one.
pub(crate) fn show(caller: &Caller, id: &str) -> Result<()> {
    caller.scope(SHOW_TYPE)?;
    if matches!(id, ID | "default") { Ok(()) } else { Err(missing(id)) }
}

pub(crate) fn list(caller: &Caller) -> Result<()> {
    caller.scope(LIST_TYPES).map(drop)
}

/// Checks the type that a client asks for by name or id.
pub(crate) fn check(asked: &str) -> Result<()> {
    if matches!(asked, ID | NAME) { Ok(()) } else { Err(missing(asked)) }
}
