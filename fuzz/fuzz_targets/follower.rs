//! Any history of a file against the truth, on a file system that lies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boptop::metrics::fuzzing::follower(data));
