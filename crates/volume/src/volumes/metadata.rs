//! What users note on a volume.

use hanse_core::{Cx, Error, Kind, NAME_MAX, Result, Uuid, check_name, check_text};
use hanse_policy::{Caller, Grant};

use super::{current, show, writable};
use crate::model::Metadata;
use crate::verbs::{CREATE_METADATA, DELETE_METADATA, SHOW_METADATA, UPDATE_METADATA};
use crate::{Volume, db};

pub(crate) fn check(volume: &Volume, entries: &Metadata) -> Result<()> {
    let max = volume.config.metadata_items;
    if entries.len() > max {
        return Err(Error::bad_request(format!("Invalid metadata: a volume has at most {max} entries.")));
    }
    for (key, value) in entries {
        check_name("a metadata key", key)?;
        check_text("a metadata value", value, NAME_MAX)?;
    }
    Ok(())
}

fn missing(id: Uuid, key: &str) -> Error {
    Error::new(Kind::NotFound, format!("Metadata item '{key}' was not found on volume {id}."))
}

pub(crate) async fn list(volume: &Volume, caller: &Caller, id: Uuid) -> Result<Metadata> {
    caller.scope(SHOW_METADATA)?;
    Ok(show(volume, caller, id).await?.row.metadata)
}

pub(crate) async fn show_item(volume: &Volume, caller: &Caller, id: Uuid, key: &str) -> Result<String> {
    list(volume, caller, id).await?.remove(key).ok_or_else(|| missing(id, key))
}

/// Adds entries, over those of the same keys.
pub(crate) async fn create(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    entries: &Metadata,
) -> Result<Metadata> {
    let grant = writable(volume, cx, caller, CREATE_METADATA, id).await?;
    let merge = |mut known: Metadata| {
        known.extend(entries.clone());
        Ok(known)
    };
    change(volume, cx, &grant, id, &merge).await
}

/// Replaces all entries.
pub(crate) async fn update(
    volume: &Volume,
    cx: &Cx,
    caller: &Caller,
    id: Uuid,
    entries: &Metadata,
) -> Result<Metadata> {
    let grant = writable(volume, cx, caller, UPDATE_METADATA, id).await?;
    change(volume, cx, &grant, id, &|_| Ok(entries.clone())).await
}

pub(crate) async fn delete(volume: &Volume, cx: &Cx, caller: &Caller, id: Uuid, key: &str) -> Result<()> {
    let grant = writable(volume, cx, caller, DELETE_METADATA, id).await?;
    let without = |mut known: Metadata| match known.remove(key) {
        Some(_) => Ok(known),
        None => Err(missing(id, key)),
    };
    change(volume, cx, &grant, id, &without).await.map(drop)
}

async fn change(
    volume: &Volume,
    cx: &Cx,
    grant: &Grant,
    id: Uuid,
    edit: &(dyn Fn(Metadata) -> Result<Metadata> + Sync),
) -> Result<Metadata> {
    volume
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let mut row = current(tx, id).await?;
                row.metadata = edit(row.metadata)?;
                check(volume, &row.metadata)?;
                db::volumes::update(tx, cx, grant, &row).await?;
                Ok(row.metadata)
            })
        })
        .await
}
