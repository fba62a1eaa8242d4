//! Every route as everybody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, clouds, in_project};

/// What nobody, a reader, a member, a manager (of another project than the objects belong to), the manager of another
/// domain, a reader of the system and an admin get. `{project}`, `{user}`, … stand for objects that are none of theirs.
pub const ROUTES: &[(&str, &str, [u16; 7])] = &[
    ("GET", "", [300, 300, 300, 300, 300, 300, 300]),
    ("GET", "/v3", [200, 200, 200, 200, 200, 200, 200]),
    ("POST", "/v3/auth/tokens", [400, 400, 400, 400, 400, 400, 400]),
    ("GET", "/v3/auth/tokens", [401, 404, 404, 404, 404, 404, 404]),
    ("HEAD", "/v3/auth/tokens", [401, 404, 404, 404, 404, 404, 404]),
    ("DELETE", "/v3/auth/tokens", [401, 404, 404, 404, 404, 404, 404]),
    ("GET", "/v3/auth/catalog", [401, 200, 200, 200, 403, 403, 200]),
    ("GET", "/v3/auth/projects", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/auth/domains", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/auth/system", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/users", [401, 403, 403, 403, 200, 200, 200]),
    ("POST", "/v3/users", [401, 403, 403, 403, 201, 403, 201]),
    ("GET", "/v3/users/{user}", [401, 404, 404, 404, 404, 200, 200]),
    ("PATCH", "/v3/users/{user}", [401, 403, 403, 403, 404, 403, 200]),
    ("GET", "/v3/users/{user}/projects", [401, 404, 404, 404, 404, 200, 200]),
    ("POST", "/v3/users/{user}/password", [401, 401, 401, 401, 401, 401, 401]),
    ("DELETE", "/v3/users/{user}/tokens", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/projects", [401, 403, 403, 403, 200, 200, 200]),
    ("POST", "/v3/projects", [401, 403, 403, 403, 201, 403, 201]),
    ("GET", "/v3/projects/{project}", [401, 404, 404, 404, 404, 200, 200]),
    ("PATCH", "/v3/projects/{project}", [401, 403, 403, 403, 404, 403, 200]),
    ("GET", "/v3/domains", [401, 403, 403, 403, 200, 200, 200]),
    ("POST", "/v3/domains", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/domains/{domain}", [401, 404, 404, 404, 404, 200, 200]),
    ("PATCH", "/v3/domains/{domain}", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/roles", [401, 403, 403, 403, 200, 200, 200]),
    ("POST", "/v3/roles", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/roles/{role}", [401, 403, 403, 403, 404, 200, 200]),
    ("PATCH", "/v3/roles/{role}", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/role_assignments", [401, 403, 403, 403, 200, 200, 200]),
    ("PUT", "/v3/projects/{project}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/projects/{project}/users/{user}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/projects/{project}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("HEAD", "/v3/projects/{project}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/projects/{project}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("PUT", "/v3/domains/{domain}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/domains/{domain}/users/{user}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/domains/{domain}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/domains/{domain}/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("PUT", "/v3/system/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/system/users/{user}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/system/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/system/users/{user}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/regions", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/regions/RegionOne", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/services", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/services/{service}", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/endpoints", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/endpoints/{endpoint}", [401, 403, 403, 403, 403, 200, 200]),
    ("PUT", "/v3/projects/{project}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/projects/{project}/groups/{group}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/projects/{project}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/projects/{project}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("PUT", "/v3/domains/{domain}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/domains/{domain}/groups/{group}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/domains/{domain}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/domains/{domain}/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("PUT", "/v3/system/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/system/groups/{group}/roles", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/system/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 204, 204]),
    ("DELETE", "/v3/system/groups/{group}/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    (
        "PUT",
        "/v3/OS-INHERIT/projects/{project}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/projects/{project}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/OS-INHERIT/projects/{project}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/OS-INHERIT/projects/{project}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/projects/{project}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/OS-INHERIT/projects/{project}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/inherited_to_projects",
        [401, 403, 403, 403, 403, 200, 200],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/inherited_to_projects",
        [401, 403, 403, 403, 403, 200, 200],
    ),
    (
        "GET",
        "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/OS-INHERIT/domains/{domain}/groups/{group}/roles/{role}/inherited_to_projects",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    ("GET", "/v3/groups", [401, 403, 403, 403, 200, 200, 200]),
    ("POST", "/v3/groups", [401, 403, 403, 403, 201, 403, 201]),
    ("GET", "/v3/groups/{group}", [401, 403, 403, 403, 404, 200, 200]),
    ("PATCH", "/v3/groups/{group}", [401, 403, 403, 403, 404, 403, 200]),
    ("PUT", "/v3/groups/{group}/users/{user}", [401, 403, 403, 403, 404, 403, 204]),
    ("GET", "/v3/groups/{group}/users", [401, 403, 403, 403, 404, 200, 200]),
    ("GET", "/v3/groups/{group}/users/{user}", [401, 403, 403, 403, 404, 204, 204]),
    ("GET", "/v3/users/{user}/groups", [401, 404, 404, 404, 404, 200, 200]),
    ("DELETE", "/v3/groups/{group}/users/{user}", [401, 403, 403, 403, 404, 403, 204]),
    ("PUT", "/v3/roles/{role}/implies/{implied}", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/roles/{role}/implies", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/roles/{role}/implies/{implied}", [401, 403, 403, 403, 403, 200, 200]),
    ("HEAD", "/v3/roles/{role}/implies/{implied}", [401, 403, 403, 403, 403, 204, 204]),
    ("GET", "/v3/role_inferences", [401, 403, 403, 403, 403, 200, 200]),
    ("DELETE", "/v3/roles/{role}/implies/{implied}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/groups/{group}", [401, 403, 403, 403, 404, 403, 204]),
    ("GET", "/v3/projects/{project}/tags", [401, 404, 404, 404, 404, 200, 200]),
    ("PUT", "/v3/projects/{project}/tags", [401, 403, 403, 403, 404, 403, 200]),
    ("PUT", "/v3/projects/{project}/tags/{tag}", [401, 403, 403, 403, 404, 403, 201]),
    ("GET", "/v3/projects/{project}/tags/{tag}", [401, 404, 404, 404, 404, 204, 204]),
    ("DELETE", "/v3/projects/{project}/tags/{tag}", [401, 403, 403, 403, 404, 403, 204]),
    ("DELETE", "/v3/projects/{project}/tags", [401, 403, 403, 403, 404, 403, 204]),
    ("POST", "/v3/regions", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/regions/{new_region}", [401, 200, 200, 200, 200, 200, 200]),
    ("PATCH", "/v3/regions/{new_region}", [401, 403, 403, 403, 403, 403, 200]),
    ("POST", "/v3/services", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/services/{new_service}", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/services/{new_service}", [401, 403, 403, 403, 403, 403, 200]),
    ("POST", "/v3/endpoints", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/endpoints/{new_endpoint}", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/endpoints/{new_endpoint}", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/policies", [401, 403, 403, 403, 403, 200, 200]),
    ("POST", "/v3/policies", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/policies/{new_policy}", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/policies/{new_policy}", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/OS-EP-FILTER/endpoint_groups", [401, 403, 403, 403, 403, 200, 200]),
    ("POST", "/v3/OS-EP-FILTER/endpoint_groups", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}", [401, 403, 403, 403, 403, 403, 200]),
    ("PUT", "/v3/regions/{new_name}", [401, 403, 403, 403, 403, 403, 201]),
    (
        "GET",
        "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}/endpoints",
        [401, 403, 403, 403, 403, 200, 200],
    ),
    (
        "GET",
        "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}/projects",
        [401, 403, 403, 403, 403, 200, 200],
    ),
    (
        "PUT",
        "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}/projects/{project}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}/projects/{project}",
        [401, 403, 403, 403, 403, 200, 200],
    ),
    (
        "DELETE",
        "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}/projects/{project}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    ("GET", "/v3/OS-EP-FILTER/endpoints/{endpoint}/projects", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/OS-EP-FILTER/projects/{project}/endpoints", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/OS-EP-FILTER/projects/{project}/endpoint_groups", [401, 403, 403, 403, 403, 200, 200]),
    ("PUT", "/v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", [401, 403, 403, 403, 403, 204, 204]),
    (
        "DELETE",
        "/v3/OS-EP-FILTER/projects/{project}/endpoints/{endpoint}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/endpoints/{endpoint}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/endpoints/{endpoint}",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    ("GET", "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/endpoints", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy", [401, 403, 403, 403, 403, 200, 200]),
    (
        "DELETE",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/endpoints/{endpoint}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "PUT",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}/regions/RegionOne",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    (
        "GET",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}/regions/RegionOne",
        [401, 403, 403, 403, 403, 204, 204],
    ),
    (
        "DELETE",
        "/v3/policies/{new_policy}/OS-ENDPOINT-POLICY/services/{service}/regions/RegionOne",
        [401, 403, 403, 403, 403, 403, 204],
    ),
    ("DELETE", "/v3/OS-EP-FILTER/endpoint_groups/{new_endpoint_group}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/policies/{new_policy}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/endpoints/{new_endpoint}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/services/{new_service}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/regions/{new_region}", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/users/{user}/application_credentials", [401, 403, 403, 403, 403, 200, 200]),
    ("POST", "/v3/users/{user}/application_credentials", [401, 403, 403, 403, 403, 403, 403]),
    ("GET", "/v3/users/{user}/application_credentials/{nothing}", [401, 403, 403, 403, 403, 404, 404]),
    ("DELETE", "/v3/users/{user}/application_credentials/{nothing}", [401, 403, 403, 403, 403, 404, 404]),
    ("GET", "/v3/users/{user}/access_rules", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/users/{user}/access_rules/{nothing}", [401, 403, 403, 403, 403, 404, 404]),
    ("DELETE", "/v3/users/{user}/access_rules/{nothing}", [401, 403, 403, 403, 403, 404, 404]),
    ("GET", "/v3/credentials", [401, 200, 200, 200, 200, 200, 200]),
    ("POST", "/v3/credentials", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/credentials/{credential}", [401, 404, 404, 404, 404, 404, 200]),
    ("PATCH", "/v3/credentials/{credential}", [401, 404, 404, 404, 404, 404, 200]),
    ("GET", "/v3/users/{user}/credentials/OS-EC2", [401, 403, 403, 403, 403, 403, 200]),
    ("POST", "/v3/users/{user}/credentials/OS-EC2", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/users/{user}/credentials/OS-EC2/{nothing}", [401, 404, 404, 404, 404, 404, 404]),
    ("DELETE", "/v3/users/{user}/credentials/OS-EC2/{nothing}", [401, 404, 404, 404, 404, 404, 404]),
    ("DELETE", "/v3/credentials/{credential}", [401, 404, 404, 404, 404, 404, 204]),
    ("POST", "/v3/ec2tokens", [401, 403, 403, 403, 403, 403, 401]),
    ("POST", "/v3/s3tokens", [401, 403, 403, 403, 403, 403, 401]),
    ("GET", "/v3/OS-TRUST/trusts", [401, 403, 403, 403, 403, 200, 200]),
    ("POST", "/v3/OS-TRUST/trusts", [401, 403, 403, 403, 403, 403, 403]),
    ("GET", "/v3/OS-TRUST/trusts/{nothing}", [401, 404, 404, 404, 404, 404, 404]),
    ("GET", "/v3/OS-TRUST/trusts/{nothing}/roles", [401, 404, 404, 404, 404, 404, 404]),
    ("GET", "/v3/OS-TRUST/trusts/{nothing}/roles/{role}", [401, 404, 404, 404, 404, 404, 404]),
    ("DELETE", "/v3/OS-TRUST/trusts/{nothing}", [401, 404, 404, 404, 404, 404, 404]),
    ("GET", "/v3/registered_limits", [401, 200, 200, 200, 200, 200, 200]),
    ("POST", "/v3/registered_limits", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/registered_limits/{registered}", [401, 200, 200, 200, 200, 200, 200]),
    ("PATCH", "/v3/registered_limits/{registered}", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/limits", [401, 200, 200, 200, 200, 200, 200]),
    ("GET", "/v3/limits/model", [401, 200, 200, 200, 200, 200, 200]),
    ("POST", "/v3/limits", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/limits/{limit}", [401, 404, 404, 404, 404, 200, 200]),
    ("PATCH", "/v3/limits/{limit}", [401, 403, 403, 403, 403, 403, 200]),
    ("DELETE", "/v3/limits/{limit}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/registered_limits/{unused}", [401, 403, 403, 403, 403, 403, 204]),
    ("PUT", "/v3/domains/{domain}/config", [401, 403, 403, 403, 403, 403, 201]),
    ("GET", "/v3/domains/{domain}/config", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/domains/{domain}/config", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/domains/{domain}/config/identity", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/domains/{domain}/config/identity", [401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/v3/domains/{domain}/config/identity/list_limit", [401, 403, 403, 403, 403, 200, 200]),
    ("PATCH", "/v3/domains/{domain}/config/identity/list_limit", [401, 403, 403, 403, 403, 403, 200]),
    ("DELETE", "/v3/domains/{domain}/config/identity/list_limit", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/domains/{domain}/config/identity", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/domains/{domain}/config", [401, 403, 403, 403, 403, 403, 204]),
    ("GET", "/v3/domains/config/default", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/domains/config/identity/default", [401, 403, 403, 403, 403, 200, 200]),
    ("GET", "/v3/domains/config/identity/list_limit/default", [401, 403, 403, 403, 403, 200, 200]),
    ("DELETE", "/v3/roles/{role}", [401, 403, 403, 403, 403, 403, 204]),
    ("DELETE", "/v3/users/{user}", [401, 403, 403, 403, 404, 403, 204]),
    ("DELETE", "/v3/projects/{project}", [401, 403, 403, 403, 404, 403, 204]),
    ("DELETE", "/v3/domains/{domain}", [401, 403, 403, 403, 403, 403, 403]),
    // Paths that are not served must look alike to all who may call.
    ("GET", "/v3/OS-FEDERATION/identity_providers", [404; 7]),
];

/// A body that the route takes; names differ from call to call.
pub fn body(method: &str, path: &str, number: usize, [service, project, user]: [&str; 3]) -> String {
    let noun = path.split('/').nth(2).unwrap_or_default();
    let noun = if noun == "policies" { "policy" } else { noun.trim_end_matches('s') };
    let body = match (method, noun) {
        (_, "domain") if method != "GET" && path.ends_with("/list_limit") => {
            json!({ "config": { "list_limit": 7 } })
        }
        ("PUT" | "PATCH", "domain") if path.contains("/config") => {
            json!({ "config": { "identity": { "list_limit": 7, "driver": "sql" } } })
        }
        ("POST", "registered_limit") => json!({ "registered_limits": [{
            "service_id": service, "resource_name": format!("n{number}"), "default_limit": 1,
        }] }),
        ("PATCH", "registered_limit") => json!({ "registered_limit": { "default_limit": 2 } }),
        ("POST", "limit") => json!({ "limits": [{
            "service_id": service, "resource_name": "spare", "resource_limit": 1, "project_id": project,
        }] }),
        ("PATCH", "limit") => json!({ "limit": { "resource_limit": 2 } }),
        ("POST", "user") if path.ends_with("/application_credentials") => {
            json!({ "application_credential": { "name": "a" } })
        }
        ("POST", "user") if path.ends_with("/OS-EC2") => json!({ "tenant_id": project }),
        ("POST", "credential") => json!({ "credential": { "type": "x", "blob": "y", "user_id": user } }),
        ("POST", "ec2token" | "s3token") => {
            json!({ "credentials": { "access": "a", "signature": "b", "token": "" } })
        }
        ("POST", "OS-TRUST") => json!({ "trust": {
            "trustor_user_id": user, "trustee_user_id": user, "impersonation": false,
        } }),
        ("PATCH", "credential") => json!({ "credential": { "blob": "z" } }),
        ("POST", "user") if path.ends_with("/password") => {
            json!({ "user": { "original_password": "wrong", "password": "new" } })
        }
        ("POST", "region") => json!({ "region": { "id": format!("n{number}") } }),
        ("PUT", "region") => json!({ "region": {} }),
        ("POST", "service") => json!({ "service": { "type": "test", "name": format!("n{number}") } }),
        ("POST", "endpoint") => json!({ "endpoint": {
            "service_id": service, "interface": "public", "url": "https://elsewhere.test/",
        } }),
        ("POST", "policy") => json!({ "policy": { "type": "text/plain", "blob": "x" } }),
        ("PATCH", "policy") => json!({ "policy": { "blob": "y" } }),
        ("POST", "OS-EP-FILTER") => json!({ "endpoint_group": {
            "name": format!("n{number}"), "filters": { "interface": "public" },
        } }),
        ("PATCH", "OS-EP-FILTER") => json!({ "endpoint_group": { "name": format!("n{number}") } }),
        ("POST", "user" | "project" | "domain" | "role" | "group") => {
            json!({ noun: { "name": format!("n{number}") } })
        }
        ("PUT", "project") if path.ends_with("/tags") => json!({ "tags": ["a"] }),
        ("PATCH", _) => json!({ noun: { "description": "changed" } }),
        _ => return String::new(),
    };
    body.to_string()
}

/// Objects of another domain, and what the braces stand for.
pub async fn objects(cloud: &Cloud, admin: &str) -> Vec<(&'static str, String)> {
    let create = |noun: &'static str, body: Value| async move {
        let made =
            cloud.call("POST", &format!("/v3/{noun}s"), admin, json!({ noun: body })).await.expect(201);
        made[noun]["id"].as_str().unwrap().to_owned()
    };
    let domain = create("domain", json!({ "name": "other" })).await;
    let project = create("project", json!({ "name": "other", "domain_id": domain })).await;
    let user = create("user", json!({ "name": "other", "domain_id": domain })).await;
    let group = create("group", json!({ "name": "other", "domain_id": domain })).await;
    let role = create("role", json!({ "name": "other" })).await;
    let implied = create("role", json!({ "name": "implied" })).await;
    let credential = json!({ "type": "x", "blob": "y", "user_id": user });
    let credential = create("credential", credential).await;
    let region = create("region", json!({ "id": "elsewhere" })).await;
    let new_service = create("service", json!({ "type": "test", "name": "other" })).await;
    let url = "https://elsewhere.test/";
    let new_endpoint = json!({ "service_id": new_service, "interface": "public", "url": url });
    let new_endpoint = create("endpoint", new_endpoint).await;
    let policy = json!({ "policy": { "type": "text/plain", "blob": "x" } });
    let policy = cloud.call("POST", "/v3/policies", admin, policy).await.expect(201);
    let filter = json!({ "endpoint_group": { "name": "other", "filters": { "interface": "public" } } });
    let endpoint_group =
        cloud.call("POST", "/v3/OS-EP-FILTER/endpoint_groups", admin, filter).await.expect(201);
    let id = |made: &Value, noun: &str| made[noun]["id"].as_str().unwrap().to_owned();
    let first = |noun: &'static str| async move {
        let list = cloud.get(&format!("/v3/{noun}s"), admin).await.expect(200);
        list[format!("{noun}s")][0]["id"].as_str().unwrap().to_owned()
    };
    let service = first("service").await;
    let mut limits = Vec::new();
    for name in ["cores", "spare", "unused"] {
        let new = json!({ "service_id": service, "resource_name": name, "default_limit": 1 });
        let made = cloud.call("POST", "/v3/registered_limits", admin, json!({ "registered_limits": [new] }));
        let made = made.await.expect(201);
        limits.push(made["registered_limits"][0]["id"].as_str().unwrap().to_owned());
    }
    let new = json!({ "service_id": service, "resource_name": "cores", "resource_limit": 1, "project_id": project });
    let made = cloud.call("POST", "/v3/limits", admin, json!({ "limits": [new] })).await.expect(201);
    vec![
        ("{limit}", made["limits"][0]["id"].as_str().unwrap().to_owned()),
        ("{registered}", limits[0].clone()),
        ("{unused}", limits[2].clone()),
        ("{new_region}", region),
        ("{new_service}", new_service),
        ("{new_endpoint}", new_endpoint),
        ("{new_policy}", id(&policy, "policy")),
        ("{new_endpoint_group}", id(&endpoint_group, "endpoint_group")),
        ("{credential}", credential),
        ("{nothing}", "nothing".to_owned()),
        ("{new_name}", "new-name".to_owned()),
        ("{tag}", "a".to_owned()),
        ("{domain}", domain),
        ("{project}", project),
        ("{user}", user),
        ("{role}", role),
        ("{group}", group),
        ("{implied}", implied),
        ("{service}", first("service").await),
        ("{endpoint}", first("endpoint").await),
    ]
}

/// The token of a user with a role on a domain of their own, or on the system.
async fn outsider(cloud: &Cloud, place: &str, role: &str) -> String {
    let admin = cloud.admin().await;
    let role = cloud.id("roles", role).await;
    let domain = json!({ "domain": { "name": format!("of-{place}") } });
    let domain = cloud.call("POST", "/v3/domains", &admin, domain).await.expect(201);
    let domain = domain["domain"]["id"].as_str().unwrap();
    let user = json!({ "user": { "name": "outsider", "domain_id": domain, "password": PASSWORD } });
    let user = cloud.call("POST", "/v3/users", &admin, user).await.expect(201);
    let user = user["user"]["id"].as_str().unwrap();
    let (path, scope) = match place {
        "system" => ("system".to_owned(), json!({ "system": { "all": true } })),
        _ => (format!("domains/{domain}"), json!({ "domain": { "id": domain } })),
    };
    cloud
        .call("PUT", &format!("/v3/{path}/users/{user}/roles/{role}"), &admin, Value::Null)
        .await
        .expect(204);
    let who =
        json!({ "methods": ["password"], "password": { "user": { "id": user, "password": PASSWORD } } });
    cloud.issue(who, scope).await.token()
}

#[tokio::test]
async fn every_route_answers_every_persona_as_it_should() {
    for cloud in clouds().await {
        let mut tokens = vec![None];
        for role in ["reader", "member", "manager", "admin"] {
            let name = format!("a-{role}");
            cloud.ensure("office", &name, role).await;
            tokens.push(Some(cloud.login(&name, PASSWORD, in_project("office")).await.token()));
        }
        for (number, (place, role)) in [("domains", "manager"), ("system", "reader")].into_iter().enumerate()
        {
            tokens.insert(4 + number, Some(outsider(&cloud, place, role).await));
        }
        let objects = objects(&cloud, tokens[6].as_deref().unwrap()).await;
        let (mut number, mut wrong) = (0, Vec::new());
        let named = ["{service}", "{project}", "{user}"]
            .map(|wanted| objects.iter().find(|(name, _)| *name == wanted).map_or("", |(_, id)| id.as_str()));
        for (method, pattern, expected) in ROUTES {
            let path = objects.iter().fold(pattern.to_string(), |path, (name, id)| path.replace(name, id));
            let mut seen = Vec::new();
            for token in &tokens {
                number += 1;
                let headers: Vec<_> = token.iter().map(|token| ("x-auth-token", token.as_str())).collect();
                seen.push(
                    cloud.send(method, &path, &headers, body(method, pattern, number, named)).await.status,
                );
            }
            if seen != expected {
                wrong.push(format!("{method} {pattern}: {seen:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The routes as the source of the router has them, so that none is forgotten here.
fn served() -> BTreeSet<(String, String)> {
    let source: String = include_str!("../../src/api.rs").split_whitespace().collect();
    let mut served = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let mut parts = route.split('"');
        let (path, handlers) = (parts.nth(1).unwrap(), parts.next().unwrap());
        let path = if path == "/" { "" } else { path };
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!(",{method}(")) || handlers.contains(&format!(").{method}(")) {
                served.insert((method.to_uppercase(), pattern(path)));
            }
        }
    }
    served
}

fn pattern(path: &str) -> String {
    let part = |part: &str| {
        if part.starts_with('{') || matches!(part, "RegionOne" | "identity" | "list_limit") {
            "{}".to_owned()
        } else {
            part.to_owned()
        }
    };
    path.trim_end_matches('/').split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_is_in_the_table() {
    let tried: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _)| (method.to_string(), pattern(path))).collect();
    let served = served();
    assert!(served.len() > 40, "{served:?}");
    let forgotten: Vec<_> = served.difference(&tried).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
