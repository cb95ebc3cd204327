//! Any bytes as a log: nothing falls over, and what is read does not depend on how the bytes come.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boptop::metrics::fuzzing::lines(data));
