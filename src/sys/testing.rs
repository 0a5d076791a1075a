//! Running a test in a process of its own with one thread, as an ordinary user.
//!
//! A test that forks, makes namespaces or changes its process cannot do so among the threads of
//! the test harness. It starts the test binary again for itself alone. The harness gives even a
//! single test a thread beside the main one, which waits: a fork then leaves one thread, and no
//! lock is held by the one that is gone.

use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{Gid, Uid};

use super::clone::{CloneFlags, Cloned, clone3};
use super::errno::Errno;
use super::namespace::{self, IdMap};
use super::pidfd::{self, Exit};
use super::process::{self, Dumpable};
use super::seccomp::{self, Instruction};
use super::socket;

const MARK: &str = "BRYO_TEST_ALONE";

/// Runs `body` in a new process; `module` is `module_path!()` and `name` the test's own name.
pub(crate) fn alone(module: &str, name: &str, body: impl FnOnce()) {
    let test = format!("{}::{name}", module.split_once("::").unwrap().1);
    if std::env::var(MARK).is_ok_and(|marked| marked == test) {
        return in_fork(body);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--test-threads=1", "--nocapture"])
        .env(MARK, &test)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed alone: {}\n{printed}\n{errors}", output.status);
    // A name that matches nothing would pass without having run.
    assert!(printed.contains("running 1 test"), "{test} did not run alone:\n{printed}");
}

fn in_fork(body: impl FnOnce()) {
    // SAFETY: the only other thread waits for this one (see above), and glibc's fork takes care of
    // the allocator's locks.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            // A shell without job control starts what is in the background with SIGINT ignored.
            super::signal::reset_all().unwrap();
            super::signal::ignore(super::signal::SignalNumber::PIPE).unwrap();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            process::exit_now(u8::from(outcome.is_err()))
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
}

/// Clones with `flags` and a new user namespace in which the caller is `inside`, runs `child`
/// there, and returns how it ended: code 0, or 101 when it panicked.
pub(crate) fn mapped(flags: CloneFlags, inside: u32, child: impl FnOnce()) -> Exit {
    let (ours, theirs) = socket::pair().unwrap();
    match clone3(flags | CloneFlags::NEW_USER, None).unwrap() {
        Cloned::Parent { pid, pidfd } => {
            let dir = namespace::open_proc_dir(pid).unwrap();
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            let line = |outside: u32| format!("{inside} {outside} 1\n");
            namespace::deny_setgroups(&dir).unwrap();
            namespace::write_id_map(&dir, IdMap::Uid, &line(uid.as_raw())).unwrap();
            namespace::write_id_map(&dir, IdMap::Gid, &line(gid.as_raw())).unwrap();
            socket::send(&ours, b"go", &[]).unwrap();
            pidfd::wait(pidfd).unwrap()
        }
        Cloned::Child => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                socket::receive(&theirs, &mut [0; 8]).unwrap();
                child();
            }));
            process::exit_now(if outcome.is_ok() { 0 } else { 101 })
        }
    }
}

/// Gives up being root, where the tests run as root.
pub(crate) fn ordinary_user() {
    if rustix::process::geteuid().is_root() {
        let id = 61_234;
        process::take_ids(Uid::from_raw(id), Gid::from_raw(id), true).unwrap();
        // Changing ids took it away, and with it the ownership of /proc/self.
        process::set_dumpable(Dumpable::Yes).unwrap();
    }
}

/// A filter by which the system call `number` gets `action` and everything else is allowed. (The
/// tests call nothing of another architecture, so it does not look at that.)
pub(crate) fn filter_on(number: libc::c_long, action: u32) -> [Instruction; 4] {
    let step =
        |code, jump_true, jump_false, operand| Instruction { code, jump_true, jump_false, operand };
    [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, u32::try_from(number).unwrap()),
        step(0x06, 0, 0, action),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// Lets the kernel be one that has not got a system call.
pub(crate) fn without(number: libc::c_long) {
    process::irrevocably_set_no_new_privs().unwrap();
    let errno = libc::SECCOMP_RET_ERRNO | Errno::ENOSYS.raw().cast_unsigned();
    seccomp::irrevocably_install_filter(&filter_on(number, errno)).unwrap();
}

/// Whether the kernel is at least this release.
pub(crate) fn kernel_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap().to_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (major, minor)
}

/// A new directory of the calling user, gone with the value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("bryo-sys-").tempdir().unwrap().keep())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The overlay's work directory has mode 000.
        let work = self.0.join("work/work");
        if work.exists() {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
