//! Everything that can be asked for, named as upstream's policy names it.

hanse_policy::verbs! {
    CREATE = "volume:create", ProjectMember;
    SHOW = "volume:get", ProjectReader;
    LIST = "volume:get_all", ProjectReader;
    UPDATE = "volume:update", ProjectMember;
    DELETE = "volume:delete", ProjectMember;
    EXTEND = "volume:extend", ProjectMember;
    FORCE_DELETE = "volume_extension:volume_admin_actions:force_delete", Admin;
    RESET_STATUS = "volume_extension:volume_admin_actions:reset_status", Admin;
    ATTACH = "volume:attachment_create", ProjectMember;

    SHOW_METADATA = "volume:get_volume_metadata", ProjectReader;
    CREATE_METADATA = "volume:create_volume_metadata", ProjectMember;
    UPDATE_METADATA = "volume:update_volume_metadata", ProjectMember;
    DELETE_METADATA = "volume:delete_volume_metadata", ProjectMember;

    SHOW_TYPE = "volume_extension:type_get", ProjectReader;
    LIST_TYPES = "volume_extension:type_get_all", ProjectReader;
    CREATE_TYPE = "volume_extension:type_create", Admin;

    SHOW_LIMITS = "limits_extension:used_limits", ProjectReader;
    SHOW_QUOTA = "volume_extension:quotas:show", ProjectReader;
    UPDATE_QUOTA = "volume_extension:quotas:update", Admin;
    DELETE_QUOTA = "volume_extension:quotas:delete", Admin;

    LIST_ZONES = "volume:availability_zone_list", ProjectReader;
    LIST_EXTENSIONS = "volume:list_extensions", ProjectReader;
    LIST_SERVICES = "volume_extension:services:index", Admin;
}
