//! `cargo +nightly fuzz run seccomp_json`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::seccomp_json(data));
