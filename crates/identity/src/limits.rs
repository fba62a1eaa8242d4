//! Limits: how much of a resource a project may have, and what it is if nobody said. Enforced flat: a limit counts for
//! its project or domain alone.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant, ProjectRef, Scope, Target, TokenScope};
use hanse_store::{Conn, Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Identity;
use crate::catalog::{Region, Service};
use crate::db;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{Project, Site, nullable, or_null};
use crate::resource::{Resource, Verbs};
use crate::row::row;
use crate::verbs::{
    CREATE_LIMITS, CREATE_REGISTERED_LIMITS, DELETE_LIMIT, DELETE_REGISTERED_LIMIT, LIST_LIMITS,
    LIST_REGISTERED_LIMITS, SHOW_LIMIT, SHOW_REGISTERED_LIMIT, UPDATE_LIMIT, UPDATE_REGISTERED_LIMIT,
};

row! {
    RegisteredLimit in "registered_limits" {
        service_id: String,
        /// Empty for all regions.
        region_id: String,
        resource_name: String,
        default_limit: i64,
        description: Option<String>,
    }
}

row! {
    /// Either the project or the domain is empty.
    Limit in "limits" {
        project_id: String,
        domain_id: String,
        service_id: String,
        region_id: String,
        resource_name: String,
        resource_limit: i64,
        description: Option<String>,
    }
}

/// How many one request may make.
const AT_ONCE_MAX: usize = 1000;
/// -1 is no limit. Keystone stops at 32 bits, which is two gigabytes of objects; every client reads numbers of JSON up to 53 bits.
const RANGE: std::ops::RangeInclusive<i64> = -1..=9_007_199_254_740_991;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRegistered {
    service_id: String,
    region_id: Option<String>,
    resource_name: String,
    default_limit: i64,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateRegistered {
    service_id: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    region_id: Option<Option<String>>,
    resource_name: Option<String>,
    default_limit: Option<i64>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateLimit {
    project_id: Option<String>,
    domain_id: Option<String>,
    service_id: String,
    region_id: Option<String>,
    resource_name: String,
    resource_limit: i64,
    description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateLimit {
    resource_limit: Option<i64>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
}

fn checked(name: &str, number: i64, description: Option<&str>) -> Result<()> {
    hanse_core::check_name("resource_name", name)?;
    if !RANGE.contains(&number) {
        return Err(Error::bad_request(format!(
            "A limit is a whole number from -1 (none) to {}.",
            RANGE.end()
        )));
    }
    check_text("description", description.unwrap_or_default(), 4096)
}

/// The service and the region must be there: the client's mistake if not, as in Keystone.
async fn require_place(identity: &Identity, conn: &mut Conn, service: &str, region: &str) -> Result<()> {
    let lacks = |what: &str, id: &str| Error::bad_request(format!("Expecting to find {what} {id}."));
    if !identity.0.catalog.services().iter().any(|known| known.id == service) {
        let found: Option<Service> = db::rows::find(conn, service).await?;
        found.ok_or_else(|| lacks("service", service))?;
    }
    if !region.is_empty() && !identity.0.catalog.regions().iter().any(|known| known.id == region) {
        let found: Option<Region> = db::rows::find(conn, region).await?;
        found.ok_or_else(|| lacks("region", region))?;
    }
    Ok(())
}

#[async_trait]
impl Resource for RegisteredLimit {
    const NOUN: &'static str = "registered_limit";
    const PLURAL: &'static str = "registered_limits";
    const VERBS: Verbs = Verbs {
        create: CREATE_REGISTERED_LIMITS,
        show: SHOW_REGISTERED_LIMIT,
        list: LIST_REGISTERED_LIMITS,
        update: UPDATE_REGISTERED_LIMIT,
        delete: DELETE_REGISTERED_LIMIT,
    };
    type Create = CreateRegistered;
    type Update = UpdateRegistered;

    fn new(cx: &Cx, _: &Caller, id: String, body: CreateRegistered) -> Result<RegisteredLimit> {
        checked(&body.resource_name, body.default_limit, body.description.as_deref())?;
        Ok(RegisteredLimit {
            id,
            service_id: body.service_id,
            region_id: body.region_id.unwrap_or_default(),
            resource_name: body.resource_name,
            default_limit: body.default_limit,
            description: body.description,
            created_at: cx.now(),
        })
    }

    fn change(&mut self, change: &UpdateRegistered) -> Result<()> {
        if let Some(service) = &change.service_id {
            self.service_id.clone_from(service);
        }
        if let Some(region) = &change.region_id {
            self.region_id = region.clone().unwrap_or_default();
        }
        if let Some(name) = &change.resource_name {
            self.resource_name.clone_from(name);
        }
        self.default_limit = change.default_limit.unwrap_or(self.default_limit);
        if let Some(description) = &change.description {
            self.description.clone_from(description);
        }
        checked(&self.resource_name, self.default_limit, self.description.as_deref())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "service_id": self.service_id, "region_id": or_null(&self.region_id),
            "resource_name": self.resource_name, "default_limit": self.default_limit,
            "description": self.description,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(by_text(select, params, &["service_id", "region_id", "resource_name"]))
    }

    /// What limits hang on stays as it is, but for its number and description.
    async fn check(
        &mut self,
        identity: &Identity,
        tx: &mut Tx<'_>,
        old: Option<&RegisteredLimit>,
    ) -> Result<()> {
        require_place(identity, tx, &self.service_id, &self.region_id).await?;
        let Some(old) = old else { return Ok(()) };
        let same = (&old.service_id, &old.region_id, &old.resource_name)
            == (&self.service_id, &self.region_id, &self.resource_name);
        if !same && db::limits::depend(tx, old).await? {
            return Err(in_use(&self.id));
        }
        Ok(())
    }

    async fn clear(&self, tx: &mut Tx<'_>, _: &Grant) -> Result<Vec<Touched>> {
        if db::limits::depend(tx, self).await? {
            return Err(in_use(&self.id));
        }
        Ok(Vec::new())
    }
}

fn in_use(id: &str) -> Error {
    Error::forbidden(format!(
        "Unable to update or delete registered limit {id} because there are project limits associated with it."
    ))
}

#[async_trait]
impl Resource for Limit {
    const NOUN: &'static str = "limit";
    const PLURAL: &'static str = "limits";
    const VERBS: Verbs = Verbs {
        create: CREATE_LIMITS,
        show: SHOW_LIMIT,
        list: LIST_LIMITS,
        update: UPDATE_LIMIT,
        delete: DELETE_LIMIT,
    };
    type Create = CreateLimit;
    type Update = UpdateLimit;

    fn new(cx: &Cx, _: &Caller, id: String, body: CreateLimit) -> Result<Limit> {
        checked(&body.resource_name, body.resource_limit, body.description.as_deref())?;
        let (project_id, domain_id) =
            (body.project_id.unwrap_or_default(), body.domain_id.unwrap_or_default());
        if project_id.is_empty() == domain_id.is_empty() {
            return Err(Error::bad_request("A limit is of a project or of a domain, not of both."));
        }
        Ok(Limit {
            id,
            project_id,
            domain_id,
            service_id: body.service_id,
            region_id: body.region_id.unwrap_or_default(),
            resource_name: body.resource_name,
            resource_limit: body.resource_limit,
            description: body.description,
            created_at: cx.now(),
        })
    }

    fn change(&mut self, change: &UpdateLimit) -> Result<()> {
        self.resource_limit = change.resource_limit.unwrap_or(self.resource_limit);
        if let Some(description) = &change.description {
            self.description.clone_from(description);
        }
        checked(&self.resource_name, self.resource_limit, self.description.as_deref())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "project_id": or_null(&self.project_id), "domain_id": or_null(&self.domain_id),
            "service_id": self.service_id, "region_id": or_null(&self.region_id),
            "resource_name": self.resource_name, "resource_limit": self.resource_limit,
            "description": self.description,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        let columns = ["service_id", "region_id", "resource_name", "project_id", "domain_id"];
        Ok(by_text(select, params, &columns))
    }

    fn visible(select: Select, scope: &Scope) -> Select {
        match scope {
            Scope::All => select,
            Scope::Project(id) => select.eq("project_id", id),
            Scope::Domain(id) => select.and_with(
                "domain_id = ? OR project_id IN (SELECT id FROM projects WHERE domain_id = ?)",
                [id, id],
            ),
            Scope::User(_) => select.and("1 = 0"),
        }
    }

    fn scope(caller: &Caller, verb: hanse_policy::Verb) -> Result<Scope> {
        match (&caller.scope, caller.is_admin() || caller.is_system_reader()) {
            (_, true) => Ok(Scope::All),
            (TokenScope::Project(project), _) => Ok(Scope::Project(project.id.clone())),
            (TokenScope::Domain(domain), _) => Ok(Scope::Domain(domain.id.clone())),
            _ => caller.scope(verb),
        }
    }

    /// There is a limit only of what is registered.
    async fn check(&mut self, identity: &Identity, tx: &mut Tx<'_>, old: Option<&Limit>) -> Result<()> {
        if old.is_some() {
            return Ok(());
        }
        require_place(identity, tx, &self.service_id, &self.region_id).await?;
        for (id, is_domain) in [(&self.project_id, false), (&self.domain_id, true)] {
            let found: Option<Project> = db::rows::find(tx, id).await?;
            if !id.is_empty() && found.is_none_or(|found| found.is_domain != is_domain) {
                return Err(Error::bad_request(format!("Expecting to find project or domain {id}.")));
            }
        }
        if !db::limits::is_registered(tx, self).await? {
            return Err(Error::forbidden(
                "Unable to create a limit that has no corresponding registered limit.",
            ));
        }
        Ok(())
    }
}

/// Creates several at once, all or none.
pub(crate) async fn create_many<R: Resource>(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    bodies: Vec<R::Create>,
) -> Result<Vec<R>> {
    if bodies.is_empty() || bodies.len() > AT_ONCE_MAX {
        return Err(Error::bad_request(format!("One request makes 1 to {AT_ONCE_MAX} limits.")));
    }
    let new: Vec<R> =
        bodies.into_iter().map(|body| R::new(cx, caller, cx.hex_id(), body)).collect::<Result<_>>()?;
    let ids: Vec<&str> = new.iter().map(|row| row.id()).collect();
    let grant = caller.authorize(cx, R::VERBS.create, Target::new(ids.join(",")))?;
    let new = &new;
    identity
        .write(cx, &grant, |tx| {
            Box::pin(async move {
                let mut made = Vec::with_capacity(new.len());
                for row in new {
                    let mut row = row.clone();
                    row.check(identity, tx, None).await?;
                    db::rows::insert_as(tx, row.id(), &row, &row.conflict()).await?;
                    made.push(row);
                }
                Ok((made, db::revision::bump(tx, []).await?))
            })
        })
        .await
}

impl Identity {
    /// Every project with its name, and whether neither it nor anything above it is disabled. Domains are none.
    ///
    /// # Errors
    /// 503 if the database does not answer.
    pub async fn projects(&self, cx: &Cx) -> Result<Vec<(ProjectRef, bool)>> {
        let snapshot = self.0.snapshots.confirmed(cx).await?;
        let projects = snapshot.places().filter(|place| !place.is_domain).filter_map(|place| {
            let domain = snapshot.domain_ref(&place.domain_id)?;
            let id = place.id.to_string();
            let is_live = snapshot.live_site(&Site::Project(id.clone())).is_some();
            Some((ProjectRef { id, name: place.name.clone(), domain }, is_live))
        });
        Ok(projects.collect())
    }

    /// The limits of a project for a type of service (`compute`), by the name of the resource: what was set for it, or
    /// else what is registered. -1 is none. For the `Limits` ports of the other services.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn limits(&self, service_type: &str, project_id: &str) -> Result<BTreeMap<String, i64>> {
        let own = self.0.catalog.services();
        let mut conn = self.0.db.read().await?;
        let mut services: Vec<String> =
            own.iter().filter(|known| known.kind == service_type).map(|known| known.id.clone()).collect();
        let stored: Vec<Service> =
            db::rows::select::<Service>().eq("kind", service_type).all(&mut conn).await?;
        services.extend(stored.into_iter().map(|known| known.id));
        db::limits::of_project(&mut conn, &services, project_id).await
    }
}
