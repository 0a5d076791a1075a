//! `cargo +nightly fuzz run client_hello`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::network::client_hello(data));
