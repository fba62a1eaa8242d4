//! Wire types and handlers: parse, call the verb, shape the answer.

mod assignments;
mod auth;
mod catalog;
mod domains;
mod groups;
mod list;
mod projects;
mod resource;
mod roles;
mod tags;
mod users;
mod versions;

use axum::Router;
use axum::routing::{get, post};

use crate::Identity;
use crate::model::{Group, Role};

pub(crate) fn routes(identity: Identity) -> Router {
    Router::new()
        .route("/", get(versions::list))
        .route("/v3", get(versions::show))
        .route("/v3/", get(versions::show))
        .route("/v3/auth/tokens", post(auth::issue).get(auth::show).delete(auth::revoke))
        .route("/v3/auth/catalog", get(auth::catalog))
        .route("/v3/auth/projects", get(projects::list_own))
        .route("/v3/auth/domains", get(domains::list_own))
        .route("/v3/auth/system", get(auth::system))
        .route("/v3/users", get(users::list).post(users::create))
        .route("/v3/users/{user}", get(users::show).patch(users::update).delete(users::delete))
        .route("/v3/users/{user}/password", post(users::change_password))
        .route("/v3/users/{user}/projects", get(projects::list_of_user))
        .route("/v3/projects", get(projects::list).post(projects::create))
        .route("/v3/projects/{project}", get(projects::show).patch(projects::update).delete(projects::delete))
        .route("/v3/projects/{project}/tags", get(tags::list).put(tags::replace).delete(tags::clear))
        .route("/v3/projects/{project}/tags/{tag}", get(tags::check).put(tags::create).delete(tags::delete))
        .route("/v3/domains", get(domains::list).post(domains::create))
        .route("/v3/domains/{domain}", get(domains::show).patch(domains::update).delete(domains::delete))
        .route("/v3/projects/{project}/users/{user}/roles", get(assignments::list))
        .route(
            "/v3/projects/{project}/users/{user}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/projects/{project}/groups/{group}/roles", get(assignments::list))
        .route(
            "/v3/projects/{project}/groups/{group}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/domains/{domain}/users/{user}/roles", get(assignments::list))
        .route(
            "/v3/domains/{domain}/users/{user}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/domains/{domain}/groups/{group}/roles", get(assignments::list))
        .route(
            "/v3/domains/{domain}/groups/{group}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/system/users/{user}/roles", get(assignments::list))
        .route(
            "/v3/system/users/{user}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/system/groups/{group}/roles", get(assignments::list))
        .route(
            "/v3/system/groups/{group}/roles/{role}",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route(
            "/v3/OS-INHERIT/projects/{project}/users/{user}/roles/{role}/inherited_to_projects",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route(
            "/v3/OS-INHERIT/projects/{project}/groups/{group}/roles/{role}/inherited_to_projects",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/inherited_to_projects",
            get(assignments::list),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/inherited_to_projects",
            get(assignments::list),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/{role}/inherited_to_projects",
            get(assignments::check).put(assignments::create).delete(assignments::delete),
        )
        .route("/v3/groups", get(resource::list::<Group>).post(resource::create::<Group>))
        .route(
            "/v3/groups/{id}",
            get(resource::show::<Group>).patch(resource::update::<Group>).delete(resource::delete::<Group>),
        )
        .route("/v3/groups/{group}/users", get(groups::list_members))
        .route(
            "/v3/groups/{group}/users/{user}",
            get(groups::check_member).put(groups::add_member).delete(groups::remove_member),
        )
        .route("/v3/users/{user}/groups", get(groups::list_of_user))
        .route("/v3/roles", get(resource::list::<Role>).post(resource::create::<Role>))
        .route(
            "/v3/roles/{role}",
            get(resource::show::<Role>).patch(resource::update::<Role>).delete(resource::delete::<Role>),
        )
        .route("/v3/roles/{role}/implies", get(roles::list_implied))
        .route(
            "/v3/roles/{role}/implies/{implied}",
            get(roles::show_implied)
                .head(roles::check_implied)
                .put(roles::imply)
                .delete(roles::imply_no_more),
        )
        .route("/v3/role_inferences", get(roles::list_inferences))
        .route("/v3/role_assignments", get(assignments::list_all))
        .route("/v3/regions", get(catalog::list_regions))
        .route("/v3/regions/{id}", get(catalog::show_region))
        .route("/v3/services", get(catalog::list_services))
        .route("/v3/services/{id}", get(catalog::show_service))
        .route("/v3/endpoints", get(catalog::list_endpoints))
        .route("/v3/endpoints/{id}", get(catalog::show_endpoint))
        .with_state(identity)
}
