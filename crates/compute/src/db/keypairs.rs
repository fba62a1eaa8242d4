use hanse_core::{Result, Timestamp};
use hanse_store::{Conn, FromRow, Row, Tx, query};

use crate::model::Keypair;

const SELECT: &str = "SELECT user_id, name, created_at, public_key, fingerprint FROM keypairs";

impl FromRow for Keypair {
    fn from_row(row: &Row) -> Result<Keypair> {
        Ok(Keypair {
            user_id: row.get("user_id")?,
            name: row.get("name")?,
            created_at: row.get::<Timestamp>("created_at")?,
            public_key: row.get("public_key")?,
            fingerprint: row.get("fingerprint")?,
        })
    }
}

pub async fn show(conn: &mut Conn, user_id: &str, name: &str) -> Result<Option<Keypair>> {
    query(format!("{SELECT} WHERE user_id = $1 AND name = $2")).bind(user_id).bind(name).optional(conn).await
}

/// All of a user, by name; there are no more than the quota.
pub async fn list(conn: &mut Conn, user_id: &str) -> Result<Vec<Keypair>> {
    query(format!("{SELECT} WHERE user_id = $1 ORDER BY name")).bind(user_id).all(conn).await
}

pub async fn insert(tx: &mut Tx<'_>, keypair: &Keypair) -> Result<()> {
    query("INSERT INTO keypairs (user_id, name, created_at, public_key, fingerprint) VALUES ($1, $2, $3, $4, $5)")
        .bind(&keypair.user_id)
        .bind(&keypair.name)
        .bind(keypair.created_at)
        .bind(&keypair.public_key)
        .bind(&keypair.fingerprint)
        .execute_unique(tx, &format!("Key pair '{}' already exists.", keypair.name))
        .await
        .map(drop)
}

pub async fn delete(tx: &mut Tx<'_>, user_id: &str, name: &str) -> Result<bool> {
    let done = query("DELETE FROM keypairs WHERE user_id = $1 AND name = $2").bind(user_id).bind(name);
    Ok(done.execute(tx).await? > 0)
}
