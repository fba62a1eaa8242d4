//! The options of domains, sealed.

use hanse_core::Result;
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Tx, query};

use crate::model::missing;

/// # Errors
/// 404 if there is no such domain.
pub(crate) async fn require_domain(conn: &mut Conn, id: &str) -> Result<()> {
    let found = super::projects::show(conn, &Scope::All, true, id).await?;
    found.map(|_| ()).ok_or_else(|| missing("domain", id))
}

/// Group, option and sealed value of each.
pub(crate) async fn list(conn: &mut Conn, domain: &str) -> Result<Vec<(String, String, Vec<u8>)>> {
    query("SELECT option_group, option_name, value FROM domain_options WHERE domain_id = $1 ORDER BY 1, 2")
        .bind(domain)
        .all(conn)
        .await
}

/// Sets an option of the domain that the grant names.
pub(crate) async fn put(
    tx: &mut Tx<'_>,
    grant: &Grant,
    group: &str,
    option: &str,
    value: &[u8],
) -> Result<()> {
    query(
        "INSERT INTO domain_options (domain_id, option_group, option_name, value) VALUES ($1, $2, $3, $4)
         ON CONFLICT (domain_id, option_group, option_name) DO UPDATE SET value = excluded.value",
    )
    .bind(grant.target())
    .bind(group)
    .bind(option)
    .bind(value)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes the options of the domain that the grant names: all, a group's, or one.
pub(crate) async fn delete(
    tx: &mut Tx<'_>,
    grant: &Grant,
    group: Option<&str>,
    option: Option<&str>,
) -> Result<()> {
    let mut sql = "DELETE FROM domain_options WHERE domain_id = $1".to_owned();
    let mut values = vec![grant.target()];
    for (column, value) in [("option_group", group), ("option_name", option)] {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {column} = ${}", values.len()));
        }
    }
    values.into_iter().fold(query(sql), hanse_store::Query::bind).execute(tx).await?;
    Ok(())
}
