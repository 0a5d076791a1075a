//! `cargo +nightly fuzz run archive`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::archive(data));
