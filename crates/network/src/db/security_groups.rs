use std::collections::BTreeMap;

use hanse_core::{Cx, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Select, Tx, query};

use super::{check_covers, listing, target};
use crate::error::{conflict, if_conflict};
use crate::listing::{Found, Listing, Table, maybe, number, text};
use crate::model::{RuleRow, SecurityGroupRow};

pub const TABLE: Table = Table {
    name: "security_groups",
    fields: &[
        text("id", "id"),
        text("name", "name"),
        text("description", "description"),
        text("project_id", "project_id"),
        number("revision_number", "revision"),
        number("created_at", "created_at"),
        number("updated_at", "updated_at"),
    ],
    visible: "project_id = {project}",
};

pub const RULES: Table = Table {
    name: "security_group_rules",
    fields: &[
        text("id", "id"),
        text("description", "description"),
        text("project_id", "project_id"),
        text("security_group_id", "security_group_id"),
        text("direction", "direction"),
        text("ethertype", "ethertype"),
        maybe("protocol", "protocol"),
        number("port_range_min", "port_range_min"),
        number("port_range_max", "port_range_max"),
        maybe("remote_ip_prefix", "remote_ip_prefix"),
        maybe("remote_group_id", "remote_group_id"),
        number("created_at", "created_at"),
    ],
    visible: "project_id = {project}",
};

pub async fn list(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<SecurityGroupRow>> {
    let mut found = listing::page(conn, &TABLE, scope, listing).await?;
    with_rules(conn, &mut found.rows).await?;
    Ok(found)
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<SecurityGroupRow>> {
    let Some(row) = listing::show::<SecurityGroupRow>(conn, &TABLE, scope, id).await? else {
        return Ok(None);
    };
    let mut rows = [row];
    with_rules(conn, &mut rows).await?;
    let [row] = rows;
    Ok(Some(row))
}

async fn with_rules(conn: &mut Conn, rows: &mut [SecurityGroupRow]) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.standard.id).collect();
    let select = Select::from("security_group_rules", "*").any("security_group_id", ids);
    let mut rules: BTreeMap<Uuid, Vec<RuleRow>> = BTreeMap::new();
    for rule in select.all::<RuleRow>(conn).await? {
        rules.entry(rule.security_group_id).or_default().push(rule);
    }
    for row in rows {
        row.rules = rules.remove(&row.standard.id).unwrap_or_default();
    }
    Ok(())
}

pub async fn default_of(conn: &mut Conn, project: &str) -> Result<Option<Uuid>> {
    let row: Option<(Uuid,)> =
        query("SELECT id FROM security_groups WHERE default_of = $1").bind(project).optional(conn).await?;
    Ok(row.map(|row| row.0))
}

/// Default groups come into being on behalf of whatever needs one, so the grant may name that.
pub async fn insert(tx: &mut Tx<'_>, grant: &Grant, row: &SecurityGroupRow) -> Result<()> {
    if !row.is_default {
        check_covers(grant, row.standard.id)?;
    }
    query(
        "INSERT INTO security_groups (id, project_id, name, description, default_of, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6, $6)",
    )
    .bind(row.standard.id)
    .bind(&row.standard.project_id)
    .bind(&row.standard.name)
    .bind(&row.standard.description)
    .bind(row.is_default.then(|| row.standard.project_id.clone()))
    .bind(row.standard.created_at)
    .execute(tx)
    .await?;
    for rule in &row.rules {
        insert_rule(tx, grant, rule).await?;
    }
    Ok(())
}

pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, name: &str, description: &str) -> Result<()> {
    query("UPDATE security_groups SET name = $2, description = $3, revision = revision + 1, updated_at = $4 WHERE id = $1")
        .bind(target(grant)?)
        .bind(name)
        .bind(description)
        .bind(cx.now())
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes the group, its rules, and others' rules that name it.
pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM security_groups WHERE id = $1").bind(target(grant)?).execute(tx).await?;
    Ok(())
}

pub async fn is_used(conn: &mut Conn, id: Uuid) -> Result<bool> {
    Select::from("port_security_groups", "port_id").eq("security_group_id", id).exists(conn).await
}

/// Whether a guest is behind a port of the group: then the nodes must know it.
pub async fn guards_guests(conn: &mut Conn, id: Uuid) -> Result<bool> {
    let row: Option<(String,)> = query(
        "SELECT ports.id FROM ports JOIN port_security_groups ON port_security_groups.port_id = ports.id
         WHERE port_security_groups.security_group_id = $1 AND ports.guest_id IS NOT NULL LIMIT 1",
    )
    .bind(id)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

/// The groups whose rules name this one as their remote group.
pub async fn naming(conn: &mut Conn, id: Uuid) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> =
        query("SELECT DISTINCT security_group_id FROM security_group_rules WHERE remote_group_id = $1")
            .bind(id)
            .all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Those of the groups that a project may use.
pub async fn known(conn: &mut Conn, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> =
        Select::from("security_groups", "id").scope(scope).any("id", ids.iter().copied()).all(conn).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn names(conn: &mut Conn, ids: &[Uuid]) -> Result<BTreeMap<Uuid, String>> {
    let rows: Vec<(Uuid, String)> =
        Select::from("security_groups", "id, name").any("id", ids.iter().copied()).all(conn).await?;
    Ok(rows.into_iter().collect())
}

pub async fn list_rules(conn: &mut Conn, scope: &Scope, listing: &Listing) -> Result<Found<RuleRow>> {
    listing::page(conn, &RULES, scope, listing).await
}

pub async fn show_rule(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<RuleRow>> {
    listing::show(conn, &RULES, scope, id).await
}

/// Rules also come into being with their group, so the grant may name that.
pub async fn insert_rule(tx: &mut Tx<'_>, _: &Grant, rule: &RuleRow) -> Result<()> {
    let meaning = rule.meaning();
    let twin: Option<(String,)> =
        query("SELECT id FROM security_group_rules WHERE security_group_id = $1 AND meaning = $2")
            .bind(rule.security_group_id)
            .bind(&meaning)
            .optional(tx)
            .await?;
    if let Some((twin,)) = twin {
        return Err(conflict(
            "SecurityGroupRuleExists",
            format!("Security group rule already exists. Rule id is {twin}."),
        ));
    }
    query(
        "INSERT INTO security_group_rules (id, security_group_id, project_id, description, direction, ethertype,
             protocol, port_range_min, port_range_max, remote_ip_prefix, remote_group_id, meaning, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(rule.id)
    .bind(rule.security_group_id)
    .bind(&rule.project_id)
    .bind(&rule.description)
    .bind(rule.direction.as_str())
    .bind(rule.ethertype.as_str())
    .bind(rule.protocol.clone())
    .bind(rule.port_range_min)
    .bind(rule.port_range_max)
    .bind(rule.remote_ip_prefix.map(|prefix| prefix.to_string()))
    .bind(rule.remote_group_id)
    .bind(meaning)
    .bind(rule.created_at)
    .execute_unique(tx, "Security group rule already exists.")
    .await
    .map_err(|error| if_conflict(error, "SecurityGroupRuleExists"))?;
    Ok(())
}

pub async fn delete_rule(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM security_group_rules WHERE id = $1").bind(target(grant)?).execute(tx).await?;
    Ok(())
}

/// Groups that guard guests.
pub async fn all_used_ids(conn: &mut Conn) -> Result<Vec<Uuid>> {
    let rows: Vec<(Uuid,)> = query(
        "SELECT DISTINCT port_security_groups.security_group_id FROM port_security_groups
         JOIN ports ON ports.id = port_security_groups.port_id WHERE ports.guest_id IS NOT NULL",
    )
    .all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub async fn names_of_project(conn: &mut Conn, project: &str) -> Result<Vec<(Uuid, String)>> {
    Select::from("security_groups", "id, name").eq("project_id", project).all(conn).await
}
