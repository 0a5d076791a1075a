//! The tables of system calls against libseccomp and the libc crate.
//!
//! `BRYO_WRITE_TABLES=1 cargo test --test seccomp_tables` writes them anew, from the installed libseccomp
//! and the lists below.

use std::path::Path;

use bryo::plan::seccomp::{Arch, SyscallTable, SyscallTables, find_name};
use libseccomp::{ScmpArch, ScmpSyscall};

/// Calls that libseccomp 2.5 has no names for. Since 5.1 a new call has one number on every
/// architecture (`scripts/syscall.tbl` of the kernel).
const NEWER: &[(u32, &str)] = &[
    (451, "cachestat"),
    (452, "fchmodat2"),
    (453, "map_shadow_stack"),
    (454, "futex_wake"),
    (455, "futex_wait"),
    (456, "futex_requeue"),
    (457, "statmount"),
    (458, "listmount"),
    (459, "lsm_get_self_attr"),
    (460, "lsm_set_self_attr"),
    (461, "lsm_list_modules"),
    (462, "mseal"),
    (463, "setxattrat"),
    (464, "getxattrat"),
    (465, "listxattrat"),
    (466, "removexattrat"),
    (467, "open_tree_attr"),
    (468, "file_getattr"),
    (469, "file_setattr"),
];

/// As [`NEWER`], for 64-bit x86 alone: where the kernel's own probes return through.
const NEWER_X86_64: &[(u32, &str)] = &[(335, "uretprobe"), (336, "uprobe")];

/// Newer calls are not decided about: they get ENOSYS like any unknown number.
const UNDECIDED_FROM: u32 = 470;

fn libseccomps(arch: Arch) -> Vec<(u32, String)> {
    let library = match arch {
        Arch::X86_64 => ScmpArch::X8664,
        Arch::X86 => ScmpArch::X86,
        Arch::Aarch64 => ScmpArch::Aarch64,
        Arch::Arm => ScmpArch::Arm,
    };
    // 32-bit Arm has calls of its own from 0xf0000.
    let numbers = (0..UNDECIDED_FROM.cast_signed()).chain(0xf_0000..0xf_0010);
    let name = |number| ScmpSyscall::from(number).get_name_by_arch(library).ok();
    numbers.filter_map(|number: i32| Some((number.cast_unsigned(), name(number)?))).collect()
}

fn newer(arch: Arch) -> Vec<(u32, String)> {
    let own = if arch == Arch::X86_64 { NEWER_X86_64 } else { &[] };
    NEWER.iter().chain(own).map(|(number, name)| (*number, (*name).to_owned())).collect()
}

#[test]
fn the_tables_are_libseccomps_and_what_is_newer() {
    let tables = SyscallTables::known().unwrap();
    for arch in Arch::ALL {
        let made = SyscallTable::new(arch, libseccomps(arch).into_iter().chain(newer(arch)));
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("src/plan/seccomp/calls-{}.txt", arch.table_name()));
        if std::env::var_os("BRYO_WRITE_TABLES").is_some() {
            std::fs::write(&path, made.to_text()).unwrap();
        }
        let kept = tables.of(arch).unwrap();
        assert!(kept.numbers().count() > 300);
        // A machine with an older libseccomp may know less, never something else.
        for number in made.numbers() {
            assert_eq!(kept.name(number), made.name(number), "{arch:?} {number}");
        }
        for number in kept.numbers() {
            let name = kept.name(number).unwrap();
            assert_eq!(find_name(arch, number), Some(name));
            assert_eq!(kept.number(name), Some(number), "{arch:?} `{name}` twice");
        }
    }
}

#[test]
fn the_native_table_is_the_libc_crates_too() {
    let native = if cfg!(target_arch = "x86_64") { Arch::X86_64 } else { Arch::Aarch64 };
    let tables = SyscallTables::known().unwrap();
    for (name, number) in [
        ("read", libc::SYS_read),
        ("ioctl", libc::SYS_ioctl),
        ("openat", libc::SYS_openat),
        ("socket", libc::SYS_socket),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("keyctl", libc::SYS_keyctl),
        ("bpf", libc::SYS_bpf),
        ("openat2", libc::SYS_openat2),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
        ("fchmodat2", libc::SYS_fchmodat2),
        ("mseal", libc::SYS_mseal),
    ] {
        let found = tables.of(native).unwrap().number(name).map(i64::from);
        assert_eq!(found, Some(number), "{name}");
    }
}
