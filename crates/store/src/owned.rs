//! What belongs to whom, told of each service's tables in the same words: for what has outlived its owner.

use hanse_core::Result;

use crate::db::Conn;
use crate::query::{FromRow, Row, query};
use crate::select::in_list;

/// So many owners are asked for in one statement.
const OWNERS: usize = 500;

/// A table whose rows have an owner.
#[derive(Clone, Copy, Debug)]
pub struct OwnedTable {
    /// What a row is, for people: `floating IP`.
    pub kind: &'static str,
    pub table: &'static str,
    pub id: &'static str,
    /// An expression that is never NULL.
    pub name: &'static str,
    /// The column with the project's or user's id.
    pub owner: &'static str,
    /// Which rows of the table are somebody's own, and not part of something else.
    pub only: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    /// The id of the project or user.
    pub owner: String,
}

struct Found(String, String, String);

impl FromRow for Found {
    fn from_row(row: &Row) -> Result<Found> {
        Ok(Found(row.get("owned_id")?, row.get("owned_name")?, row.get("owner_id")?))
    }
}

impl OwnedTable {
    /// Everybody who owns something in it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn owners(&self, conn: &mut Conn) -> Result<Vec<String>> {
        let OwnedTable { table, owner, only, .. } = self;
        let sql = format!("SELECT DISTINCT {owner} FROM {table} WHERE {only} ORDER BY {owner}");
        Ok(query(sql).all::<(String,)>(conn).await?.into_iter().map(|(owner,)| owner).collect())
    }

    /// What these own.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn of(&self, conn: &mut Conn, owners: &[String]) -> Result<Vec<Owned>> {
        let OwnedTable { kind, table, id, name, owner, only } = self;
        let mut all = Vec::new();
        for some in owners.chunks(OWNERS) {
            let mine = in_list(owner, 1, some.len());
            let mut find = query(format!(
                "SELECT {id} AS owned_id, {name} AS owned_name, {owner} AS owner_id FROM {table}
                 WHERE {only} AND {mine} ORDER BY {owner}, {id}"
            ));
            for owner in some {
                find = find.bind(owner);
            }
            let found: Vec<Found> = find.all(conn).await?;
            all.extend(found.into_iter().map(|Found(id, name, owner)| Owned { kind, id, name, owner }));
        }
        Ok(all)
    }
}
