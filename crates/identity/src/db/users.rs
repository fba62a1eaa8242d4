use hanse_core::{Page, Result, Timestamp};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Row, Select, Tx, query};
use hanse_web::Params;

use super::rows::{self, select};
use crate::auth::{DomainNamed, Named};
use crate::filters::{by_flag, by_text};
use crate::model::{User, duplicate};

fn visible(scope: &Scope) -> Select {
    let select = select::<User>();
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
    params: &Params,
    page: &Page,
) -> Result<(Vec<User>, bool)> {
    let select = by_text(visible(scope), params, &["domain_id", "name"]);
    by_flag(select, params, "enabled")?.page(conn, page).await
}

/// The id of the user of that name in a domain.
pub(crate) async fn named(conn: &mut Conn, domain_id: &str, name: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = query("SELECT id FROM users WHERE domain_id = $1 AND name = $2")
        .bind(domain_id)
        .bind(name)
        .optional(conn)
        .await?;
    Ok(row.map(|(id,)| id))
}

/// What a login by password is checked against.
pub(crate) struct Login {
    pub(crate) id: String,
    pub(crate) password_hash: Option<String>,
}

impl FromRow for Login {
    fn from_row(row: &Row) -> Result<Login> {
        Ok(Login { id: row.get("id")?, password_hash: row.get("password_hash")? })
    }
}

/// One statement, however the user was named: nobody learns from the time which part of it was wrong.
pub(crate) async fn login(conn: &mut Conn, user: &Named) -> Result<Option<Login>> {
    let columns = "SELECT u.id, u.password_hash FROM users u";
    let by_name = |column: &str| {
        format!(
            "{columns} JOIN projects d ON d.id = u.domain_id AND d.is_domain = 1 WHERE d.{column} = $1 AND u.name = $2"
        )
    };
    match user {
        Named::Id(id) => query(format!("{columns} WHERE u.id = $1")).bind(id),
        Named::Name { name, domain: DomainNamed::Id(domain) } => query(by_name("id")).bind(domain).bind(name),
        Named::Name { name, domain: DomainNamed::Name(domain) } => {
            query(by_name("name")).bind(domain).bind(name)
        }
    }
    .optional(conn)
    .await
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    user: &User,
    password_hash: Option<&str>,
) -> Result<()> {
    rows::insert(tx, grant, user, &conflict(user)).await?;
    if password_hash.is_some() {
        store_password(tx, grant, password_hash, user.created_at).await?;
    }
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx<'_>, grant: &Grant, user: &User) -> Result<()> {
    rows::update(tx, grant, user, &conflict(user)).await
}

fn conflict(user: &User) -> String {
    duplicate("user", &user.name, &user.domain_id)
}

/// `None` for all.
pub(crate) async fn people(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<User>> {
    match ids {
        None => select::<User>().all(conn).await,
        Some(ids) => select::<User>().any("id", ids).all(conn).await,
    }
}

async fn store_password(tx: &mut Tx<'_>, grant: &Grant, hash: Option<&str>, now: Timestamp) -> Result<u64> {
    query("UPDATE users SET password_hash = $1, password_changed_at = $2 WHERE id = $3")
        .bind(hash)
        .bind(now)
        .bind(grant.target())
        .execute(tx)
        .await
}

/// Sets or removes the password; every token of the user ends.
pub(crate) async fn set_password(
    tx: &mut Tx<'_>,
    grant: &Grant,
    hash: Option<&str>,
    now: Timestamp,
) -> Result<u64> {
    query("UPDATE users SET token_epoch = token_epoch + 1 WHERE id = $1")
        .bind(grant.target())
        .execute(tx)
        .await?;
    store_password(tx, grant, hash, now).await
}

/// Takes all that the user has: roles, memberships, credentials, trusts.
pub(crate) async fn clear(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE actor_kind = 'user' AND actor_id = $1",
        "DELETE FROM group_members WHERE user_id = $1",
        "DELETE FROM application_credentials WHERE user_id = $1",
        "DELETE FROM access_rules WHERE user_id = $1",
        "DELETE FROM credentials WHERE user_id = $1",
        "DELETE FROM totp_steps WHERE user_id = $1",
        "DELETE FROM trusts WHERE trustor_user_id = $1 OR trustee_user_id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
