#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| saqta_fuzz::record::check(input));
