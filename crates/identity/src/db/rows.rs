//! The statements that are the same for every table.

use hanse_core::{Page, Result};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Select, Tx, query};

use crate::resource::Resource;
use crate::row::Stored;

pub(crate) fn select<T: Stored>() -> Select {
    Select::from(T::TABLE, &format!("id, {}", T::COLUMNS.join(", ")))
}

pub(crate) async fn show<T: Resource>(conn: &mut Conn, scope: &Scope, id: &str) -> Result<Option<T>> {
    T::visible(select::<T>(), scope).eq("id", id).optional(conn).await
}

/// Whatever it is that stands under the id, for a check within a transaction.
pub(crate) async fn find<T: Stored>(conn: &mut Conn, id: &str) -> Result<Option<T>> {
    select::<T>().eq("id", id).optional(conn).await
}

pub(crate) async fn list<T: Resource>(
    conn: &mut Conn,
    scope: &Scope,
    narrow: impl FnOnce(Select) -> Result<Select>,
    page: &Page,
) -> Result<(Vec<T>, bool)> {
    narrow(T::visible(select::<T>(), scope))?.page(conn, page).await
}

/// Inserts the row under the id of the grant.
pub(crate) async fn insert<T: Stored>(tx: &mut Tx<'_>, grant: &Grant, row: &T, conflict: &str) -> Result<()> {
    insert_as(tx, grant.target(), row, conflict).await
}

/// The same for a row that belongs to what the grant names.
pub(crate) async fn insert_as<T: Stored>(tx: &mut Tx<'_>, id: &str, row: &T, conflict: &str) -> Result<()> {
    let places: Vec<String> = (1..=T::COLUMNS.len() + 1).map(|place| format!("${place}")).collect();
    let sql =
        format!("INSERT INTO {} (id, {}) VALUES ({})", T::TABLE, T::COLUMNS.join(", "), places.join(", "));
    row.values()
        .into_iter()
        .fold(query(sql).bind(id), hanse_store::Query::bind)
        .execute_unique(tx, conflict)
        .await?;
    Ok(())
}

/// Writes every column of the row that the grant names.
pub(crate) async fn update<T: Stored>(tx: &mut Tx<'_>, grant: &Grant, row: &T, conflict: &str) -> Result<()> {
    let changes: Vec<String> =
        T::COLUMNS.iter().enumerate().map(|(at, column)| format!("{column} = ${}", at + 2)).collect();
    let sql = format!("UPDATE {} SET {} WHERE id = $1", T::TABLE, changes.join(", "));
    let statement = row.values().into_iter().fold(query(sql).bind(grant.target()), hanse_store::Query::bind);
    statement.execute_unique(tx, conflict).await?;
    Ok(())
}

pub(crate) async fn delete<T: Stored>(tx: &mut Tx<'_>, grant: &Grant) -> Result<u64> {
    query(format!("DELETE FROM {} WHERE id = $1", T::TABLE)).bind(grant.target()).execute(tx).await
}
