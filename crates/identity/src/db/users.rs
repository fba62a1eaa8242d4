use hanse_core::{Page, Result, Timestamp};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Row, Select, Tx, query};
use hanse_web::Params;

use super::rows::{self, select};
use crate::auth::Named;
use crate::compliance::Failures;
use crate::filters::{by_flag, by_text, by_time};
use crate::model::{User, duplicate};
use crate::row::Stored;

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
    narrowed(visible(scope), params)?.page(conn, page).await
}

/// The filters of lists of users.
pub(crate) fn narrowed(select: Select, params: &Params) -> Result<Select> {
    let select = by_text(select, params, &["domain_id", "name"]);
    by_time(by_flag(select, params, "enabled")?, params, "password_expires_at")
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
    pub(crate) user: User,
    pub(crate) password_hash: Option<String>,
    pub(crate) password_changed_at: Option<Timestamp>,
    /// Whether the user chose it.
    pub(crate) password_is_own: bool,
    pub(crate) failures: Failures,
}

impl FromRow for Login {
    fn from_row(row: &Row) -> Result<Login> {
        Ok(Login {
            user: User::from_row(row)?,
            password_hash: row.get("password_hash")?,
            password_changed_at: row.get("password_changed_at")?,
            password_is_own: row.get("password_is_own")?,
            failures: Failures { count: row.get("failed_logins")?, last: row.get("failed_at")? },
        })
    }
}

/// `SELECT … FROM users u`.
fn login_columns() -> String {
    format!(
        "SELECT u.id, u.{}, u.password_hash, u.password_changed_at, u.password_is_own, u.failed_logins, u.failed_at FROM users u",
        User::COLUMNS.join(", u.")
    )
}

/// One statement, however the user was named: nobody learns from the time which part of it was wrong.
pub(crate) async fn login(conn: &mut Conn, user: &Named) -> Result<Option<Login>> {
    let select = login_columns();
    let by_name = |column: &str| {
        format!(
            "{select} JOIN projects d ON d.id = u.domain_id AND d.is_domain = 1 WHERE d.{column} = $1 AND u.name = $2"
        )
    };
    match user {
        Named::Id(id) => query(format!("{select} WHERE u.id = $1")).bind(id),
        Named::Name { name, domain } => {
            let (column, domain) = domain.column();
            query(by_name(column)).bind(domain).bind(name)
        }
    }
    .optional(conn)
    .await
}

/// The same within the transaction of a login.
pub(crate) async fn standing(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<Login>> {
    query(format!("{} WHERE u.id = $1", login_columns())).bind(user_id).optional(tx).await
}

pub(crate) async fn set_failures(tx: &mut Tx<'_>, user_id: &str, failures: Failures) -> Result<()> {
    query("UPDATE users SET failed_logins = $1, failed_at = $2 WHERE id = $3")
        .bind(failures.count)
        .bind(failures.last)
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes down the day of a login, the first time on that day.
pub(crate) async fn note_active(tx: &mut Tx<'_>, user_id: &str, day: Timestamp) -> Result<()> {
    query("UPDATE users SET last_active_at = $1 WHERE id = $2 AND (last_active_at IS NULL OR last_active_at < $1)")
        .bind(day)
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    grant: &Grant,
    user: &User,
    password: &NewPassword<'_>,
) -> Result<()> {
    rows::insert(tx, grant, user, &conflict(user)).await?;
    if password.hash.is_some() {
        store_password(tx, grant, password, user.created_at).await?;
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

/// What takes the place of a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewPassword<'h> {
    /// `None` takes the password away.
    pub(crate) hash: Option<&'h str>,
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether the user chose it.
    pub(crate) is_own: bool,
    /// How many former ones are remembered.
    pub(crate) kept: u32,
}

impl<'h> NewPassword<'h> {
    /// What the operator of the machine has set: no rule may keep out whoever has to get in. The memory of former
    /// passwords is left to the next change.
    pub(crate) fn of_operator(hash: &'h str) -> NewPassword<'h> {
        NewPassword { hash: Some(hash), expires_at: None, is_own: false, kept: u32::MAX }
    }
}

async fn store_password(tx: &mut Tx<'_>, grant: &Grant, new: &NewPassword<'_>, now: Timestamp) -> Result<()> {
    query(
        "UPDATE users SET password_hash = $1, password_changed_at = $2, password_expires_at = $3,
                          password_is_own = $4, failed_logins = 0, failed_at = NULL WHERE id = $5",
    )
    .bind(new.hash)
    .bind(now)
    .bind(new.expires_at)
    .bind(new.is_own)
    .bind(grant.target())
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends every token of the user that the grant names; says whether there is one, by 1 or 0.
pub(crate) async fn end_tokens(tx: &mut Tx<'_>, grant: &Grant) -> Result<u64> {
    query("UPDATE users SET token_epoch = token_epoch + 1 WHERE id = $1")
        .bind(grant.target())
        .execute(tx)
        .await
}

/// Sets or removes the password; every token of the user ends.
pub(crate) async fn set_password(
    tx: &mut Tx<'_>,
    grant: &Grant,
    new: &NewPassword<'_>,
    now: Timestamp,
) -> Result<()> {
    let latest = "COALESCE((SELECT MAX(number) FROM former_passwords WHERE user_id = $1), 0)";
    query(format!(
        "INSERT INTO former_passwords (user_id, number, password_hash)
         SELECT id, {latest} + 1, password_hash FROM users WHERE id = $1 AND password_hash IS NOT NULL"
    ))
    .bind(grant.target())
    .execute(tx)
    .await?;
    query(format!("DELETE FROM former_passwords WHERE user_id = $1 AND number <= {latest} - $2"))
        .bind(grant.target())
        .bind(new.kept)
        .execute(tx)
        .await?;
    end_tokens(tx, grant).await?;
    store_password(tx, grant, new, now).await
}

/// The hashes of the passwords that this user had, as many as are remembered.
pub(crate) async fn former_passwords(conn: &mut Conn, user_id: &str, count: u32) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        query("SELECT password_hash FROM former_passwords WHERE user_id = $1 ORDER BY number DESC LIMIT $2")
            .bind(user_id)
            .bind(count)
            .all(conn)
            .await?;
    Ok(rows.into_iter().map(|(hash,)| hash).collect())
}

/// Replaces a hash by another one of the same password, unless that was changed meanwhile.
pub(crate) async fn replace_hash(tx: &mut Tx<'_>, user_id: &str, old: &str, new: &str) -> Result<()> {
    query("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
        .bind(new)
        .bind(user_id)
        .bind(old)
        .execute(tx)
        .await?;
    Ok(())
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
        "DELETE FROM former_passwords WHERE user_id = $1",
        "DELETE FROM trusts WHERE trustor_user_id = $1 OR trustee_user_id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
