//! SQL, and nothing else.

pub mod data;
pub mod images;
