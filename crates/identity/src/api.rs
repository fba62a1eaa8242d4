//! Wire types and handlers: parse, call the verb, shape the answer.

mod assignments;
mod auth;
mod catalog;
mod domains;
mod list;
mod projects;
mod roles;
mod users;
mod versions;

use axum::Router;
use axum::routing::{get, post};

use crate::Identity;

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
        .route("/v3/projects/{id}", get(projects::show).patch(projects::update).delete(projects::delete))
        .route("/v3/projects/{id}/users/{user}/roles", get(assignments::list_on_project))
        .route(
            "/v3/projects/{id}/users/{user}/roles/{role}",
            get(assignments::check_on_project)
                .put(assignments::create_on_project)
                .delete(assignments::delete_on_project),
        )
        .route("/v3/domains", get(domains::list).post(domains::create))
        .route("/v3/domains/{id}", get(domains::show).patch(domains::update).delete(domains::delete))
        .route("/v3/domains/{id}/users/{user}/roles", get(assignments::list_on_domain))
        .route(
            "/v3/domains/{id}/users/{user}/roles/{role}",
            get(assignments::check_on_domain)
                .put(assignments::create_on_domain)
                .delete(assignments::delete_on_domain),
        )
        .route("/v3/system/users/{user}/roles", get(assignments::list_on_system))
        .route(
            "/v3/system/users/{user}/roles/{role}",
            get(assignments::check_on_system)
                .put(assignments::create_on_system)
                .delete(assignments::delete_on_system),
        )
        .route("/v3/roles", get(roles::list).post(roles::create))
        .route("/v3/roles/{role}", get(roles::show).patch(roles::update).delete(roles::delete))
        .route("/v3/role_assignments", get(assignments::list_all))
        .route("/v3/regions", get(catalog::list_regions))
        .route("/v3/regions/{id}", get(catalog::show_region))
        .route("/v3/services", get(catalog::list_services))
        .route("/v3/services/{id}", get(catalog::show_service))
        .route("/v3/endpoints", get(catalog::list_endpoints))
        .route("/v3/endpoints/{id}", get(catalog::show_endpoint))
        .with_state(identity)
}
