use hanse_core::{Cx, Page, Result};
use hanse_policy::Grant;
use hanse_store::{Conn, FromRow, Json, Row, Select, SortKey, Tx, query};

use super::amount;
use crate::model::Flavor;

const COLUMNS: &str = "id, created_at, name, vcpus, ram, disk, extra_specs";

impl FromRow for Flavor {
    fn from_row(row: &Row) -> Result<Flavor> {
        let Json(extra_specs) = row.get("extra_specs")?;
        Ok(Flavor {
            id: row.get("id")?,
            created_at: row.get("created_at")?,
            name: row.get("name")?,
            vcpus: row.get("vcpus")?,
            ram: row.get("ram")?,
            disk: row.get("disk")?,
            extra_specs,
        })
    }
}

pub fn all() -> Select {
    Select::from("flavors", COLUMNS)
}

pub async fn show(conn: &mut Conn, id: &str) -> Result<Option<Flavor>> {
    all().eq("id", id).optional(conn).await
}

pub async fn list(
    conn: &mut Conn,
    select: Select,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Flavor>, bool)> {
    select.sorted(conn, keys, page).await
}

pub async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, flavor: &Flavor) -> Result<()> {
    let taken: Option<(String,)> =
        query("SELECT id FROM flavors WHERE name = $1").bind(&flavor.name).optional(tx).await?;
    if taken.is_some() {
        return Err(hanse_core::Error::conflict(format!("Flavor with name {} already exists.", flavor.name)));
    }
    query("INSERT INTO flavors (id, created_at, name, vcpus, ram, disk, extra_specs) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(grant.target())
        .bind(cx.now())
        .bind(&flavor.name)
        .bind(flavor.vcpus)
        .bind(amount(flavor.ram))
        .bind(flavor.disk)
        .bind(Json(&flavor.extra_specs))
        .execute_unique(tx, &format!("Flavor with ID {} already exists.", grant.target()))
        .await
        .map(drop)
}

pub async fn update_specs(tx: &mut Tx<'_>, grant: &Grant, flavor: &Flavor) -> Result<()> {
    query("UPDATE flavors SET extra_specs = $2 WHERE id = $1")
        .bind(grant.target())
        .bind(Json(&flavor.extra_specs))
        .execute(tx)
        .await
        .map(drop)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<bool> {
    Ok(query("DELETE FROM flavors WHERE id = $1").bind(grant.target()).execute(tx).await? > 0)
}
