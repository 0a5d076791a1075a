//! What the default filter lets through: every allowed call comes to the kernel, and ordinary programs
//! do what they do.
#![expect(
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test fails by panicking; raw calls and fork are what is tested"
)]

#[path = "seccomp/mod.rs"]
mod common;
#[path = "seccomp/kernel.rs"]
mod kernel;

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use bryo::confine::seccomp::Program;
use bryo::spec::seccomp::{Action, Call, Notifications, PolicyVariant, Rule, file};
use bryo::sys::seccomp::Instruction;

use common::compiled;
use kernel::{behind, call, close, marked, number};

/// A default run where nobody listens.
fn program() -> Program {
    let variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    compiled("default", variant)
}

fn filter() -> Vec<Instruction> {
    marked(&program())
}

/// As it is: libc knows what to do about ENOSYS, not about a marked one.
fn unmarked() -> Vec<Instruction> {
    Instruction::read_all(program().bytes()).unwrap()
}

/// Calls that end, stop or confuse the calling thread; programs in the tests below make them.
const NOT_BY_THEMSELVES: &[&str] = &[
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "pause",
    "rt_sigreturn",
    "set_tid_address",
    "setsid",
    // Killed by the kernel when they do not come from where it put them.
    "uretprobe",
    "uprobe",
];

/// Arguments with which a call is allowed, where -1 everywhere is not, or would do something.
fn harmless(name: &str) -> [u64; 6] {
    let all = u64::MAX;
    match name {
        "chmod" | "fchmod" | "creat" | "mknod" => [all, 0o644, 0, 0, 0, 0],
        "fchmodat" | "fchmodat2" | "mknodat" => [all, all, 0o644, 0, 0, 0],
        "open" => [all, 0, 0, 0, 0, 0],
        "openat" => [all, all, 0, 0, 0, 0],
        "clone" => [0x1_0000, 0, 0, 0, 0, 0],
        "unshare" | "alarm" => [0; 6],
        "socket" | "socketpair" => [1, 99, 0, 0, 0, 0],
        "umask" => [0o022, 0, 0, 0, 0, 0],
        _ => [all; 6],
    }
}

/// Names that the default policy allows in a plain run, at least with some arguments.
fn allowed() -> Vec<String> {
    let variant = PolicyVariant { notify: Notifications::Off, ..PolicyVariant::default() };
    let policy = file::builtin("default").unwrap().unwrap();
    let allows = |rule: &&Rule| rule.action == Action::Allow && rule.only.hold(&variant, "amd64");
    let calls = policy.rules.iter().filter(allows).flat_map(|rule| &rule.calls);
    let mut names: Vec<String> = calls
        .filter_map(|call| match call {
            Call::Name(name) => Some(name.clone()),
            Call::Number(_) => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_allowed_call_comes_to_the_kernel() {
    let filter = filter();
    let names = allowed();
    let calls: Vec<(&str, i64)> = names
        .iter()
        .filter(|name| !NOT_BY_THEMSELVES.contains(&name.as_str()))
        .filter_map(|name| Some((name.as_str(), number(name)?)))
        .collect();
    assert!(calls.len() > 250, "{}", calls.len());
    let refused = behind(&filter, || {
        let mut refused = Vec::new();
        for (name, number) in calls {
            let outcome = call(number, harmless(name));
            if outcome <= -kernel::MARK {
                refused.push(name);
            } else if name.starts_with("eventfd") || name.starts_with("inotify_init") {
                close(outcome);
            }
        }
        refused
    });
    assert_eq!(refused, [""; 0]);
}

#[test]
fn sockets_of_the_payload_work() {
    let filter = unmarked();
    let folder = tempfile::tempdir().unwrap();
    behind(&filter, || {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"pair").unwrap();
        let mut heard = [0; 4];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pair");
        // sendto on a connected socket, with no address: what bubblewrap's users once lost.
        let (one, other) = UnixDatagram::pair().unwrap();
        assert_eq!(one.send(b"datagram").unwrap(), 8);
        other.recv(&mut heard).unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_ttl(7).unwrap();
        assert_eq!(tcp.ttl().unwrap(), 7, "setsockopt");
        // libc lists addresses through netlink.
        let mut list = std::ptr::null_mut();
        // SAFETY: libc allocates the list, and takes it back.
        let listed = unsafe { libc::getifaddrs(&raw mut list) };
        assert_eq!(listed, 0, "getifaddrs");
        // SAFETY: made above, used no more.
        unsafe { libc::freeifaddrs(list) };
    });
}

#[test]
fn threads_and_children_are_made_although_clone3_does_not_exist() {
    let filter = unmarked();
    behind(&filter, || {
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
        let output = Command::new("sh").args(["-c", "echo child; exit 3"]).output().unwrap();
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"child\n"[..], Some(3)));
    });
}

/// A child that asks to be traced and stops; only calls that are safe after a fork.
fn traced_child() -> nix::unistd::Pid {
    let ptrace = number("ptrace").unwrap();
    // SAFETY: the child makes raw calls only.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            let trace_me = call(ptrace, [0; 6]);
            // SAFETY: no pointer.
            let stopped = unsafe { libc::raise(libc::SIGSTOP) };
            // SAFETY: no pointer; does not return.
            unsafe { libc::_exit(i32::from(trace_me != 0 || stopped != 0)) }
        }
    }
}

#[test]
fn the_payloads_own_processes_can_be_traced() {
    use nix::sys::wait::{WaitStatus, waitpid};
    let filter = filter();
    behind(&filter, || {
        let child = traced_child();
        let stopped = waitpid(child, None).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        // PTRACE_CONT
        let pid = u64::try_from(child.as_raw()).unwrap();
        assert_eq!(call(number("ptrace").unwrap(), [7, pid, 0, 0, 0, 0]), 0);
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    });
}

#[test]
fn a_c_program_is_compiled_and_run() {
    let filter = unmarked();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("hello.c");
    std::fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n").unwrap();
    let program = folder.path().join("hello");
    behind(&filter, || {
        let built = Command::new("cc").arg("-o").args([&program, &source]).status().unwrap();
        assert!(built.success());
        let output = Command::new(&program).output().unwrap();
        assert_eq!(output.stdout, b"hello\n");
    });
}

#[test]
fn a_payload_can_confine_itself_further() {
    let filter = filter();
    behind(&filter, || {
        bryo::sys::seccomp::irrevocably_install_filter(&filter).unwrap();
        let version =
            number("landlock_create_ruleset").map(|number| call(number, [0, 0, 1, 0, 0, 0]));
        assert!(version.unwrap() > -kernel::MARK);
    });
}

#[test]
fn files_are_made_with_ordinary_modes() {
    use std::os::unix::fs::PermissionsExt;
    let filter = unmarked();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    behind(&filter, || {
        std::fs::write(&path, "content").unwrap();
        for mode in [0o755, 0o1777, 0o600] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    });
}

/// The listener of a filter; gone with the last thread that has the filter.
#[test]
fn a_notified_call_gets_its_errno_from_the_listener() {
    use bryo::sys::errno::Errno;
    use bryo::sys::seccomp::{Listener, irrevocably_install_notifying_filter};
    let program = compiled("default", PolicyVariant::default());
    let code = Instruction::read_all(program.bytes()).unwrap();
    let (send, receive) = std::sync::mpsc::channel::<OwnedFd>();
    std::thread::scope(|scope| {
        let payload = scope.spawn(|| {
            bryo::sys::process::irrevocably_set_no_new_privs().unwrap();
            send.send(irrevocably_install_notifying_filter(&code).unwrap()).unwrap();
            let mount = call(number("mount").unwrap(), [0; 6]);
            let vsock = call(number("socket").unwrap(), [40, 1, 0, 0, 0, 0]);
            (mount, vsock)
        });
        let listener = Listener::new(receive.recv().unwrap());
        let mut names = Vec::new();
        for _ in 0..2 {
            let one = listener.receive().unwrap().unwrap();
            let number = one.number.cast_unsigned();
            let errno = program.errno_for(one.arch, number);
            names.push(bryo::confine::seccomp::syscall_name(one.arch, number).unwrap());
            listener.respond_errno(one.id, Errno::from_raw(errno.number().into())).unwrap();
        }
        assert_eq!(names, ["mount", "socket"]);
        let expected = (-i64::from(libc::EPERM), -i64::from(libc::EAFNOSUPPORT));
        assert_eq!(payload.join().unwrap(), expected);
    });
}

/// Runs `body` in a child with the filter of pid 1; what it exited with, or the signal that killed it.
fn as_init(body: impl FnOnce() -> i32) -> nix::sys::wait::WaitStatus {
    let code = Instruction::read_all(compiled("init", PolicyVariant::default()).bytes()).unwrap();
    // SAFETY: the child makes raw calls only.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => nix::sys::wait::waitpid(child, None).unwrap(),
        nix::unistd::ForkResult::Child => {
            let ready = bryo::sys::process::irrevocably_set_no_new_privs().is_ok()
                && bryo::sys::seccomp::irrevocably_install_filter(&code).is_ok();
            let status = if ready { body() } else { 99 };
            // SAFETY: does not return.
            unsafe { libc::_exit(status) }
        }
    }
}

#[test]
fn init_waits_signals_and_talks_and_dies_of_anything_else() {
    use nix::sys::signal::Signal;
    use nix::sys::wait::WaitStatus;
    let (one, _other) = UnixStream::pair().unwrap();
    let (fd, text) = (u64::try_from(one.as_raw_fd()).unwrap(), b"hello".as_ptr() as u64);
    let (sendto, getpid) = (number("sendto").unwrap(), number("getpid").unwrap());
    let kill = number("kill").unwrap();
    let ended = as_init(|| {
        let sent = call(sendto, [fd, text, 5, 0, 0, 0]) == 5;
        let own = call(getpid, [0; 6]).cast_unsigned();
        i32::from(!(sent && call(kill, [own, 0, 0, 0, 0, 0]) == 0))
    });
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
    let code = [0, 4096, 4, 0x22, u64::MAX, 0];
    for (name, args) in [
        ("openat", [u64::MAX, 0, 0, 0, 0, 0]),
        ("execve", [0; 6]),
        ("clone", [0x1_0000, 0, 0, 0, 0, 0]),
        ("clone3", [0; 6]),
        ("socket", [1, 1, 0, 0, 0, 0]),
        ("ptrace", [0; 6]),
        ("mmap", code),
        ("mprotect", [0, 0, 5, 0, 0, 0]),
        ("ioctl", [0, 0x5412, 0, 0, 0, 0]),
        ("prctl", [0; 6]),
    ] {
        let number = number(name).unwrap();
        let ended = as_init(|| i32::from(call(number, args) == 0));
        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{name}: {ended:?}");
    }
    let ended = as_init(|| i32::from(call(1000, [0; 6]) == 0));
    assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "unknown: {ended:?}");
}
