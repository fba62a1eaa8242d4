//! Which of the owners that other services know are still there.

use std::collections::BTreeSet;

use hanse_core::Result;
use hanse_store::{Db, Select};

/// Ids in one statement.
const BATCH: usize = 500;

/// Those of these projects that exist, disabled ones and domains among them.
///
/// # Errors
/// If the database fails.
pub async fn existing_projects(db: &Db, ids: &[String]) -> Result<BTreeSet<String>> {
    existing(db, "projects", ids).await
}

/// The same of users.
///
/// # Errors
/// If the database fails.
pub async fn existing_users(db: &Db, ids: &[String]) -> Result<BTreeSet<String>> {
    existing(db, "users", ids).await
}

async fn existing(db: &Db, table: &'static str, ids: &[String]) -> Result<BTreeSet<String>> {
    let mut conn = db.read().await?;
    let mut found = BTreeSet::new();
    for some in ids.chunks(BATCH) {
        let rows: Vec<(String,)> = Select::from(table, "id").any("id", some).all(&mut conn).await?;
        found.extend(rows.into_iter().map(|(id,)| id));
    }
    Ok(found)
}
