//! SQL, and nothing else.

pub(crate) mod attachments;
pub(crate) mod quotas;
pub(crate) mod volumes;
