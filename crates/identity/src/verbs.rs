//! Everything that identity can be asked to do, named as upstream's policy names it.

hanse_policy::verbs! {
    "identity:";
    AUTHENTICATE = "authenticate", Authenticated;
    ISSUE_RECEIPT = "issue_receipt", Authenticated;
    VALIDATE_TOKEN = "validate_token", OwnerOrSystemReader;
    REVOKE_TOKEN = "revoke_token", Owner;
    AUTH_CATALOG = "get_auth_catalog", Authenticated;
    AUTH_PROJECTS = "get_auth_projects", Authenticated;
    AUTH_DOMAINS = "get_auth_domains", Authenticated;
    AUTH_SYSTEM = "get_auth_system", Authenticated;

    CREATE_USER = "create_user", DomainManager;
    SHOW_USER = "get_user", OwnerOrDomainReader;
    LIST_USERS = "list_users", DomainReader;
    UPDATE_USER = "update_user", DomainManager;
    DELETE_USER = "delete_user", DomainManager;
    CHANGE_PASSWORD = "change_password", Owner;
    RESET_PASSWORD = "reset_password", Admin;
    REVOKE_TOKENS_FOR_USER = "revoke_tokens_for_user", Owner;
    LIST_USER_PROJECTS = "list_user_projects", OwnerOrDomainReader;

    CREATE_PROJECT = "create_project", DomainManager;
    SHOW_PROJECT_OF_DOMAIN = "get_project", DomainReader;
    SHOW_PROJECT = "get_project", ProjectReader;
    LIST_PROJECTS = "list_projects", DomainReader;
    UPDATE_PROJECT = "update_project", DomainManager;
    DELETE_PROJECT = "delete_project", DomainManager;

    UPDATE_PROJECT_TAGS = "update_project_tags", DomainManager;
    CREATE_PROJECT_TAG = "create_project_tag", DomainManager;
    DELETE_PROJECT_TAGS = "delete_project_tags", DomainManager;
    DELETE_PROJECT_TAG = "delete_project_tag", DomainManager;

    CREATE_DOMAIN = "create_domain", Admin;
    SHOW_DOMAIN = "get_domain", Authenticated;
    LIST_DOMAINS = "list_domains", DomainReader;
    UPDATE_DOMAIN = "update_domain", Admin;
    DELETE_DOMAIN = "delete_domain", Admin;

    CREATE_ROLE = "create_role", Admin;
    SHOW_ROLE = "get_role", SystemReaderOrDomainManager;
    LIST_ROLES = "list_roles", SystemReaderOrDomainManager;
    UPDATE_ROLE = "update_role", Admin;
    DELETE_ROLE = "delete_role", Admin;
    CREATE_IMPLIED_ROLE = "create_implied_role", Admin;
    SHOW_IMPLIED_ROLE = "get_implied_role", SystemReader;
    LIST_IMPLIED_ROLES = "list_implied_roles", SystemReader;
    DELETE_IMPLIED_ROLE = "delete_implied_role", Admin;

    CREATE_GROUP = "create_group", DomainManager;
    SHOW_GROUP = "get_group", DomainReader;
    LIST_GROUPS = "list_groups", DomainReader;
    UPDATE_GROUP = "update_group", DomainManager;
    DELETE_GROUP = "delete_group", DomainManager;
    LIST_GROUPS_FOR_USER = "list_groups_for_user", OwnerOrDomainReader;
    LIST_USERS_IN_GROUP = "list_users_in_group", DomainReader;
    CHECK_USER_IN_GROUP = "check_user_in_group", DomainReader;
    ADD_USER_TO_GROUP = "add_user_to_group", DomainManager;
    REMOVE_USER_FROM_GROUP = "remove_user_from_group", DomainManager;

    CREATE_GRANT = "create_grant", DomainManager;
    CHECK_GRANT = "check_grant", DomainReader;
    LIST_GRANTS = "list_grants", DomainReader;
    REVOKE_GRANT = "revoke_grant", DomainManager;
    CREATE_SYSTEM_GRANT = "create_system_grant_for_user", Admin;
    CHECK_SYSTEM_GRANT = "check_system_grant_for_user", SystemReader;
    LIST_SYSTEM_GRANTS = "list_system_grants_for_user", SystemReader;
    REVOKE_SYSTEM_GRANT = "revoke_system_grant_for_user", Admin;
    LIST_ROLE_ASSIGNMENTS = "list_role_assignments", DomainReader;

    CREATE_REGION = "create_region", Admin;
    SHOW_REGION = "get_region", Authenticated;
    LIST_REGIONS = "list_regions", Authenticated;
    UPDATE_REGION = "update_region", Admin;
    DELETE_REGION = "delete_region", Admin;
    CREATE_SERVICE = "create_service", Admin;
    SHOW_SERVICE = "get_service", SystemReader;
    LIST_SERVICES = "list_services", SystemReader;
    UPDATE_SERVICE = "update_service", Admin;
    DELETE_SERVICE = "delete_service", Admin;
    CREATE_ENDPOINT = "create_endpoint", Admin;
    SHOW_ENDPOINT = "get_endpoint", SystemReader;
    LIST_ENDPOINTS = "list_endpoints", SystemReader;
    UPDATE_ENDPOINT = "update_endpoint", Admin;
    DELETE_ENDPOINT = "delete_endpoint", Admin;

    CREATE_ENDPOINT_GROUP = "create_endpoint_group", Admin;
    SHOW_ENDPOINT_GROUP = "get_endpoint_group", SystemReader;
    LIST_ENDPOINT_GROUPS = "list_endpoint_groups", SystemReader;
    UPDATE_ENDPOINT_GROUP = "update_endpoint_group", Admin;
    DELETE_ENDPOINT_GROUP = "delete_endpoint_group", Admin;
    LIST_ENDPOINTS_OF_GROUP = "list_endpoints_associated_with_endpoint_group", SystemReader;
    LIST_PROJECTS_OF_ENDPOINT_GROUP = "list_projects_associated_with_endpoint_group", SystemReader;
    SHOW_ENDPOINT_GROUP_IN_PROJECT = "get_endpoint_group_in_project", SystemReader;
    ADD_ENDPOINT_GROUP_TO_PROJECT = "add_endpoint_group_to_project", Admin;
    REMOVE_ENDPOINT_GROUP_FROM_PROJECT = "remove_endpoint_group_from_project", Admin;
    LIST_ENDPOINT_GROUPS_FOR_PROJECT = "list_endpoint_groups_for_project", SystemReader;
    CHECK_ENDPOINT_IN_PROJECT = "check_endpoint_in_project", SystemReader;
    ADD_ENDPOINT_TO_PROJECT = "add_endpoint_to_project", Admin;
    REMOVE_ENDPOINT_FROM_PROJECT = "remove_endpoint_from_project", Admin;
    LIST_ENDPOINTS_FOR_PROJECT = "list_endpoints_for_project", SystemReader;
    LIST_PROJECTS_FOR_ENDPOINT = "list_projects_for_endpoint", SystemReader;

    CREATE_POLICY = "create_policy", Admin;
    SHOW_POLICY = "get_policy", SystemReader;
    LIST_POLICIES = "list_policies", SystemReader;
    UPDATE_POLICY = "update_policy", Admin;
    DELETE_POLICY = "delete_policy", Admin;
    CREATE_POLICY_ASSOCIATION = "create_policy_association", Admin;
    CHECK_POLICY_ASSOCIATION = "check_policy_association", SystemReader;
    DELETE_POLICY_ASSOCIATION = "delete_policy_association", Admin;
    LIST_ENDPOINTS_FOR_POLICY = "list_endpoints_for_policy", SystemReader;
    SHOW_POLICY_FOR_ENDPOINT = "get_policy_for_endpoint", SystemReader;

    CREATE_APPLICATION_CREDENTIAL = "create_application_credential", Owner;
    SHOW_APPLICATION_CREDENTIAL = "get_application_credential", OwnerOrSystemReader;
    LIST_APPLICATION_CREDENTIALS = "list_application_credentials", OwnerOrSystemReader;
    DELETE_APPLICATION_CREDENTIAL = "delete_application_credential", Owner;
    SHOW_ACCESS_RULE = "get_access_rule", OwnerOrSystemReader;
    LIST_ACCESS_RULES = "list_access_rules", OwnerOrSystemReader;
    DELETE_ACCESS_RULE = "delete_access_rule", Owner;

    CREATE_CREDENTIAL = "create_credential", Owner;
    SHOW_CREDENTIAL = "get_credential", OwnerOrSystemReader;
    LIST_CREDENTIALS = "list_credentials", OwnerOrSystemReader;
    UPDATE_CREDENTIAL = "update_credential", Owner;
    DELETE_CREDENTIAL = "delete_credential", Owner;
    EC2_CREATE_CREDENTIAL = "ec2_create_credential", Owner;
    VALIDATE_SIGNATURE = "ec2tokens_validate", Service;

    CREATE_TRUST = "create_trust", Owner;
    SHOW_TRUST = "get_trust", OwnerOrSystemReader;
    LIST_TRUSTS = "list_trusts", OwnerOrSystemReader;
    DELETE_TRUST = "delete_trust", Owner;

    CREATE_REGISTERED_LIMITS = "create_registered_limits", Admin;
    SHOW_REGISTERED_LIMIT = "get_registered_limit", Authenticated;
    LIST_REGISTERED_LIMITS = "list_registered_limits", Authenticated;
    UPDATE_REGISTERED_LIMIT = "update_registered_limit", Admin;
    DELETE_REGISTERED_LIMIT = "delete_registered_limit", Admin;
    CREATE_LIMITS = "create_limits", Admin;
    SHOW_LIMIT = "get_limit", SystemReader;
    LIST_LIMITS = "list_limits", SystemReader;
    UPDATE_LIMIT = "update_limit", Admin;
    DELETE_LIMIT = "delete_limit", Admin;

    CREATE_DOMAIN_CONFIG = "create_domain_config", Admin;
    SHOW_DOMAIN_CONFIG = "get_domain_config", SystemReader;
    SHOW_DOMAIN_CONFIG_DEFAULT = "get_domain_config_default", SystemReader;
    UPDATE_DOMAIN_CONFIG = "update_domain_config", Admin;
    DELETE_DOMAIN_CONFIG = "delete_domain_config", Admin;
}
