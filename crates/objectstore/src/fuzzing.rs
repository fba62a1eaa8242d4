//! For the fuzzer: what is read of bytes from outside and from the disk.

use crate::policy::Policy;
use crate::record::{self, Bucket, Object, Part, Upload, Usage};

/// Reads bytes as everything that is written down, and as a policy.
///
/// # Panics
/// If a record is not written as it was read.
pub fn record(bytes: &[u8]) {
    if let Ok(object) = Object::decode(bytes) {
        let again = object.encode().map(|bytes| Object::decode(&bytes));
        assert!(matches!(again, Ok(Ok(again)) if again == object), "{object:?}");
    }
    let _ = record::content_type(bytes);
    let _ = record::from_json::<Bucket>(bytes);
    let _ = record::from_json::<Upload>(bytes);
    let _ = record::from_json::<Part>(bytes);
    let _ = record::from_json::<Usage>(bytes);
    let _ = Policy::parse(bytes, "bucket");
}
