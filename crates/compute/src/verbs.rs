//! Every verb of compute, under the name that Nova's policy gives it.

hanse_policy::verbs! {
    FLAVORS_READ = "os_compute_api:flavors", Authenticated;
    FLAVORS_CREATE = "os_compute_api:os-flavor-manage:create", Admin;
    FLAVORS_DELETE = "os_compute_api:os-flavor-manage:delete", Admin;
    SPECS_READ = "os_compute_api:os-flavor-extra-specs:index", ProjectReader;
    SPECS_CREATE = "os_compute_api:os-flavor-extra-specs:create", Admin;
    SPECS_DELETE = "os_compute_api:os-flavor-extra-specs:delete", Admin;
    KEYPAIRS_LIST = "os_compute_api:os-keypairs:index", Owner;
    KEYPAIRS_SHOW = "os_compute_api:os-keypairs:show", Owner;
    KEYPAIRS_CREATE = "os_compute_api:os-keypairs:create", Owner;
    KEYPAIRS_DELETE = "os_compute_api:os-keypairs:delete", Owner;
    ZONES_LIST = "os_compute_api:os-availability-zone:list", Authenticated;
    ZONES_DETAIL = "os_compute_api:os-availability-zone:detail", Admin;
    LIMITS = "os_compute_api:limits", Authenticated;
    QUOTAS_SHOW = "os_compute_api:os-quota-sets:show", ProjectReader;
    HYPERVISORS = "os_compute_api:os-hypervisors:list", Admin;
    SERVICES = "os_compute_api:os-services:list", Admin;
    LIST = "os_compute_api:servers:index", ProjectReader;
    LIST_ALL = "os_compute_api:servers:index:get_all_tenants", Admin;
    SHOW = "os_compute_api:servers:show", ProjectReader;
    HOST_STATUS = "os_compute_api:os-extended-server-attributes", Admin;
    CREATE = "os_compute_api:servers:create", ProjectMember;
    UPDATE = "os_compute_api:servers:update", ProjectMember;
    DELETE = "os_compute_api:servers:delete", ProjectMember;
    START = "os_compute_api:servers:start", ProjectMember;
    STOP = "os_compute_api:servers:stop", ProjectMember;
    REBOOT = "os_compute_api:servers:reboot", ProjectMember;
    RESET_STATE = "os_compute_api:os-admin-actions:reset_state", Admin;
    CONSOLE = "os_compute_api:os-console-output", ProjectMember;
    GROUPS_ADD = "os_compute_api:os-security-groups:add", ProjectMember;
    GROUPS_REMOVE = "os_compute_api:os-security-groups:remove", ProjectMember;
    METADATA_SHOW = "os_compute_api:server-metadata:index", ProjectReader;
    METADATA_UPDATE = "os_compute_api:server-metadata:update", ProjectMember;
    METADATA_DELETE = "os_compute_api:server-metadata:delete", ProjectMember;
    INTERFACES_LIST = "os_compute_api:os-attach-interfaces:list", ProjectReader;
    ATTACHMENTS_LIST = "os_compute_api:os-volumes-attachments:index", ProjectReader;
    ATTACHMENTS_CREATE = "os_compute_api:os-volumes-attachments:create", ProjectMember;
    ATTACHMENTS_DELETE = "os_compute_api:os-volumes-attachments:delete", ProjectMember;
    ACTIONS_LIST = "os_compute_api:os-instance-actions:list", ProjectReader;
}
