//! What object storage has written down, and policies of buckets, as they are read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hanse_objectstore::fuzzing::record(bytes));
