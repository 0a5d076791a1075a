//! `cargo +nightly fuzz run dns_answer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::network::dns_answer(data));
