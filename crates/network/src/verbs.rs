//! Everything that can be asked for, named as upstream's policy names it.

hanse_policy::verbs! {
    SHOW_NETWORK = "get_network", ProjectReader;
    CREATE_NETWORK = "create_network", ProjectMember;
    CREATE_SHARED_NETWORK = "create_network:shared", Admin;
    CREATE_EXTERNAL_NETWORK = "create_network:router:external", Admin;
    UPDATE_NETWORK = "update_network", ProjectMember;
    UPDATE_NETWORK_SHARED = "update_network:shared", Admin;
    UPDATE_NETWORK_EXTERNAL = "update_network:router:external", Admin;
    DELETE_NETWORK = "delete_network", ProjectMember;

    SHOW_SUBNET = "get_subnet", ProjectReader;
    CREATE_SUBNET = "create_subnet", ProjectMember;
    UPDATE_SUBNET = "update_subnet", ProjectMember;
    DELETE_SUBNET = "delete_subnet", ProjectMember;

    SHOW_PORT = "get_port", ProjectReader;
    CREATE_PORT = "create_port", ProjectMember;
    CREATE_PORT_AS_OWNER = "create_port:fixed_ips:ip_address", ProjectMember;
    UPDATE_PORT = "update_port", ProjectMember;
    BIND_PORT = "create_port:binding:host_id", Admin;
    DELETE_PORT = "delete_port", ProjectMember;

    SHOW_ROUTER = "get_router", ProjectReader;
    CREATE_ROUTER = "create_router", ProjectMember;
    UPDATE_ROUTER = "update_router", ProjectMember;
    SET_SNAT = "update_router:external_gateway_info:enable_snat", Admin;
    SET_GATEWAY_ADDRESS = "update_router:external_gateway_info:external_fixed_ips", Admin;
    DELETE_ROUTER = "delete_router", ProjectMember;
    ADD_ROUTER_INTERFACE = "add_router_interface", ProjectMember;
    REMOVE_ROUTER_INTERFACE = "remove_router_interface", ProjectMember;

    SHOW_FLOATING_IP = "get_floatingip", ProjectReader;
    CREATE_FLOATING_IP = "create_floatingip", ProjectMember;
    CHOOSE_FLOATING_IP = "create_floatingip:floating_ip_address", Admin;
    UPDATE_FLOATING_IP = "update_floatingip", ProjectMember;
    DELETE_FLOATING_IP = "delete_floatingip", ProjectMember;

    SHOW_SECURITY_GROUP = "get_security_group", ProjectReader;
    ENSURE_DEFAULT_GROUP = "get_security_groups", ProjectReader;
    CREATE_SECURITY_GROUP = "create_security_group", ProjectMember;
    UPDATE_SECURITY_GROUP = "update_security_group", ProjectMember;
    DELETE_SECURITY_GROUP = "delete_security_group", ProjectMember;
    SHOW_RULE = "get_security_group_rule", ProjectReader;
    CREATE_RULE = "create_security_group_rule", ProjectMember;
    DELETE_RULE = "delete_security_group_rule", ProjectMember;

    SHOW_QUOTA = "get_quota", ProjectReader;
    UPDATE_QUOTA = "update_quota", Admin;
    DELETE_QUOTA = "delete_quota", Admin;
    LIST_QUOTAS = "get_quotas", Admin;
    LIST_AGENTS = "get_agents", Admin;
    LIST_AVAILABILITY_ZONES = "get_availability_zones", Authenticated;
    SEED_EXTERNAL = "hanse:seed_external_network", Admin;
}
