//! The payload of tokens and receipts: what stands sealed in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hanse_identity::fuzzing::payload(bytes));
