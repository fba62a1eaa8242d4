use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Error, Result};
use hanse_web::{Call, Params, Reply};
use http::StatusCode;
use serde_json::{Value, json};

use super::{list, roles};
use crate::Identity;
use crate::assignments::{self, Filter, Held};
use crate::model::{Assignment, Site};
use crate::snapshot::Snapshot;

fn assignment(site: Site, user_id: String, role_id: String) -> Assignment {
    Assignment { user_id, site, role_id }
}

/// `projects/P`, `domains/D` or `system`.
fn site_path(site: &Site) -> String {
    match site {
        Site::Project(id) => format!("projects/{id}"),
        Site::Domain(id) => format!("domains/{id}"),
        Site::System => "system".to_owned(),
    }
}

async fn list_at(
    identity: &Identity,
    call: &Call,
    params: &Params,
    site: Site,
    user: &str,
) -> Reply<Json<Value>> {
    let path = format!("{}/users/{user}/roles", site_path(&site));
    let page = list::page(params)?;
    let (found, more) = assignments::list(identity, &call.caller, user, site, &page).await?;
    let rows = found.iter().map(|role| roles::view(identity, role)).collect();
    Ok(list::view(identity, params, &path, "roles", rows, more))
}

/// The four handlers of one kind of scope. `$path` is what stands in the URL before the role, `$site` what it names.
macro_rules! handlers {
    ($list:ident, $check:ident, $create:ident, $delete:ident, ($($part:ident),*) => $site:expr) => {
        pub(crate) async fn $list(
            State(identity): State<Identity>,
            call: Call,
            Path(($($part,)* user,)): Path<($(handlers!(@string $part),)* String,)>,
            params: Params,
        ) -> Reply<Json<Value>> {
            list_at(&identity, &call, &params, $site, &user).await
        }

        pub(crate) async fn $check(
            State(identity): State<Identity>,
            call: Call,
            Path(($($part,)* user, role)): Path<($(handlers!(@string $part),)* String, String)>,
        ) -> Reply<StatusCode> {
            assignments::check(&identity, &call.caller, &assignment($site, user, role)).await?;
            Ok(StatusCode::NO_CONTENT)
        }

        pub(crate) async fn $create(
            State(identity): State<Identity>,
            call: Call,
            Path(($($part,)* user, role)): Path<($(handlers!(@string $part),)* String, String)>,
        ) -> Reply<StatusCode> {
            assignments::create(&identity, &call.cx, &call.caller, &assignment($site, user, role)).await?;
            Ok(StatusCode::NO_CONTENT)
        }

        pub(crate) async fn $delete(
            State(identity): State<Identity>,
            call: Call,
            Path(($($part,)* user, role)): Path<($(handlers!(@string $part),)* String, String)>,
        ) -> Reply<StatusCode> {
            assignments::delete(&identity, &call.cx, &call.caller, &assignment($site, user, role)).await?;
            Ok(StatusCode::NO_CONTENT)
        }
    };
    (@string $part:ident) => { String };
}

handlers!(list_on_project, check_on_project, create_on_project, delete_on_project, (id) => Site::Project(id));
handlers!(list_on_domain, check_on_domain, create_on_domain, delete_on_domain, (id) => Site::Domain(id));
handlers!(list_on_system, check_on_system, create_on_system, delete_on_system, () => Site::System);

fn filter(params: &Params) -> Result<Option<Filter>> {
    if params.flag("include_subtree")? == Some(true) {
        return Err(Error::not_implemented("Role assignments of a whole subtree are not supported."));
    }
    // There are no groups and nothing is inherited, so that nothing of either is assigned.
    if params.has("group.id") || params.has("scope.OS-INHERIT:inherited_to") {
        return Ok(None);
    }
    let places = [
        params.get("scope.project.id").map(|id| Site::Project(id.to_owned())),
        params.get("scope.domain.id").map(|id| Site::Domain(id.to_owned())),
        params.has("scope.system").then_some(Site::System),
    ];
    let mut sites = places.into_iter().flatten();
    let site = sites.next();
    if sites.next().is_some() {
        return Err(Error::bad_request(
            "Filter by one of scope.project.id, scope.domain.id and scope.system.",
        ));
    }
    Ok(Some(Filter {
        user_id: params.get("user.id").map(str::to_owned),
        role_id: params.get("role.id").map(str::to_owned),
        site,
        effective: params.flag("effective")?.unwrap_or(false),
    }))
}

fn view(identity: &Identity, snapshot: &Snapshot, held: &Held, names: bool) -> Value {
    let Held { held, through } = held;
    let mut user = json!({ "id": held.user_id });
    let mut role = json!({ "id": held.role_id });
    let mut place = json!({ "id": held.site.columns().1 });
    if names {
        let domain = |id: &str| match snapshot.domain_ref(id) {
            Some(domain) => json!({ "id": domain.id, "name": domain.name }),
            None => Value::Null,
        };
        if let Some(person) = snapshot.person(&held.user_id) {
            user = json!({ "id": person.id, "name": person.name, "domain": domain(&person.domain_id) });
        }
        if let Some(known) = snapshot.role(&held.role_id) {
            role = json!({ "id": known.id, "name": known.name });
        }
        match &held.site {
            Site::Project(id) => {
                if let Some(known) = snapshot.project(id) {
                    place = json!({
                        "id": known.id, "name": known.name, "domain": domain(&known.domain_id),
                    });
                }
            }
            Site::Domain(id) => place = domain(id),
            Site::System => {}
        }
    }
    let scope = match &held.site {
        Site::Project(_) => json!({ "project": place }),
        Site::Domain(_) => json!({ "domain": place }),
        Site::System => json!({ "system": { "all": true } }),
    };
    let link = |path: String| identity.0.catalog.link(&path);
    let (site, user_id) = (site_path(&through.site), &through.user_id);
    let mut links = json!({
        "assignment": link(format!("{site}/users/{user_id}/roles/{}", through.role_id)),
    });
    if held != through {
        links["prior_role"] = json!(link(format!("roles/{}", through.role_id)));
    }
    json!({ "role": role, "user": user, "scope": scope, "links": links })
}

pub(crate) async fn list_all(
    State(identity): State<Identity>,
    call: Call,
    params: Params,
) -> Reply<Json<Value>> {
    let names = params.flag("include_names")?.unwrap_or(false);
    let nothing_is = Filter { user_id: Some(String::new()), ..Filter::default() };
    let filter = filter(&params)?.unwrap_or(nothing_is);
    let (found, snapshot) = assignments::list_all(&identity, &call.cx, &call.caller, &filter).await?;
    let rows = found.iter().map(|held| view(&identity, &snapshot, held, names)).collect();
    Ok(list::view(&identity, &params, "role_assignments", "role_assignments", rows, false))
}
