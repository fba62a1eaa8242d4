//! Everything that can be asked for. The names follow those of S3's actions (`s3:GetObject`).

hanse_policy::verbs! {
    LIST_BUCKETS = "objectstore:bucket:list", ProjectReader;
    SHOW_BUCKET = "objectstore:bucket:get", ProjectReader;
    CREATE_BUCKET = "objectstore:bucket:create", ProjectMember;
    LIMIT_ACCOUNT = "objectstore:account:update_quota", Admin;
    UPDATE_BUCKET = "objectstore:bucket:update", ProjectMember;
    DELETE_BUCKET = "objectstore:bucket:delete", ProjectMember;
    GET_OBJECT = "objectstore:object:get", ProjectReader;
    PUT_OBJECT = "objectstore:object:put", ProjectMember;
    BYPASS_RETENTION = "objectstore:object:bypass_retention", ProjectManager;
    DELETE_OBJECT = "objectstore:object:delete", ProjectMember;
    LIST_KEYS = "objectstore:key:list", ProjectReader;
    SHOW_KEY = "objectstore:key:get", ProjectReader;
    CREATE_KEY = "objectstore:key:create", ProjectMember;
    UPDATE_KEY = "objectstore:key:update", ProjectMember;
    DELETE_KEY = "objectstore:key:delete", ProjectMember;
}
