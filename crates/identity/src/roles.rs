//! Roles, and what they imply.

use std::collections::BTreeSet;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant, Scope, Target};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{
    Attributes, Role, check_same_domain, checked_extra, checked_name, duplicate, missing, nullable, or_null,
    set_options,
};
use crate::projects::require_domain;
use crate::resource::{Resource, Verbs};
use crate::verbs::{
    CREATE_IMPLIED_ROLE, CREATE_ROLE, DELETE_IMPLIED_ROLE, DELETE_ROLE, LIST_IMPLIED_ROLES, LIST_ROLES,
    SHOW_IMPLIED_ROLE, SHOW_ROLE, UPDATE_ROLE,
};

/// The role that rules everything: implied by another it would be a way around whoever watches over its assignments.
pub(crate) const ADMIN: &str = "admin";

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    domain_id: Option<String>,
    description: Option<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    domain_id: Option<String>,
    #[serde(default)]
    options: Attributes,
    #[serde(flatten)]
    extra: Attributes,
}

#[async_trait]
impl Resource for Role {
    const NOUN: &'static str = "role";
    const PLURAL: &'static str = "roles";
    const VERBS: Verbs = Verbs {
        create: CREATE_ROLE,
        show: SHOW_ROLE,
        list: LIST_ROLES,
        update: UPDATE_ROLE,
        delete: DELETE_ROLE,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<Role> {
        let mut role = Role {
            id,
            domain_id: body.domain_id.unwrap_or_default(),
            name: checked_name(&body.name)?,
            description: body.description,
            options: Attributes::new(),
            extra: checked_extra(body.extra)?,
            created_at: cx.now(),
        };
        check_text("description", role.description.as_deref().unwrap_or_default(), 255)?;
        set_options(&mut role.options, body.options)?;
        Ok(role)
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        check_same_domain(change.domain_id.as_deref(), &self.domain_id)?;
        set_options(&mut self.options, change.options.clone())?;
        if let Some(name) = &change.name {
            self.name = checked_name(name)?;
        }
        if let Some(description) = &change.description {
            check_text("description", description.as_deref().unwrap_or_default(), 255)?;
            self.description.clone_from(description);
        }
        self.extra.extend(change.extra.clone());
        self.extra = checked_extra(std::mem::take(&mut self.extra))?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "domain_id": or_null(&self.domain_id),
            "description": self.description, "options": self.options,
        })
    }

    /// Without a domain, the roles that are good in all of them.
    fn filter(params: &Params, select: Select) -> Result<Select> {
        let select = by_text(select, params, &["name"]);
        Ok(select.eq("domain_id", params.get("domain_id").unwrap_or_default()))
    }

    /// A domain manager sees what it may assign.
    fn visible(select: Select, scope: &Scope) -> Select {
        match scope {
            Scope::All => select,
            Scope::Domain(_) => select.eq("domain_id", "").any("name", crate::assignments::MANAGED_ROLES),
            _ => select.and("1 = 0"),
        }
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Roles]
    }

    fn conflict(&self) -> String {
        duplicate("role", &self.name, &self.domain_id)
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    fn options(&self) -> Option<&Attributes> {
        Some(&self.options)
    }

    async fn check(&mut self, _: &Identity, tx: &mut Tx<'_>, old: Option<&Role>) -> Result<()> {
        if old.is_none() && !self.domain_id.is_empty() {
            require_domain(tx, &self.domain_id).await?;
        }
        Ok(())
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        let holders = db::assignments::holders(tx, "role_id", &self.id).await?;
        db::roles::clear(tx, grant).await?;
        Ok(holders.iter().map(crate::model::Holder::touched).collect())
    }

    fn may_empty_the_bridge() -> bool {
        true
    }
}

/// A role and the roles that it implies in one step.
pub(crate) struct Inference {
    pub(crate) prior: Role,
    pub(crate) implies: Vec<Role>,
}

async fn require(conn: &mut hanse_store::Conn, id: &str) -> Result<Role> {
    db::rows::find(conn, id).await?.ok_or_else(|| missing("role", id))
}

/// All rules, or those of one role (which may have none).
pub(crate) async fn list_inferences(
    identity: &Identity,
    caller: &Caller,
    prior: Option<&str>,
) -> Result<Vec<Inference>> {
    caller.scope(LIST_IMPLIED_ROLES)?;
    let mut conn = identity.0.db.read().await?;
    let roles = db::roles::all(&mut conn).await?;
    let implications = db::roles::implications(&mut conn).await?;
    drop(conn);
    if let Some(id) = prior
        && !roles.iter().any(|role| role.id == id)
    {
        return Err(missing("role", id));
    }
    let find = |id: &str| roles.iter().find(|role| role.id == id).cloned();
    let inferences = roles.iter().filter(|role| prior.is_none_or(|id| id == role.id)).map(|role| {
        let implied = implications.iter().filter(|(above, _)| *above == role.id);
        Inference { prior: role.clone(), implies: implied.filter_map(|(_, below)| find(below)).collect() }
    });
    Ok(inferences.filter(|rule| prior.is_some() || !rule.implies.is_empty()).collect())
}

/// The two roles, if one implies the other in one step.
///
/// # Errors
/// 404 if it does not.
pub(crate) async fn show_inference(
    identity: &Identity,
    caller: &Caller,
    prior: &str,
    implied: &str,
) -> Result<(Role, Role)> {
    caller.scope(SHOW_IMPLIED_ROLE)?;
    let mut conn = identity.0.db.read().await?;
    let roles = (require(&mut conn, prior).await?, require(&mut conn, implied).await?);
    let known = db::roles::implications(&mut conn).await?;
    if !known.iter().any(|(above, below)| above == prior && below == implied) {
        return Err(missing("implied role", format!("{prior} implies {implied}")));
    }
    Ok(roles)
}

pub(crate) async fn imply(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    prior: &str,
    implied: &str,
) -> Result<()> {
    let grant = caller.authorize(cx, CREATE_IMPLIED_ROLE, Target::new(prior))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let (above, below) = (require(tx, prior).await?, require(tx, implied).await?);
                if below.name == ADMIN && below.domain_id.is_empty() {
                    return Err(Error::forbidden(format!(
                        "The role {implied} is named '{ADMIN}' and must not be implied by another."
                    )));
                }
                if !below.domain_id.is_empty() && above.domain_id.is_empty() {
                    return Err(Error::forbidden(
                        "A role of a domain is implied by roles of domains alone, not by one that is good in all.",
                    ));
                }
                if leads_to(&db::roles::implications(tx).await?, implied, prior) {
                    return Err(Error::bad_request(format!(
                        "Role {prior} cannot imply role {implied}: that would be a circle."
                    )));
                }
                db::roles::imply(tx, grant, implied).await?;
                Ok(((), db::revision::bump(tx, [Touched::Roles]).await?))
            })
        })
        .await
}

/// Whether one role implies another over any number of steps; each does itself.
fn leads_to(implications: &[(String, String)], from: &str, to: &str) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(role) = open.pop() {
        if role == to {
            return true;
        }
        if seen.insert(role) {
            let next = implications.iter().filter(|(above, _)| above == role);
            open.extend(next.map(|(_, below)| below.as_str()));
        }
    }
    false
}

pub(crate) async fn imply_no_more(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    prior: &str,
    implied: &str,
) -> Result<()> {
    let grant = caller.authorize(cx, DELETE_IMPLIED_ROLE, Target::new(prior))?;
    let grant = &grant;
    identity
        .write(cx, grant, |tx| {
            Box::pin(async move {
                if db::roles::imply_no_more(tx, grant, implied).await? == 0 {
                    return Err(missing("implied role", format!("{prior} implies {implied}")));
                }
                Ok(((), db::revision::bump_keeping_an_admin(tx, [Touched::Roles]).await?))
            })
        })
        .await
}
