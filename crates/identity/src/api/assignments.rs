//! Grants, on every kind of place and for every kind of holder, and the list of all of them.

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use hanse_core::{Error, Result};
use hanse_web::{Call, Failure, Params, Reply};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

use super::{list, resource};
use crate::Identity;
use crate::assignments::{self, Spot};
use crate::model::{Assignment, Holder, Site};
use crate::snapshot::{Filter, Held, Snapshot};

/// What the path of a grant names, with the role if it names one.
pub(crate) struct Named {
    spot: Spot,
    role: Option<String>,
}

impl Named {
    fn assignment(self) -> Result<Assignment> {
        let role = self.role.ok_or_else(|| Error::internal("a grant's path without a role"))?;
        Ok(self.spot.with(role))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Failure> {
        let lost = || Error::internal("a grant's path without what it must name");
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| lost())?;
        let get = |key: &str| params.iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned());
        let site = match (get("project"), get("domain")) {
            (Some(id), _) => Site::Project(id),
            (None, Some(id)) => Site::Domain(id),
            (None, None) => Site::System,
        };
        let user = get("user").map(Holder::User);
        let holder = user.or_else(|| get("group").map(Holder::Group)).ok_or_else(lost)?;
        let inherited = parts.uri.path().ends_with("/inherited_to_projects");
        Ok(Named { spot: Spot { holder, site, inherited }, role: get("role") })
    }
}

/// `projects/P/users/U/roles`
fn path(site: &Site, holder: &Holder) -> String {
    let (kind, id) = holder.columns();
    let place = match site {
        Site::Project(id) => format!("projects/{id}"),
        Site::Domain(id) => format!("domains/{id}"),
        Site::System => "system".to_owned(),
    };
    format!("{place}/{kind}s/{id}/roles")
}

fn full_path(assignment: &Assignment) -> String {
    let path = format!("{}/{}", path(&assignment.site, &assignment.holder), assignment.role_id);
    if assignment.inherited { format!("OS-INHERIT/{path}/inherited_to_projects") } else { path }
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    call: Call,
    Named { spot, .. }: Named,
    params: Params,
) -> Reply<Json<Value>> {
    let page = list::page(&params)?;
    let (found, more) = assignments::list(&identity, &call.cx, &call.caller, &spot, &page).await?;
    let rows = found.iter().map(|role| resource::view(&identity, role)).collect();
    let path = path(&spot.site, &spot.holder);
    let path = if spot.inherited { format!("OS-INHERIT/{path}/inherited_to_projects") } else { path };
    Ok(list::view(&identity, &params, &path, "roles", rows, more))
}

pub(crate) async fn check(State(identity): State<Identity>, call: Call, named: Named) -> Reply<StatusCode> {
    assignments::check(&identity, &call.cx, &call.caller, &named.assignment()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn create(State(identity): State<Identity>, call: Call, named: Named) -> Reply<StatusCode> {
    assignments::create(&identity, &call.cx, &call.caller, &named.assignment()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn delete(State(identity): State<Identity>, call: Call, named: Named) -> Reply<StatusCode> {
    assignments::delete(&identity, &call.cx, &call.caller, &named.assignment()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn filter(params: &Params) -> Result<Filter> {
    let places = [
        params.get("scope.project.id").map(|id| Site::Project(id.to_owned())),
        params.get("scope.domain.id").map(|id| Site::Domain(id.to_owned())),
        params.has("scope.system").then_some(Site::System),
    ];
    let mut sites = places.into_iter().flatten();
    let site = sites.next();
    if sites.next().is_some() {
        return Err(Error::bad_request("Specify one of a domain, a project and the system, not several."));
    }
    let filter = Filter {
        user_id: params.get("user.id").map(str::to_owned),
        group_id: params.get("group.id").map(str::to_owned),
        role_id: params.get("role.id").map(str::to_owned),
        site,
        holders: None,
        subtree: params.flag("include_subtree")?.unwrap_or(false),
        inherited: params.get("scope.OS-INHERIT:inherited_to").map(|to| to == "projects"),
        effective: params.flag("effective")?.unwrap_or(false),
        domain_id: None,
    };
    let refusal = if filter.user_id.is_some() && filter.group_id.is_some() {
        "Specify a user or group, not both."
    } else if filter.effective && filter.group_id.is_some() {
        "Combining effective and group filter will always result in an empty list."
    } else if filter.effective
        && filter.inherited == Some(true)
        && matches!(filter.site, Some(Site::Domain(_)))
    {
        "Combining effective, domain and inherited filters will always result in an empty list."
    } else if filter.subtree && !matches!(filter.site, Some(Site::Project(_))) {
        "scope.project.id must be specified if include_subtree is also specified."
    } else {
        return Ok(filter);
    };
    Err(Error::bad_request(refusal))
}

/// Names beside the ids, as far as there still is what has them.
struct Names<'s>(Option<&'s Snapshot>);

impl Names<'_> {
    fn domain(&self, id: &str) -> Value {
        match self.0.and_then(|snapshot| snapshot.domain_ref(id)) {
            Some(domain) => json!({ "id": domain.id, "name": domain.name }),
            None => json!({ "id": id }),
        }
    }

    fn of(&self, id: &str, known: Option<(&str, &str)>) -> Value {
        match known {
            Some((name, domain)) => json!({ "id": id, "name": name, "domain": self.domain(domain) }),
            None => json!({ "id": id }),
        }
    }

    fn holder(&self, holder: &Holder) -> Value {
        match holder {
            Holder::User(id) => {
                let known = self.0.and_then(|snapshot| snapshot.person(id));
                self.of(id, known.map(|person| (person.name.as_str(), &*person.domain_id)))
            }
            Holder::Group(id) => {
                let known = self.0.and_then(|snapshot| snapshot.group(id));
                self.of(id, known.map(|group| (group.name.as_str(), &*group.domain_id)))
            }
        }
    }

    fn role(&self, id: &str) -> Value {
        match self.0.and_then(|snapshot| snapshot.role(id)) {
            Some(role) if role.domain_id.is_empty() => json!({ "id": id, "name": role.name }),
            Some(role) => json!({ "id": id, "name": role.name, "domain": self.domain(&role.domain_id) }),
            None => json!({ "id": id }),
        }
    }

    fn site(&self, site: &Site) -> Value {
        match site {
            Site::System => json!({ "system": { "all": true } }),
            Site::Domain(id) => json!({ "domain": self.domain(id) }),
            Site::Project(id) => {
                let known = self.0.and_then(|snapshot| snapshot.project(id));
                json!({ "project": self.of(id, known.map(|place| (place.name.as_str(), &*place.domain_id))) })
            }
        }
    }
}

fn view(identity: &Identity, names: &Names<'_>, line: &Held) -> Value {
    let Held { held, through } = line;
    let link = |path: &str| Value::String(identity.0.catalog.link(path));
    let mut links = json!({ "assignment": link(&full_path(through)) });
    if let (Holder::User(user), Holder::Group(group)) = (&held.holder, &through.holder) {
        links["membership"] = link(&format!("groups/{group}/users/{user}"));
    }
    if held.role_id != through.role_id {
        // The implied role first: so Keystone writes it.
        links["prior_role"] = link(&format!("prior_role/{}/implies/{}", held.role_id, through.role_id));
    }
    let mut scope = names.site(&held.site);
    if through.inherited {
        scope["OS-INHERIT:inherited_to"] = json!("projects");
    }
    let holder = held.holder.columns().0;
    json!({
        "role": names.role(&held.role_id), holder: names.holder(&held.holder), "scope": scope, "links": links,
    })
}

pub(crate) async fn list_all(
    State(identity): State<Identity>,
    call: Call,
    params: Params,
) -> Reply<Json<Value>> {
    let limit = if params.has("limit") { Some(list::page(&params)?.limit) } else { None };
    let (found, more, snapshot) = assignments::list_all(
        &identity,
        &call.cx,
        &call.caller,
        filter(&params)?,
        params.get("marker"),
        limit,
    )
    .await?;
    let names = Names(params.flag("include_names")?.unwrap_or(false).then_some(snapshot.as_ref()));
    let rows = found.iter().map(|line| view(&identity, &names, line)).collect();
    let marker = found.last().filter(|_| more).map(Held::key);
    Ok(list::after(&identity, &params, "role_assignments", "role_assignments", rows, marker.as_deref()))
}
