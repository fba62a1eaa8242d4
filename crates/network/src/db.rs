//! SQL only. Functions that write take the [`Grant`] of the caller: proof that somebody asked policy.

pub mod floating_ips;
pub mod listing;
pub mod networks;
pub mod nodes;
pub mod ports;
pub mod quotas;
pub mod routers;
pub mod security_groups;
pub mod subnets;

use hanse_core::{Error, Result, Uuid};
use hanse_policy::Grant;

/// The object that a grant for one object names.
pub fn target(grant: &Grant) -> Result<Uuid> {
    grant
        .target()
        .parse()
        .map_err(|_| Error::internal(format!("the grant names no object: {}", grant.target())))
}

/// A bulk request has one grant that names all its objects, separated by commas.
pub fn check_covers(grant: &Grant, id: Uuid) -> Result<()> {
    let id = id.to_string();
    match grant.target().split(',').any(|known| known == id) {
        true => Ok(()),
        false => Err(Error::internal(format!("the grant does not cover {id}"))),
    }
}
