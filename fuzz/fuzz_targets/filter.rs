#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mongo_observer::fuzzing::filter(data));
