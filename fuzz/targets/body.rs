//! JSON bodies of every kind that identity takes; the first byte chooses the kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hanse_identity::fuzzing::body(bytes));
