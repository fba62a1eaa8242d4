//! Wire types and handlers: parse, call the verb, shape the answer.

mod application_credentials;
mod assignments;
mod auth;
mod catalog;
mod credentials;
mod domain_config;
mod domains;
mod groups;
mod limits;
mod list;
mod projects;
mod resource;
mod roles;
mod tags;
mod trusts;
mod users;
mod versions;

#[cfg(fuzzing)]
pub(crate) use auth::Request as AuthRequest;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::Identity;
use crate::catalog::{Endpoint, EndpointGroup, Region, Service};
use crate::limits::{Limit, RegisteredLimit};
use crate::model::{Group, Role};
use crate::policies::Policy;

pub(crate) fn routes(identity: Identity) -> Router {
    Router::new()
        .route("/", get(versions::list))
        .route("/v3", get(versions::show))
        .route("/v3/auth/tokens", post(auth::issue).get(auth::show).delete(auth::revoke))
        .route("/v3/auth/catalog", get(auth::catalog))
        .route("/v3/auth/projects", get(projects::list_own))
        .route("/v3/auth/domains", get(domains::list_own))
        .route("/v3/auth/system", get(auth::system))
        .route("/v3/users", get(users::list).post(users::create))
        .route("/v3/users/{user}", get(users::show).patch(users::update).delete(users::delete))
        .route("/v3/users/{user}/password", post(users::change_password))
        .route("/v3/users/{user}/tokens", delete(users::revoke_tokens))
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
        .route("/v3/regions", get(resource::list::<Region>).post(resource::create::<Region>))
        .route(
            "/v3/regions/{id}",
            get(resource::show::<Region>)
                .put(catalog::put_region)
                .patch(resource::update::<Region>)
                .delete(resource::delete::<Region>),
        )
        .route("/v3/services", get(resource::list::<Service>).post(resource::create::<Service>))
        .route(
            "/v3/services/{id}",
            get(resource::show::<Service>)
                .patch(resource::update::<Service>)
                .delete(resource::delete::<Service>),
        )
        .route("/v3/endpoints", get(resource::list::<Endpoint>).post(resource::create::<Endpoint>))
        .route(
            "/v3/endpoints/{id}",
            get(resource::show::<Endpoint>)
                .patch(resource::update::<Endpoint>)
                .delete(resource::delete::<Endpoint>),
        )
        .route("/v3/policies", get(resource::list::<Policy>).post(resource::create::<Policy>))
        .route(
            "/v3/policies/{policy}",
            get(resource::show::<Policy>)
                .patch(resource::update::<Policy>)
                .delete(resource::delete::<Policy>),
        )
        .route(
            "/v3/OS-EP-FILTER/endpoint_groups",
            get(resource::list::<EndpointGroup>).post(resource::create::<EndpointGroup>),
        )
        .route(
            "/v3/OS-EP-FILTER/endpoint_groups/{id}",
            get(resource::show::<EndpointGroup>)
                .patch(resource::update::<EndpointGroup>)
                .delete(resource::delete::<EndpointGroup>),
        )
        .route("/v3/OS-EP-FILTER/endpoint_groups/{id}/endpoints", get(catalog::endpoints_of_group))
        .route("/v3/OS-EP-FILTER/endpoint_groups/{id}/projects", get(catalog::projects_of::<EndpointGroup>))
        .route(
            "/v3/OS-EP-FILTER/endpoint_groups/{id}/projects/{project}",
            get(catalog::show_group_given).put(catalog::give_group).delete(catalog::take_group),
        )
        .route("/v3/OS-EP-FILTER/endpoints/{id}/projects", get(catalog::projects_of::<Endpoint>))
        .route("/v3/OS-EP-FILTER/projects/{project}/endpoints", get(catalog::endpoints_of_project))
        .route("/v3/OS-EP-FILTER/projects/{project}/endpoint_groups", get(catalog::groups_of_project))
        .route(
            "/v3/OS-EP-FILTER/projects/{project}/endpoints/{id}",
            get(catalog::check_given::<Endpoint>)
                .put(catalog::give::<Endpoint>)
                .delete(catalog::take::<Endpoint>),
        )
        .route("/v3/policies/{policy}/OS-ENDPOINT-POLICY/endpoints", get(catalog::endpoints_of_policy))
        .route("/v3/endpoints/{id}/OS-ENDPOINT-POLICY/policy", get(catalog::policy_of_endpoint))
        .route(
            "/v3/policies/{policy}/OS-ENDPOINT-POLICY/endpoints/{endpoint}",
            get(catalog::check_policy).put(catalog::associate).delete(catalog::dissociate),
        )
        .route(
            "/v3/policies/{policy}/OS-ENDPOINT-POLICY/services/{service}",
            get(catalog::check_policy).put(catalog::associate).delete(catalog::dissociate),
        )
        .route(
            "/v3/policies/{policy}/OS-ENDPOINT-POLICY/services/{service}/regions/{region}",
            get(catalog::check_policy).put(catalog::associate).delete(catalog::dissociate),
        )
        .route(
            "/v3/users/{user}/application_credentials",
            get(application_credentials::list).post(application_credentials::create),
        )
        .route(
            "/v3/users/{user}/application_credentials/{id}",
            get(application_credentials::show).delete(application_credentials::delete),
        )
        .route("/v3/users/{user}/access_rules", get(application_credentials::list_rules))
        .route(
            "/v3/users/{user}/access_rules/{id}",
            get(application_credentials::show_rule).delete(application_credentials::delete_rule),
        )
        .route("/v3/credentials", get(credentials::list).post(credentials::create))
        .route(
            "/v3/credentials/{id}",
            get(credentials::show).patch(credentials::update).delete(credentials::delete),
        )
        .route(
            "/v3/users/{user}/credentials/OS-EC2",
            get(credentials::list_ec2).post(credentials::create_ec2),
        )
        .route(
            "/v3/users/{user}/credentials/OS-EC2/{access}",
            get(credentials::show_ec2).delete(credentials::delete_ec2),
        )
        .route("/v3/ec2tokens", post(credentials::ec2_tokens))
        .route("/v3/s3tokens", post(credentials::s3_tokens))
        .route("/v3/OS-TRUST/trusts", get(trusts::list).post(trusts::create))
        .route("/v3/OS-TRUST/trusts/{id}", get(trusts::show).delete(trusts::delete))
        .route("/v3/OS-TRUST/trusts/{id}/roles", get(trusts::list_roles))
        .route("/v3/OS-TRUST/trusts/{id}/roles/{role}", get(trusts::show_role))
        .route(
            "/v3/registered_limits",
            get(resource::list::<RegisteredLimit>).post(limits::create::<RegisteredLimit>),
        )
        .route(
            "/v3/registered_limits/{id}",
            get(resource::show::<RegisteredLimit>)
                .patch(resource::update::<RegisteredLimit>)
                .delete(resource::delete::<RegisteredLimit>),
        )
        .route("/v3/limits", get(resource::list::<Limit>).post(limits::create::<Limit>))
        .route("/v3/limits/model", get(limits::model))
        .route(
            "/v3/limits/{id}",
            get(resource::show::<Limit>).patch(resource::update::<Limit>).delete(resource::delete::<Limit>),
        )
        .route(
            "/v3/domains/{domain}/config",
            get(domain_config::show)
                .put(domain_config::create)
                .patch(domain_config::update)
                .delete(domain_config::delete),
        )
        .route(
            "/v3/domains/{domain}/config/{group}",
            get(domain_config::show).patch(domain_config::update).delete(domain_config::delete),
        )
        .route(
            "/v3/domains/{domain}/config/{group}/{option}",
            get(domain_config::show).patch(domain_config::update).delete(domain_config::delete),
        )
        .route("/v3/domains/config/default", get(domain_config::show_default))
        .route("/v3/domains/config/{group}/default", get(domain_config::show_default))
        .route("/v3/domains/config/{group}/{option}/default", get(domain_config::show_default))
        .with_state(identity)
}
