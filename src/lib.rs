//! lib

#[expect(unsafe_code, reason = "calls to the kernel; each block says why it is sound")]
pub mod sys;
