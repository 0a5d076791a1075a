//! `cargo +nightly fuzz run dns_query`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::network::dns_query(data));
