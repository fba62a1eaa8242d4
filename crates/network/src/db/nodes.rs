use hanse_core::Result;
use hanse_store::{Tx, query};

/// Notes a node. Answers whether it was unknown.
pub async fn is_new(tx: &mut Tx<'_>, name: &str) -> Result<bool> {
    let added = query("INSERT INTO network_nodes (name) VALUES ($1) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .execute(tx)
        .await?;
    Ok(added > 0)
}
