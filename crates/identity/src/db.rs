//! SQL only. Reads take what the caller may see, writes take the grant that allows them.

pub(crate) mod application_credentials;
pub(crate) mod assignments;
pub(crate) mod associations;
pub(crate) mod catalog;
pub(crate) mod credentials;
pub(crate) mod domain_options;
pub(crate) mod groups;
pub(crate) mod limits;
pub(crate) mod projects;
pub(crate) mod revision;
pub(crate) mod revocations;
pub(crate) mod roles;
pub(crate) mod rows;
pub(crate) mod trusts;
pub(crate) mod users;

use hanse_core::{Error, Result};

/// An epoch as tokens carry it.
pub(crate) fn epoch(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::internal("a token epoch does not fit 32 bits"))
}
