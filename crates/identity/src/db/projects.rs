//! Projects and domains, which share a table.

use hanse_core::{Page, Result};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Json, Row, Select, Tx, query};

use super::epoch;
use crate::model::{Project, duplicate};
use crate::projects::Filter;
use crate::snapshot::Place;

const COLUMNS: &str = "id, domain_id, parent_id, is_domain, name, description, enabled, tags, options, extra, \
                       token_epoch, created_at";

impl FromRow for Project {
    fn from_row(row: &Row) -> Result<Project> {
        Ok(Project {
            id: row.get("id")?,
            domain_id: row.get("domain_id")?,
            parent_id: row.get("parent_id")?,
            is_domain: row.get("is_domain")?,
            name: row.get("name")?,
            description: row.get("description")?,
            enabled: row.get("enabled")?,
            tags: row.get::<Json<_>>("tags")?.0,
            options: row.get::<Json<_>>("options")?.0,
            extra: row.get::<Json<_>>("extra")?.0,
            token_epoch: row.get("token_epoch")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl FromRow for Place {
    fn from_row(row: &Row) -> Result<Place> {
        Ok(Place {
            id: row.get("id")?,
            domain_id: row.get("domain_id")?,
            is_domain: row.get("is_domain")?,
            name: row.get("name")?,
            enabled: row.get("enabled")?,
            epoch: epoch(row.get("token_epoch")?)?,
        })
    }
}

/// `scope` confines projects to a domain or to one project, and domains to one domain.
fn visible(scope: &Scope, is_domain: bool) -> Select {
    let select = Select::from("projects", COLUMNS).eq("is_domain", is_domain);
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

pub(crate) async fn list(
    conn: &mut Conn,
    scope: &Scope,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Project>, bool)> {
    let mut select = visible(scope, filter.is_domain)
        .eq_some("domain_id", filter.domain_id.as_deref())
        .eq_some("parent_id", filter.parent_id.as_deref())
        .eq_some("name", filter.name.as_deref())
        .eq_some("enabled", filter.enabled);
    if let Some(ids) = &filter.ids {
        select = select.any("id", ids);
    }
    select.page(conn, page).await
}

pub(crate) async fn places(conn: &mut Conn) -> Result<Vec<Place>> {
    query("SELECT id, domain_id, is_domain, name, enabled, token_epoch FROM projects").all(conn).await
}

/// Whether there are projects below it, all or only enabled ones.
pub(crate) async fn has_children(conn: &mut Conn, id: &str, enabled_only: bool) -> Result<bool> {
    let children = Select::from("projects", "id").eq("parent_id", id);
    let children = if enabled_only { children.eq("enabled", true) } else { children };
    children.exists(conn).await
}

/// Inserts it under the id of the grant.
pub(crate) async fn insert(tx: &mut Tx<'_>, grant: &Grant, project: &Project) -> Result<()> {
    query(
        "INSERT INTO projects (id, domain_id, parent_id, is_domain, name, description, enabled, tags, options, extra,
                               token_epoch, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(grant.target())
    .bind(&project.domain_id)
    .bind(&project.parent_id)
    .bind(project.is_domain)
    .bind(&project.name)
    .bind(&project.description)
    .bind(project.enabled)
    .bind(Json(&project.tags))
    .bind(Json(&project.options))
    .bind(Json(&project.extra))
    .bind(project.token_epoch)
    .bind(project.created_at)
    .execute_unique(tx, &conflict(project))
    .await?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx<'_>, grant: &Grant, project: &Project) -> Result<()> {
    query(
        "UPDATE projects SET name = $1, description = $2, enabled = $3, tags = $4, options = $5, extra = $6,
                             token_epoch = $7
         WHERE id = $8",
    )
    .bind(&project.name)
    .bind(&project.description)
    .bind(project.enabled)
    .bind(Json(&project.tags))
    .bind(Json(&project.options))
    .bind(Json(&project.extra))
    .bind(project.token_epoch)
    .bind(grant.target())
    .execute_unique(tx, &conflict(project))
    .await?;
    Ok(())
}

fn conflict(project: &Project) -> String {
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

/// Deletes the project and the roles that were held on it.
pub(crate) async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    query("DELETE FROM role_assignments WHERE scope_kind = 'project' AND scope_id = $1")
        .bind(grant.target())
        .execute(tx)
        .await?;
    query("UPDATE users SET default_project_id = NULL WHERE default_project_id = $1")
        .bind(grant.target())
        .execute(tx)
        .await?;
    query("DELETE FROM projects WHERE id = $1").bind(grant.target()).execute(tx).await?;
    Ok(())
}

/// Deletes the domain with all users, projects and roles in it, and the roles that were held on any of them.
pub(crate) async fn delete_domain(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM role_assignments WHERE actor_kind = 'user'
           AND actor_id IN (SELECT id FROM users WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE scope_kind = 'project'
           AND scope_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM role_assignments WHERE scope_kind = 'domain' AND scope_id = $1",
        "UPDATE users SET default_project_id = NULL
           WHERE default_project_id IN (SELECT id FROM projects WHERE domain_id = $1)",
        "DELETE FROM users WHERE domain_id = $1",
        "DELETE FROM projects WHERE domain_id = $1",
        "DELETE FROM projects WHERE id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
