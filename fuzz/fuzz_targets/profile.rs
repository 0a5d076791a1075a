//! `cargo +nightly fuzz run profile`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::profile(data));
