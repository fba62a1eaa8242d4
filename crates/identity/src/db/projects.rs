//! Projects and domains, which share a table.

use hanse_core::{Page, Result};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, Select, Tx, query};

use hanse_web::Params;

use super::rows::select;
use crate::auth::DomainNamed;
use crate::filters::{by_flag, by_text};
use crate::model::{Project, duplicate};
use crate::projects::Filter;

/// `scope` confines projects to a domain or to one project, and domains to one domain.
fn visible(scope: &Scope, is_domain: bool) -> Select {
    let select = select::<Project>().eq("is_domain", is_domain);
    match scope {
        Scope::All => select,
        Scope::Domain(id) if is_domain => select.eq("id", id),
        Scope::Domain(id) => select.eq("domain_id", id),
        Scope::Project(id) => select.eq("id", id),
        Scope::User(_) => select.and("1 = 0"),
    }
}

pub(crate) async fn show(
    conn: &mut Conn,
    scope: &Scope,
    is_domain: bool,
    id: &str,
) -> Result<Option<Project>> {
    visible(scope, is_domain).eq("id", id).optional(conn).await
}

impl DomainNamed {
    /// The column that tells it from others, and what stands there.
    pub(super) fn column(&self) -> (&'static str, &str) {
        match self {
            DomainNamed::Id(id) => ("id", id),
            DomainNamed::Name(name) => ("name", name),
        }
    }
}

/// The id of the domain, if there is one.
pub(crate) async fn domain_id(conn: &mut Conn, domain: &DomainNamed) -> Result<Option<String>> {
    let (column, value) = domain.column();
    let row: Option<(String,)> =
        query(format!("SELECT id FROM projects WHERE is_domain = 1 AND {column} = $1"))
            .bind(value)
            .optional(conn)
            .await?;
    Ok(row.map(|(id,)| id))
}

/// The id of the project of that name in a domain.
pub(crate) async fn named(conn: &mut Conn, domain: &DomainNamed, name: &str) -> Result<Option<String>> {
    let (column, value) = domain.column();
    let row: Option<(String,)> = query(format!(
        "SELECT p.id FROM projects p JOIN projects d ON d.id = p.domain_id AND d.is_domain = 1
         WHERE p.is_domain = 0 AND d.{column} = $1 AND p.name = $2"
    ))
    .bind(value)
    .bind(name)
    .optional(conn)
    .await?;
    Ok(row.map(|(id,)| id))
}

pub(crate) async fn list(
    conn: &mut Conn,
    scope: &Scope,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Project>, bool)> {
    let params = &filter.params;
    let select = by_text(visible(scope, filter.is_domain), params, &["domain_id", "parent_id", "name"]);
    let mut select = by_tags(by_flag(select, params, "enabled")?, params);
    if let Some(ids) = &filter.ids {
        select = select.any("id", ids);
    }
    select.page(conn, page).await
}

/// `tags` and `tags-any`, and what has not: `not-tags` and `not-tags-any`; each a list separated by commas.
fn by_tags(mut select: Select, params: &Params) -> Select {
    for (key, joint, not) in [
        ("tags", " AND ", ""),
        ("tags-any", " OR ", ""),
        ("not-tags", " AND ", "NOT "),
        ("not-tags-any", " OR ", "NOT "),
    ] {
        let Some(tags) = params.get(key) else { continue };
        // A tag has no comma, so that what follows one in the column is a tag's begin; so is what follows the bracket.
        let has = "(substr(tags, 1, length(?)) = ? OR replace(tags, ?, '') <> tags)";
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        for tag in tags.split(',') {
            let tag = serde_json::Value::from(tag).to_string();
            conditions.push(has);
            values.extend([format!("[{tag}"), format!("[{tag}"), format!(",{tag}")]);
        }
        select = select.and_with(&format!("{not}({})", conditions.join(joint)), values);
    }
    select
}

/// Everything below a project, what is above always before what is below it.
pub(crate) async fn below(conn: &mut Conn, id: &str) -> Result<Vec<Project>> {
    let mut found: Vec<Project> = Vec::new();
    let mut above = vec![id.to_owned()];
    while !above.is_empty() {
        let next: Vec<Project> = select::<Project>().any("parent_id", &above).all(conn).await?;
        above = next.iter().map(|project| project.id.clone()).collect();
        found.extend(next);
    }
    Ok(found)
}

/// Projects and domains; `None` for all.
pub(crate) async fn places(conn: &mut Conn, ids: Option<&[String]>) -> Result<Vec<Project>> {
    match ids {
        None => select::<Project>().all(conn).await,
        Some(ids) => select::<Project>().any("id", ids).all(conn).await,
    }
}

/// Whether there are projects below it, all or only enabled ones.
pub(crate) async fn has_children(conn: &mut Conn, id: &str, enabled_only: bool) -> Result<bool> {
    let children = Select::from("projects", "id").eq("parent_id", id);
    let children = if enabled_only { children.eq("enabled", true) } else { children };
    children.exists(conn).await
}

pub(crate) fn conflict(project: &Project) -> String {
    let what = if project.is_domain { "domain" } else { "project" };
    duplicate(what, &project.name, &project.domain_id)
}

/// Ends every token of the users and for the projects of the domain that the grant names.
pub(crate) async fn end_tokens_of_domain(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for table in ["users", "projects"] {
        query(format!("UPDATE {table} SET token_epoch = token_epoch + 1 WHERE domain_id = $1"))
            .bind(grant.target())
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Deletes a project that is, or is below, what a grant names, and the roles that were held on it.
pub(crate) async fn delete(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE scope_kind = 'project' AND scope_id = $1",
        "UPDATE users SET default_project_id = NULL WHERE default_project_id = $1",
        "DELETE FROM application_credentials WHERE project_id = $1",
        "DELETE FROM credentials WHERE project_id = $1",
        "DELETE FROM trusts WHERE project_id = $1",
        "DELETE FROM limits WHERE project_id = $1",
        "DELETE FROM associations WHERE kind IN ('project_endpoint', 'project_endpoint_group') AND subject = $1",
        "DELETE FROM projects WHERE id = $1",
    ] {
        query(sql).bind(id).execute(tx).await?;
    }
    Ok(())
}

/// Deletes the domain with all users, projects and roles in it, and the roles that were held on any of them.
pub(crate) async fn delete_domain(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE actor_kind = 'user'
           AND actor_id IN (SELECT id FROM users WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE actor_kind = 'group'
           AND actor_id IN (SELECT id FROM user_groups WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE role_id IN (SELECT id FROM roles WHERE domain_id = $1)",
        "DELETE FROM implied_roles WHERE prior_role_id IN (SELECT id FROM roles WHERE domain_id = $1)",
        "DELETE FROM implied_roles WHERE implied_role_id IN (SELECT id FROM roles WHERE domain_id = $1)",
        "DELETE FROM group_members WHERE group_id IN (SELECT id FROM user_groups WHERE domain_id = $1)",
        "DELETE FROM group_members WHERE user_id IN (SELECT id FROM users WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE scope_kind = 'project'
           AND scope_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE scope_kind = 'domain' AND scope_id = $1",
        "UPDATE users SET default_project_id = NULL
           WHERE default_project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM application_credentials WHERE user_id IN (SELECT id FROM users WHERE domain_id = $1)
           OR project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM access_rules WHERE user_id IN (SELECT id FROM users WHERE domain_id = $1)",
        "DELETE FROM credentials WHERE user_id IN (SELECT id FROM users WHERE domain_id = $1)
           OR project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM totp_steps WHERE user_id IN (SELECT id FROM users WHERE domain_id = $1)",
        "DELETE FROM trusts WHERE trustor_user_id IN (SELECT id FROM users WHERE domain_id = $1)
           OR trustee_user_id IN (SELECT id FROM users WHERE domain_id = $1)
           OR project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM associations WHERE kind IN ('project_endpoint', 'project_endpoint_group')
           AND subject IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM limits WHERE domain_id = $1
           OR project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM domain_options WHERE domain_id = $1",
        "DELETE FROM user_groups WHERE domain_id = $1",
        "DELETE FROM roles WHERE domain_id = $1",
        "DELETE FROM users WHERE domain_id = $1",
        "DELETE FROM projects WHERE domain_id = $1",
        "DELETE FROM projects WHERE id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
