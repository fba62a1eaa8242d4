//! What projects and users own here, and how it goes when they are no more.

use hanse_core::{Cx, Error, Result};
use hanse_policy::Caller;
use hanse_store::{Owned, OwnedTable};

use crate::{Deps, keypairs, servers};

pub const OWNED: &[OwnedTable] = &[OwnedTable {
    kind: "server",
    table: "servers",
    id: "id",
    name: "name",
    owner: "project_id",
    only: "1 = 1",
}];

/// Key pairs are their users', and have no id but their name.
pub const OWNED_BY_USERS: &[OwnedTable] = &[OwnedTable {
    kind: "key pair",
    table: "keypairs",
    id: "name",
    name: "name",
    owner: "user_id",
    only: "1 = 1",
}];

/// Deletes it as its owner would have. A server goes as soon as its node has taken it away; asked again, nothing more
/// happens.
///
/// # Errors
/// 404 if it has gone.
pub async fn delete_owned(deps: &Deps, cx: &Cx, caller: &Caller, owned: &Owned) -> Result<()> {
    match owned.kind {
        "server" => {
            let id = owned.id.parse().map_err(|_| Error::internal("a server's id is none"))?;
            servers::delete(deps, cx, caller, id).await
        }
        _ => keypairs::delete_of(deps, cx, caller, &owned.owner, &owned.id).await,
    }
}
