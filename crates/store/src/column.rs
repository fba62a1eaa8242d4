//! What a column may hold: TEXT, BIGINT, DOUBLE PRECISION, BYTEA, and the types that we read from them.

use hanse_core::{Error, Result, Timestamp, Uuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A bound parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Float(Option<f64>),
    Bytes(Option<Vec<u8>>),
}

/// A truth value, stored as 0 or 1 since the engines do not agree on booleans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

/// A value stored as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

macro_rules! values {
    ($($type:ty => $variant:ident($name:ident) $into:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($name: $type) -> Value { Value::$variant(Some($into)) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Value { Value::$variant(value.map(|$name| $into)) }
        }
    )*};
}

values! {
    &str => Text(text) text.to_owned();
    &String => Text(text) text.clone();
    String => Text(text) text;
    Uuid => Text(id) id.to_string();
    i64 => Int(number) number;
    i32 => Int(number) i64::from(number);
    u32 => Int(number) i64::from(number);
    Timestamp => Int(time) time.0;
    Flag => Int(flag) i64::from(flag.0);
    bool => Int(flag) i64::from(flag);
    f64 => Float(number) number;
    &[u8] => Bytes(bytes) bytes.to_vec();
    Vec<u8> => Bytes(bytes) bytes;
}

impl<T: Serialize> From<Json<T>> for Value {
    fn from(json: Json<T>) -> Value {
        // Our own types always serialise: no maps with keys that are not strings are stored.
        Value::Text(serde_json::to_string(&json.0).ok())
    }
}

/// What a raw column value can become.
pub trait FromColumn: Sized {
    /// # Errors
    /// An internal error if the column holds something else.
    fn from_column(value: Value) -> Result<Self>;
}

fn mismatch(value: &Value) -> Error {
    let kind = match value {
        Value::Text(_) => "text",
        Value::Int(_) => "integer",
        Value::Float(_) => "float",
        Value::Bytes(_) => "bytes",
    };
    Error::internal(format!("unexpected {kind} (or NULL) in a column"))
}

impl FromColumn for String {
    fn from_column(value: Value) -> Result<String> {
        match value {
            Value::Text(Some(text)) => Ok(text),
            other => Err(mismatch(&other)),
        }
    }
}

impl FromColumn for i64 {
    fn from_column(value: Value) -> Result<i64> {
        match value {
            Value::Int(Some(number)) => Ok(number),
            other => Err(mismatch(&other)),
        }
    }
}

impl FromColumn for f64 {
    fn from_column(value: Value) -> Result<f64> {
        match value {
            Value::Float(Some(number)) => Ok(number),
            other => Err(mismatch(&other)),
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: Value) -> Result<Vec<u8>> {
        match value {
            Value::Bytes(Some(bytes)) => Ok(bytes),
            other => Err(mismatch(&other)),
        }
    }
}

impl FromColumn for u32 {
    fn from_column(value: Value) -> Result<u32> {
        u32::try_from(i64::from_column(value)?).map_err(|_| Error::internal("a column does not fit 32 bits"))
    }
}

impl FromColumn for u64 {
    fn from_column(value: Value) -> Result<u64> {
        u64::try_from(i64::from_column(value)?).map_err(|_| Error::internal("a column is negative"))
    }
}

impl FromColumn for bool {
    fn from_column(value: Value) -> Result<bool> {
        Ok(i64::from_column(value)? != 0)
    }
}

impl FromColumn for Timestamp {
    fn from_column(value: Value) -> Result<Timestamp> {
        i64::from_column(value).map(Timestamp)
    }
}

impl FromColumn for Uuid {
    fn from_column(value: Value) -> Result<Uuid> {
        let text = String::from_column(value)?;
        text.parse().map_err(|_| Error::internal(format!("'{text}' in a column is no UUID")))
    }
}

impl<T: DeserializeOwned> FromColumn for Json<T> {
    fn from_column(value: Value) -> Result<Json<T>> {
        let text = String::from_column(value)?;
        serde_json::from_str(&text)
            .map(Json)
            .map_err(|error| Error::internal(format!("a JSON column does not read: {error}")))
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: Value) -> Result<Option<T>> {
        match value {
            Value::Text(None) | Value::Int(None) | Value::Float(None) | Value::Bytes(None) => Ok(None),
            value => T::from_column(value).map(Some),
        }
    }
}
