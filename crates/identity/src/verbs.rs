//! Everything that identity can be asked to do, named as upstream's policy names it.

use hanse_policy::{Rule, Verb};

macro_rules! verbs {
    ($($constant:ident = $name:literal, $rule:ident;)*) => {
        $(pub(crate) const $constant: Verb = Verb::new(concat!("identity:", $name), Rule::$rule);)*
        pub(crate) const VERBS: &[Verb] = &[$($constant),*];
    };
}

verbs! {
    AUTHENTICATE = "authenticate", Authenticated;
    VALIDATE_TOKEN = "validate_token", Owner;
    REVOKE_TOKEN = "revoke_token", Owner;
    AUTH_CATALOG = "get_auth_catalog", Authenticated;
    AUTH_PROJECTS = "get_auth_projects", Authenticated;
    AUTH_DOMAINS = "get_auth_domains", Authenticated;
    AUTH_SYSTEM = "get_auth_system", Authenticated;

    CREATE_USER = "create_user", Admin;
    SHOW_USER = "get_user", OwnerOrDomainReader;
    LIST_USERS = "list_users", DomainReader;
    UPDATE_USER = "update_user", Admin;
    DELETE_USER = "delete_user", Admin;
    CHANGE_PASSWORD = "change_password", Owner;
    LIST_USER_PROJECTS = "list_user_projects", OwnerOrDomainReader;

    CREATE_PROJECT = "create_project", Admin;
    SHOW_PROJECT_OF_DOMAIN = "get_project", DomainReader;
    SHOW_PROJECT = "get_project", ProjectReader;
    LIST_PROJECTS = "list_projects", DomainReader;
    UPDATE_PROJECT = "update_project", Admin;
    DELETE_PROJECT = "delete_project", Admin;

    CREATE_DOMAIN = "create_domain", Admin;
    SHOW_DOMAIN = "get_domain", Authenticated;
    LIST_DOMAINS = "list_domains", Admin;
    UPDATE_DOMAIN = "update_domain", Admin;
    DELETE_DOMAIN = "delete_domain", Admin;

    CREATE_ROLE = "create_role", Admin;
    SHOW_ROLE = "get_role", Admin;
    LIST_ROLES = "list_roles", Admin;
    UPDATE_ROLE = "update_role", Admin;
    DELETE_ROLE = "delete_role", Admin;
    CREATE_IMPLIED_ROLE = "create_implied_role", Admin;

    CREATE_GRANT = "create_grant", Admin;
    CHECK_GRANT = "check_grant", Admin;
    LIST_GRANTS = "list_grants", Admin;
    REVOKE_GRANT = "revoke_grant", Admin;
    CREATE_SYSTEM_GRANT = "create_system_grant_for_user", Admin;
    CHECK_SYSTEM_GRANT = "check_system_grant_for_user", Admin;
    LIST_SYSTEM_GRANTS = "list_system_grants_for_user", Admin;
    REVOKE_SYSTEM_GRANT = "revoke_system_grant_for_user", Admin;
    LIST_ROLE_ASSIGNMENTS = "list_role_assignments", Admin;

    SHOW_REGION = "get_region", Authenticated;
    LIST_REGIONS = "list_regions", Authenticated;
    SHOW_SERVICE = "get_service", Admin;
    LIST_SERVICES = "list_services", Admin;
    SHOW_ENDPOINT = "get_endpoint", Admin;
    LIST_ENDPOINTS = "list_endpoints", Admin;
}
