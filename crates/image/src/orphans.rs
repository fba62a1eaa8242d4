//! What projects own here, and how it goes when a project is no more.

use hanse_core::{Cx, Error, Result};
use hanse_policy::Caller;
use hanse_store::{Owned, OwnedTable};

use crate::{Deps, images};

pub const OWNED: &[OwnedTable] = &[OwnedTable {
    kind: "image",
    table: "images",
    id: "id",
    name: "COALESCE(name, '')",
    owner: "project_id",
    only: "1 = 1",
}];

/// Deletes it. Nobody is left who could take back a protection, so that does not hold.
///
/// # Errors
/// 404 if it has gone.
pub async fn delete_owned(deps: &Deps, cx: &Cx, caller: &Caller, owned: &Owned) -> Result<()> {
    let id = owned.id.parse().map_err(|_| Error::internal("an image's id is none"))?;
    let unprotect = |draft: &mut crate::model::Draft| {
        draft.protected = false;
        Ok(())
    };
    images::update(deps, cx, caller, id, unprotect).await?;
    images::delete(deps, cx, caller, id).await
}
