//! One declaration for the row of a table: the struct, the columns, how it is read and how it is bound.

use hanse_store::{FromRow, Value};

/// A row with an `id` and a `created_at`, as the generic SQL in [`crate::db::rows`] wants it.
pub(crate) trait Stored: FromRow + Send + Sync {
    const TABLE: &'static str;
    /// All columns but `id`, in the order of [`Stored::values`].
    const COLUMNS: &'static [&'static str];

    fn id(&self) -> &str;
    fn values(&self) -> Vec<Value>;
}

/// `as Json` marks the columns that hold JSON text.
macro_rules! row {
    (@read $row:ident, $field:ident, Json) => { $row.get::<hanse_store::Json<_>>(stringify!($field))?.0 };
    (@read $row:ident, $field:ident) => { $row.get(stringify!($field))? };
    (@bind $value:expr, Json) => { hanse_store::Value::from(hanse_store::Json(&$value)) };
    (@bind $value:expr) => { hanse_store::Value::from($value.clone()) };
    ($(#[$doc:meta])* $name:ident in $table:literal {
        $($(#[$about:meta])* $field:ident: $type:ty $(as $how:ident)?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            pub(crate) id: String,
            $($(#[$about])* pub(crate) $field: $type,)*
            pub(crate) created_at: hanse_core::Timestamp,
        }

        impl hanse_store::FromRow for $name {
            fn from_row(row: &hanse_store::Row) -> hanse_core::Result<$name> {
                Ok($name {
                    id: row.get("id")?,
                    $($field: $crate::row::row!(@read row, $field $(, $how)?),)*
                    created_at: row.get("created_at")?,
                })
            }
        }

        impl $crate::row::Stored for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field),)* "created_at"];

            fn id(&self) -> &str {
                &self.id
            }

            fn values(&self) -> Vec<hanse_store::Value> {
                vec![$($crate::row::row!(@bind self.$field $(, $how)?),)* self.created_at.into()]
            }
        }
    };
}
pub(crate) use row;
