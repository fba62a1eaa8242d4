//! Who is in which group.

use hanse_core::{Page, Result};
use hanse_policy::Grant;
use hanse_store::{Conn, Select, Tx, in_list, query};
use hanse_web::Params;

use super::rows::select;
use crate::model::{Group, User};
use crate::resource::Resource;

pub(crate) async fn some(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<Group>> {
    match ids {
        None => select::<Group>().all(conn).await,
        Some(ids) => select::<Group>().any("id", ids).all(conn).await,
    }
}

/// Pairs of group and user; of all users, or of these.
pub(crate) async fn memberships(conn: &mut Conn, users: Option<&[String]>) -> Result<Vec<(String, String)>> {
    let sql = "SELECT group_id, user_id FROM group_members";
    match users {
        None => query(sql).all(conn).await,
        Some(users) => {
            let sql = format!("{sql} WHERE {}", in_list("user_id", 1, users.len()));
            users.iter().fold(query(sql), hanse_store::Query::bind).all(conn).await
        }
    }
}

/// The ids of all who are in any of these groups.
pub(crate) async fn members(conn: &mut Conn, groups: &[String]) -> Result<Vec<String>> {
    let mut members = Vec::new();
    for some in groups.chunks(500) {
        let select = Select::from("group_members", "DISTINCT user_id").any("group_id", some);
        members.extend(select.unordered::<(String,)>(conn).await?.into_iter().map(|(id,)| id));
    }
    Ok(members)
}

pub(crate) async fn users(
    conn: &mut Conn,
    group_id: &str,
    params: &Params,
    page: &Page,
) -> Result<(Vec<User>, bool)> {
    let members =
        select::<User>().and_with("id IN (SELECT user_id FROM group_members WHERE group_id = ?)", [group_id]);
    super::users::narrowed(members, params)?.page(conn, page).await
}

pub(crate) async fn of_user(
    conn: &mut Conn,
    user_id: &str,
    params: &Params,
    page: &Page,
) -> Result<(Vec<Group>, bool)> {
    let own =
        select::<Group>().and_with("id IN (SELECT group_id FROM group_members WHERE user_id = ?)", [user_id]);
    Group::filter(params, own)?.page(conn, page).await
}

pub(crate) async fn is_member(conn: &mut Conn, group_id: &str, user_id: &str) -> Result<bool> {
    let row: Option<(i64,)> =
        query("SELECT CAST(1 AS BIGINT) FROM group_members WHERE group_id = $1 AND user_id = $2")
            .bind(group_id)
            .bind(user_id)
            .optional(conn)
            .await?;
    Ok(row.is_some())
}

/// Puts a user into the group that the grant names.
pub(crate) async fn add(tx: &mut Tx<'_>, grant: &Grant, user_id: &str) -> Result<()> {
    query("INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(grant.target())
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

pub(crate) async fn remove(tx: &mut Tx<'_>, grant: &Grant, user_id: &str) -> Result<u64> {
    query("DELETE FROM group_members WHERE group_id = $1 AND user_id = $2")
        .bind(grant.target())
        .bind(user_id)
        .execute(tx)
        .await
}

/// Empties the group that the grant names, and takes its roles.
pub(crate) async fn clear(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM group_members WHERE group_id = $1",
        "DELETE FROM role_assignments WHERE actor_kind = 'group' AND actor_id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
