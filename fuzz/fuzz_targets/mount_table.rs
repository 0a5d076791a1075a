//! `cargo +nightly fuzz run mount_table`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bryo_fuzz::mount_table(data));
