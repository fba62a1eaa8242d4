use hanse_core::{Page, Result, Timestamp};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Json, Row, Select, Tx, query};

use super::epoch;
use crate::model::{User, duplicate};
use crate::snapshot::Person;
use crate::users::Filter;

const COLUMNS: &str =
    "id, domain_id, name, enabled, default_project_id, token_epoch, options, extra, created_at";

impl FromRow for User {
    fn from_row(row: &Row) -> Result<User> {
        Ok(User {
            id: row.get("id")?,
            domain_id: row.get("domain_id")?,
            name: row.get("name")?,
            enabled: row.get("enabled")?,
            default_project_id: row.get("default_project_id")?,
            token_epoch: row.get("token_epoch")?,
            options: row.get::<Json<_>>("options")?.0,
            extra: row.get::<Json<_>>("extra")?.0,
            created_at: row.get("created_at")?,
        })
    }
}

impl FromRow for Person {
    fn from_row(row: &Row) -> Result<Person> {
        Ok(Person {
            id: row.get("id")?,
            domain_id: row.get("domain_id")?,
            name: row.get("name")?,
            enabled: row.get("enabled")?,
            default_project_id: row.get("default_project_id")?,
            epoch: epoch(row.get("token_epoch")?)?,
        })
    }
}

fn visible(scope: &Scope) -> Select {
    let select = Select::from("users", COLUMNS);
    match scope {
        Scope::All => select,
        Scope::Domain(id) => select.eq("domain_id", id),
        Scope::User(id) => select.eq("id", id),
        Scope::Project(_) => select.and("1 = 0"),
    }
}

pub(crate) async fn show(conn: &mut Conn, scope: &Scope, id: &str) -> Result<Option<User>> {
    visible(scope).eq("id", id).optional(conn).await
}

pub(crate) async fn list(
    conn: &mut Conn,
    scope: &Scope,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<User>, bool)> {
    visible(scope)
        .eq_some("domain_id", filter.domain_id.as_deref())
        .eq_some("name", filter.name.as_deref())
        .eq_some("enabled", filter.enabled)
        .page(conn, page)
        .await
}

pub(crate) async fn people(conn: &mut Conn) -> Result<Vec<Person>> {
    query("SELECT id, domain_id, name, enabled, default_project_id, token_epoch FROM users").all(conn).await
}

/// The hash of the user's password; `None` also if there is no such user.
pub(crate) async fn password_hash(conn: &mut Conn, id: &str) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> =
        query("SELECT password_hash FROM users WHERE id = $1").bind(id).optional(conn).await?;
    Ok(row.and_then(|(hash,)| hash))
}

/// Inserts the user under the id of the grant.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    user: &User,
    password_hash: Option<&str>,
) -> Result<()> {
    query(
        "INSERT INTO users (id, domain_id, name, enabled, default_project_id, password_hash, password_changed_at,
                            token_epoch, options, extra, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(grant.target())
    .bind(&user.domain_id)
    .bind(&user.name)
    .bind(user.enabled)
    .bind(user.default_project_id.as_deref())
    .bind(password_hash)
    .bind(password_hash.map(|_| user.created_at))
    .bind(user.token_epoch)
    .bind(Json(&user.options))
    .bind(Json(&user.extra))
    .bind(user.created_at)
    .execute_unique(tx, &duplicate("user", &user.name, &user.domain_id))
    .await?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx<'_>, grant: &Grant, user: &User) -> Result<()> {
    query(
        "UPDATE users SET name = $1, enabled = $2, default_project_id = $3, token_epoch = $4, options = $5, extra = $6
         WHERE id = $7",
    )
    .bind(&user.name)
    .bind(user.enabled)
    .bind(user.default_project_id.as_deref())
    .bind(user.token_epoch)
    .bind(Json(&user.options))
    .bind(Json(&user.extra))
    .bind(grant.target())
    .execute_unique(tx, &duplicate("user", &user.name, &user.domain_id))
    .await?;
    Ok(())
}

/// Sets or removes the password; every token of the user ends.
pub(crate) async fn set_password(
    tx: &mut Tx<'_>,
    grant: &Grant,
    hash: Option<&str>,
    now: Timestamp,
) -> Result<u64> {
    query(
        "UPDATE users SET password_hash = $1, password_changed_at = $2, token_epoch = token_epoch + 1 WHERE id = $3",
    )
    .bind(hash)
    .bind(now)
    .bind(grant.target())
    .execute(tx)
    .await
}

/// Deletes the user and the roles that it held.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM role_assignments WHERE actor_kind = 'user' AND actor_id = $1")
        .bind(grant.target())
        .execute(tx)
        .await?;
    query("DELETE FROM users WHERE id = $1").bind(grant.target()).execute(tx).await?;
    Ok(())
}
