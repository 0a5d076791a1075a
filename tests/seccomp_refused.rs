//! What the default filter refuses, through every way into the kernel. Each test has its control:
//! without the filter the same call gets past it.
#![expect(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test fails by panicking; raw calls, int 0x80 and fork are what is tested"
)]

#[path = "seccomp/mod.rs"]
mod common;
#[path = "seccomp/kernel.rs"]
mod kernel;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use bryo::spec::seccomp::{Notifications, PolicyVariant, UnixSockets};
use bryo::sys::seccomp::Instruction;

use common::compiled;
use kernel::{HIGH, Outcome, behind, call, close, marked, number, refused};

/// A default run where nobody listens, so that notified calls answer their errno.
fn quiet() -> PolicyVariant {
    PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() }
}

fn default_filter(variant: PolicyVariant) -> Vec<Instruction> {
    marked(&compiled("default", variant))
}

/// The same call behind the filter and without it.
fn both(filter: &[Instruction], number: i64, args: [u64; 6]) -> (Outcome, Outcome) {
    (behind(filter, || call(number, args)), call(number, args))
}

/// Refused with this errno, and only by the filter.
fn assert_refused(filter: &[Instruction], name: &str, args: [u64; 6], errno: i32) {
    let Some(number) = number(name) else { return };
    let (inside, outside) = both(filter, number, args);
    assert_eq!(inside, refused(errno), "{name} {args:x?}");
    assert!(outside > -kernel::MARK, "{name} {args:x?} gave {outside} without the filter");
}

/// Calls that the default policy refuses whatever their arguments; with -1 everywhere no kernel does
/// anything.
const REFUSED: &[(i32, &[&str])] = &[
    (
        libc::EPERM,
        &[
            "mount",
            "umount2",
            "pivot_root",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "mount_setattr",
            "chroot",
            "setns",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "fanotify_init",
            "fanotify_mark",
            "open_by_handle_at",
            "modify_ldt",
            "syslog",
            "migrate_pages",
            "sethostname",
            "setdomainname",
            "reboot",
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "swapon",
            "swapoff",
            "acct",
            "quotactl",
            "quotactl_fd",
            "settimeofday",
            "clock_settime",
            "iopl",
            "ioperm",
        ],
    ),
    (
        libc::ENOSYS,
        &[
            "clone3",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "lsm_get_self_attr",
            "lsm_set_self_attr",
            "lsm_list_modules",
            "file_getattr",
            "file_setattr",
            "uselib",
            "ustat",
            "sysfs",
            "lookup_dcookie",
        ],
    ),
];

#[test]
fn what_is_refused_whatever_its_arguments_is_refused_by_the_filter() {
    let filter = default_filter(quiet());
    let nonsense = [u64::MAX; 6];
    for (errno, names) in REFUSED {
        for name in *names {
            assert_refused(&filter, name, nonsense, *errno);
            assert_refused(&filter, name, [0xffff_ffff; 6], *errno);
        }
    }
    // vhangup without a filter would hang this session up: no control.
    let vhangup = number("vhangup").unwrap();
    assert_eq!(behind(&filter, || call(vhangup, [0; 6])), refused(libc::EPERM));
}

#[test]
fn unknown_numbers_do_not_exist() {
    let filter = default_filter(quiet());
    for number in [337, 400, 423, 600, 1000, 0x3fff_ffff, 0x7fff_ffff] {
        assert_eq!(behind(&filter, || call(number, [0; 6])), refused(libc::ENOSYS), "{number}");
        assert_eq!(call(number, [0; 6]), -i64::from(libc::ENOSYS), "{number}");
    }
    // A debugger skips a call by this number: the kernel's own answer, not ours.
    let skipped = behind(&filter, || call(-1, [0; 6]));
    assert_eq!(skipped, -i64::from(libc::ENOSYS));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn x32_calls_do_not_exist() {
    let filter = default_filter(quiet());
    // read, open, getpid, mount, keyctl, execve and ioctl of x32.
    for number in [0, 2, 39, 165, 250, 520, 514] {
        let x32 = 0x4000_0000 | number;
        assert_eq!(behind(&filter, || call(x32, [u64::MAX; 6])), refused(libc::ENOSYS), "{number}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_through_the_32_bit_entry_do_not_exist() {
    use kernel::call_32;
    let filter = default_filter(quiet());
    let own = i64::from(std::process::id());
    assert_eq!(call_32(20, [0; 3]), own, "getpid through int 0x80, the control");
    // getpid, read, mount, keyctl, unshare, socketcall, ptrace, clone3, bpf, an unknown one.
    for number in [20, 3, 21, 288, 310, 102, 26, 435, 357, 1000] {
        let inside = behind(&filter, || call_32(number, [u32::MAX; 3]));
        assert_eq!(inside, refused(libc::ENOSYS), "{number}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_32_bit_policy_refuses_the_same_through_the_32_bit_entry() {
    use kernel::call_32;
    let filter = marked(&compiled("default-32", quiet()));
    let own = i64::from(std::process::id());
    let inside = |number, args| behind(&filter, || call_32(number, args));
    assert_eq!(inside(20, [0; 3]), own);
    for (name, number) in [("mount", 21), ("keyctl", 288), ("bpf", 357), ("setns", 346)] {
        assert_eq!(inside(number, [u32::MAX; 3]), refused(libc::EPERM), "{name}");
    }
    assert_eq!(inside(435, [0; 3]), refused(libc::ENOSYS), "clone3");
    assert_eq!(inside(1000, [0; 3]), refused(libc::ENOSYS), "unknown");
    assert_eq!(inside(310, [0x1000_0000, 0, 0]), refused(libc::EPERM), "unshare(CLONE_NEWUSER)");
    assert_eq!(inside(359, [40, 1, 0]), refused(libc::EAFNOSUPPORT), "socket(AF_VSOCK)");
    for number in [1, 8] {
        let family = refused(libc::EAFNOSUPPORT);
        assert_eq!(inside(102, [number, 0, 0]), family, "socketcall({number})");
    }
    assert_eq!(inside(54, [u32::MAX, 0x5412, 0]), refused(libc::EPERM), "ioctl(TIOCSTI)");
    // The control: without the filter each comes to the kernel.
    assert!(call_32(288, [u32::MAX; 3]) > -kernel::MARK);
    assert!(call_32(359, [40, 1, 0]) > -kernel::MARK);
}

fn pty() -> (OwnedFd, OwnedFd) {
    let pair = nix::pty::openpty(None, None).unwrap();
    (pair.master, pair.slave)
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    let filter = default_filter(quiet());
    let (_master, slave) = pty();
    let ioctl = number("ioctl").unwrap();
    let letter = b'x';
    let fd = u64::try_from(slave.as_raw_fd()).unwrap();
    for request in [0x5412, 0x541c] {
        for high in [0, HIGH, 1 << 32, 0xffff_ffff_0000_0000] {
            let args = [fd, request | high, (&raw const letter) as u64, 0, 0, 0];
            let (inside, outside) = both(&filter, ioctl, args);
            assert_eq!(inside, refused(libc::EPERM), "{request:#x} {high:#x}");
            // The kernel throws the upper bits away: TIOCSTI works, or fails as it does without them.
            assert!(outside > -kernel::MARK, "{request:#x} {high:#x}: {outside}");
        }
    }
    let size = [0_u16; 4];
    let args = [fd, 0x5413, size.as_ptr() as u64, 0, 0, 0];
    assert_eq!(behind(&filter, || call(ioctl, args)), 0, "TIOCGWINSZ");
}

#[test]
fn only_four_families_of_sockets_exist() {
    let filter = default_filter(quiet());
    let socket = number("socket").unwrap();
    let stream = 1;
    let mut allowed = Vec::new();
    for family in 0..46 {
        for high in [0, HIGH] {
            let outcome = behind(&filter, || {
                let fd = call(socket, [family | high, stream, 0, 0, 0, 0]);
                close(fd);
                fd
            });
            if outcome != refused(libc::EAFNOSUPPORT) {
                allowed.push(family);
            }
        }
    }
    // AF_NETLINK with SOCK_STREAM comes to the kernel, which has no such thing.
    assert_eq!(allowed, [1, 1, 2, 2, 10, 10, 16, 16]);
    for protocol in 0..23_u64 {
        let args = [16, 3, protocol | HIGH, 0, 0, 0];
        let (inside, outside) = both(&filter, socket, args);
        let route = protocol == 0;
        assert_eq!(inside != refused(libc::EAFNOSUPPORT), route, "netlink {protocol}: {inside}");
        assert!(outside > -kernel::MARK);
        [inside, outside].into_iter().for_each(close);
    }
    assert_refused(&filter, "socket", [40, 1, 0, 0, 0, 0], libc::EAFNOSUPPORT);
    assert_refused(&filter, "socketpair", [2 | HIGH, 1, 0, 0, 0, 0], libc::EAFNOSUPPORT);
}

#[test]
fn no_type_of_an_allowed_family_makes_another_family_of_it() {
    let filter = default_filter(quiet());
    let socket = number("socket").unwrap();
    // SOCK_PACKET turns AF_INET into AF_PACKET in the kernel.
    for (kind, wanted) in
        [(1, true), (2, true), (3, true), (4, false), (5, false), (6, false), (10, false)]
    {
        for family in [2, 10] {
            for extra in [0, HIGH, u64::from(libc::SOCK_CLOEXEC.cast_unsigned())] {
                let args = [family, kind | extra, 0, 0, 0, 0];
                let (inside, outside) = both(&filter, socket, args);
                let came = inside != refused(libc::EAFNOSUPPORT);
                assert_eq!(came, wanted, "{family} {kind} {extra:#x}: {inside}");
                assert!(outside > -kernel::MARK);
                [inside, outside].into_iter().for_each(close);
            }
        }
    }
}

/// An abstract socket somewhere else that would hear what reaches it.
fn hearer(kind: i32) -> (OwnedFd, Vec<u8>) {
    use nix::sys::socket::{Backlog, bind, listen};
    let name = format!("bryo-test-{}-{kind}", std::process::id());
    let address = nix::sys::socket::UnixAddr::new_abstract(name.as_bytes()).unwrap();
    // SAFETY: no pointer.
    let raw = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    assert!(raw >= 0);
    // SAFETY: just made.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    bind(raw, &address).unwrap();
    if kind != libc::SOCK_DGRAM {
        listen(&socket, Backlog::new(1).unwrap()).unwrap();
    }
    let bytes = [&1_u16.to_ne_bytes()[..], &[0], name.as_bytes()].concat();
    (socket, bytes)
}

/// Whether an end of a pair can reach the hearer: `None` when no pair can be made.
fn pair_reaches(filter: Option<&[Instruction]>, kind: i32, address: &[u8]) -> Option<bool> {
    let attempt = || {
        let mut ends = [0_i32; 2];
        let kind = u64::try_from(kind).unwrap();
        let pair = number("socketpair").unwrap();
        if call(pair, [1, kind, 0, ends.as_mut_ptr() as u64, 0, 0]) != 0 {
            return None;
        }
        let fd = u64::try_from(ends[0]).unwrap();
        let (at, length) = (address.as_ptr() as u64, address.len() as u64);
        let connected = call(number("connect").unwrap(), [fd, at, length, 0, 0, 0]) == 0;
        ends.map(i64::from).into_iter().for_each(close);
        Some(connected)
    };
    match filter {
        Some(filter) => behind(filter, attempt),
        None => attempt(),
    }
}

#[test]
fn where_unix_sockets_are_refused_no_pair_reaches_one_either() {
    let variant = PolicyVariant { unix_sockets: UnixSockets::Refuse, ..quiet() };
    let filter = default_filter(variant);
    assert_refused(&filter, "socket", [1, 1, 0, 0, 0, 0], libc::EAFNOSUPPORT);
    assert_refused(&filter, "socket", [1 | HIGH, 2, 0, 0, 0, 0], libc::EAFNOSUPPORT);
    let (_dgram, address) = hearer(libc::SOCK_DGRAM);
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
        // The control: an end of such a pair can be connected to anything.
        assert_eq!(pair_reaches(None, kind, &address), Some(true), "{kind}");
        assert_eq!(pair_reaches(Some(&filter), kind, &address), None, "{kind}");
    }
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let (_socket, address) = hearer(kind);
        for flags in [0, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK] {
            assert_eq!(pair_reaches(Some(&filter), kind | flags, &address), Some(false), "{kind}");
        }
    }
}

#[test]
fn namespaces_are_refused_to_clone_and_unshare() {
    let filter = default_filter(quiet());
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWTIME,
    ] {
        let flag = u64::from(flag.cast_unsigned());
        for extra in [0, HIGH, 0x200] {
            let unshare = number("unshare").unwrap();
            // No control for these: it would take this process into new namespaces.
            let inside = behind(&filter, || call(unshare, [flag | extra, 0, 0, 0, 0, 0]));
            assert_eq!(inside, refused(libc::EPERM), "unshare({flag:#x} | {extra:#x})");
        }
        // In clone these bits of CLONE_NEWTIME are the signal at the end.
        if flag != 0x80 {
            let clone = number("clone").unwrap();
            let inside = behind(&filter, || call(clone, [flag | HIGH | 0x11, 0, 0, 0, 0, 0]));
            assert_eq!(inside, refused(libc::EPERM), "clone({flag:#x})");
        }
    }
    let unshare = number("unshare").unwrap();
    assert_eq!(behind(&filter, || call(unshare, [0x400, 0, 0, 0, 0, 0])), 0, "CLONE_FILES");
    // CLONE_THREAD without CLONE_SIGHAND: past the filter, refused by the kernel.
    let control = call(number("clone").unwrap(), [0x1000_0000 | 0x1_0000, 0, 0, 0, 0, 0]);
    assert_eq!(control, -i64::from(libc::EINVAL));
}

#[test]
fn personalities_are_refused_but_for_harmless_ones() {
    let filter = default_filter(quiet());
    let personality = number("personality").unwrap();
    for value in [0x40_0000, 0x10_0000, 4, 0x20_0000, 0x0800_0000, 0xffff_fffe] {
        let inside = behind(&filter, || call(personality, [value | HIGH, 0, 0, 0, 0, 0]));
        assert_eq!(inside, refused(libc::EPERM), "{value:#x}");
    }
    for value in [0xffff_ffff, 0, 0x4_0000, 0x2_0000, 8, 0] {
        let inside = behind(&filter, || call(personality, [value, 0, 0, 0, 0, 0]));
        assert!(inside >= 0, "{value:#x}: {inside}");
    }
}
