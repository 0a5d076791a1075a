//! `cargo +nightly fuzz run rule`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::network::rule(data));
