//! What projects own here, and how it goes when a project is no more.

use hanse_core::{Cx, Result};
use hanse_policy::Caller;
use hanse_store::{Owned, OwnedTable};

use crate::model::parse_id;
use crate::{Volume, volumes};

pub const OWNED: &[OwnedTable] = &[OwnedTable {
    kind: "volume",
    table: "volumes",
    id: "id",
    name: "COALESCE(name, '')",
    owner: "project_id",
    only: "1 = 1",
}];

impl Volume {
    /// Deletes it, whatever state it is in; the node takes the disk away. Asked again, it is stated again.
    ///
    /// # Errors
    /// 400 while a server has it; 404 if it has gone.
    pub async fn delete_owned(&self, cx: &Cx, caller: &Caller, owned: &Owned) -> Result<()> {
        volumes::actions::force_delete(self, cx, caller, parse_id(&owned.id)?).await
    }
}
