//! `cargo +nightly fuzz run seccomp_toml`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::seccomp_toml(data));
