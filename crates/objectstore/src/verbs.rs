//! Everything that can be asked for. The names follow those of S3's actions (`s3:GetObject`).

use hanse_policy::{Rule, Verb};

macro_rules! verbs {
    ($($constant:ident = $name:literal, $rule:ident;)*) => {
        $(pub(crate) const $constant: Verb = Verb::new($name, Rule::$rule);)*
        /// Every verb of object storage.
        pub const VERBS: &[Verb] = &[$($constant),*];
    };
}

verbs! {
    LIST_BUCKETS = "objectstore:bucket:list", ProjectReader;
    SHOW_BUCKET = "objectstore:bucket:get", ProjectReader;
    CREATE_BUCKET = "objectstore:bucket:create", ProjectMember;
    UPDATE_BUCKET = "objectstore:bucket:update", ProjectMember;
    DELETE_BUCKET = "objectstore:bucket:delete", ProjectMember;
    GET_OBJECT = "objectstore:object:get", ProjectReader;
    PUT_OBJECT = "objectstore:object:put", ProjectMember;
    BYPASS_RETENTION = "objectstore:object:bypass_retention", ProjectManager;
    DELETE_OBJECT = "objectstore:object:delete", ProjectMember;
}
