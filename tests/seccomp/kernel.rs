//! Calls made behind a filter, on this kernel.
//!
//! # Theory of operation
//! A filter belongs to a thread: a test makes one, installs, calls, and ends it. So that the
//! filter's answer can be told from the kernel's own, every errno in the program is raised by
//! [`MARK`] first: EPERM from the filter is 1001, from the kernel 1.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::os::fd::{FromRawFd, OwnedFd};

use bryo::confine::seccomp::Program;
use bryo::plan::seccomp::Arch;
use bryo::sys::process::irrevocably_set_no_new_privs;
use bryo::sys::seccomp::{Instruction, irrevocably_install_filter};

/// What is added to the filter's errnos.
pub const MARK: i64 = 1000;

/// What a call gave: its result, or its errno below zero.
pub type Outcome = i64;

/// The filter's own refusal.
pub fn refused(errno: i32) -> Outcome {
    -(MARK + i64::from(errno))
}

/// The program with its errnos marked.
pub fn marked(program: &Program) -> Vec<Instruction> {
    let mut code = Instruction::read_all(program.bytes()).unwrap();
    for one in &mut code {
        if one.code == 6 && one.operand & 0xffff_0000 == 0x0005_0000 {
            one.operand += u32::try_from(MARK).unwrap();
        }
    }
    code
}

/// Runs `body` on a thread with the filter.
pub fn behind<T: Send>(code: &[Instruction], body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            irrevocably_set_no_new_privs().unwrap();
            irrevocably_install_filter(code).unwrap();
            body()
        });
        thread.join().unwrap()
    })
}

/// A raw call by number, as the native instruction makes it.
pub fn call(number: i64, args: [u64; 6]) -> Outcome {
    let [first, second, third, rest @ ..] = args;
    // SAFETY: the tests pass no pointer but to live memory, or one that the kernel refuses.
    let result = unsafe { libc::syscall(number, first, second, third, rest[0], rest[1], rest[2]) };
    if result == -1 {
        return -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap());
    }
    result
}

/// A call through the 32-bit entry, `int 0x80`. Arguments are numbers only.
#[cfg(target_arch = "x86_64")]
pub fn call_32(number: u32, args: [u32; 3]) -> Outcome {
    let result: u64;
    let first = u64::from(args[0]);
    // SAFETY: rbx, which the compiler keeps for itself, is put back; the kernel clobbers r8 to r11
    // and rax. No argument is a pointer to anything that exists.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) first => _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") u64::from(args[1]),
            in("rdx") u64::from(args[2]),
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    // The result is 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the result")]
    let low = result as u32;
    i64::from(low.cast_signed())
}

/// What this machine is.
pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") { Arch::X86_64 } else { Arch::Aarch64 };

/// Bits above the 32 that the kernel looks at.
pub const HIGH: u64 = 0x1234_5678_0000_0000;

/// The native number of a call; `None` where this architecture lacks it.
pub fn number(name: &str) -> Option<i64> {
    crate::common::tables().of(NATIVE).unwrap().number(name).map(i64::from)
}

/// Gives a descriptor back, where the call gave one.
pub fn close(outcome: Outcome) {
    if let Ok(fd @ 3..) = i32::try_from(outcome) {
        // SAFETY: the call made it and nobody else has it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}
