//! `cargo +nightly fuzz run packets`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::packets(data));
