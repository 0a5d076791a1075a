//! What a process does to itself, each time in a process of its own.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::*;
use crate::sys::clone::{CloneFlags, Cloned, fork, unshare};
use crate::sys::event::Poller;
use crate::sys::open::open_host;
use crate::sys::pidfd::{self, Exit};
use crate::sys::signal::SignalSet;
use crate::sys::testing::{alone, ordinary_user, without};

/// Forks `child`, which does not return, and waits for it.
fn exit_of(child: impl FnOnce() -> u8) -> Exit {
    match fork().unwrap() {
        Cloned::Parent { pidfd, .. } => pidfd::wait(&pidfd).unwrap(),
        Cloned::Child => exit_now(child()),
    }
}

fn image(argv: &[&str], envp: &[&str]) -> ExecImage {
    let strings = |list: &[&str]| list.iter().map(|&one| CString::new(one).unwrap()).collect();
    ExecImage::new(strings(argv), strings(envp))
}

fn run(image: &ExecImage) -> Exit {
    exit_of(|| not_executed(image.exec_path(c"/bin/sh")))
}

/// An exit code that no script here has.
fn not_executed(errno: Errno) -> u8 {
    eprintln!("{errno}");
    77
}

#[test]
fn exec_passes_arguments_and_environment() {
    alone(module_path!(), "exec_passes_arguments_and_environment", || {
        let script = "test $0 = zero && test $1 = one && test $NAME = value && exit 9";
        let image = image(&["sh", "-c", script, "zero", "one"], &["NAME=value"]);
        assert_eq!(run(&image), Exit::Code(9));
        let shell = open_host(std::fs::canonicalize("/bin/sh").unwrap()).unwrap();
        assert_eq!(exit_of(|| not_executed(image.exec_fd(&shell))), Exit::Code(9));
        assert_eq!(image.exec_path(c"/nowhere"), Errno::ENOENT);
        assert_eq!(image.exec_path(c"/etc/passwd"), Errno::EACCES);
        assert_eq!((image.argv().len(), image.envp().len()), (5, 1));
    });
}

/// Once with `close_range(2)`, once as on a kernel that has not got it.
fn with_and_without_close_range(claim: impl Fn()) {
    claim();
    without(libc::SYS_close_range);
    let none = Err(Errno::ENOSYS);
    // SAFETY: it answers ENOSYS; and no descriptor has that number.
    assert_eq!(check(unsafe { libc::syscall(libc::SYS_close_range, -1, -1, 0) }), none);
    claim();
}

#[test]
fn a_closed_range_spares_what_is_kept() {
    alone(module_path!(), "a_closed_range_spares_what_is_kept", || {
        with_and_without_close_range(|| {
            let exit = exit_of(|| {
                let fds: Vec<OwnedFd> = (0..6).map(|_| rustix::pipe::pipe().unwrap().0).collect();
                irrevocably_close_from(3, &[fds[4].as_fd(), fds[1].as_fd()]).unwrap();
                let open: Vec<bool> =
                    fds.iter().map(|fd| rustix::io::fcntl_getfd(fd).is_ok()).collect();
                // Dropping what is closed already is a bug, and the standard library aborts.
                std::mem::forget(fds);
                u8::from(open == [false, true, false, false, true, false])
            });
            assert_eq!(exit, Exit::Code(1));
        });
    });
}

#[test]
fn marked_descriptors_are_gone_after_exec() {
    alone(module_path!(), "marked_descriptors_are_gone_after_exec", || {
        with_and_without_close_range(|| {
            let (read, _write) = rustix::pipe::pipe().unwrap();
            rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::empty()).unwrap();
            let script = format!("test -e /proc/self/fd/{}", read.as_raw_fd());
            let image = image(&["sh", "-c", &script], &[]);
            assert_eq!(run(&image), Exit::Code(0));
            set_cloexec_from(3).unwrap();
            assert_eq!(run(&image), Exit::Code(1));
        });
    });
}

#[test]
fn the_set_up_phase_can_hide_from_its_own_user() {
    alone(module_path!(), "the_set_up_phase_can_hide_from_its_own_user", || {
        ordinary_user();
        assert_eq!(dumpable(), Ok(Dumpable::Yes));
        std::fs::read("/proc/self/environ").unwrap();
        set_dumpable(Dumpable::No).unwrap();
        assert_eq!(dumpable(), Ok(Dumpable::No));
        let parent = rustix::process::getpid();
        let exit = exit_of(|| u8::from(std::fs::read(format!("/proc/{parent}/environ")).is_err()));
        assert_eq!(exit, Exit::Code(1));
        assert_eq!(set_dumpable(Dumpable::RootOnly), Err(Errno::EINVAL));
    });
}

#[test]
fn a_process_ends_with_its_parent() {
    alone(module_path!(), "a_process_ends_with_its_parent", || {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let middle = exit_of(|| {
            let (ready, go) = rustix::pipe::pipe().unwrap();
            match fork().unwrap() {
                Cloned::Parent { .. } => {
                    rustix::io::read(&ready, &mut [0; 1]).unwrap();
                    0
                }
                Cloned::Child => {
                    set_parent_death_signal(Some(SignalNumber::KILL)).unwrap();
                    rustix::io::write(&go, b"x").unwrap();
                    loop {
                        rustix::event::pause();
                    }
                }
            }
        });
        assert_eq!(middle, Exit::Code(0));
        drop(write);
        // End of file comes when the last process that holds the pipe is gone.
        let mut poller = Poller::new();
        let ended = poller.hang_up((), read.as_fd()).wait(Some(Duration::from_secs(10)));
        assert_eq!(ended.unwrap().len(), 1);
    });
}

#[test]
fn orphans_come_to_a_subreaper() {
    alone(module_path!(), "orphans_come_to_a_subreaper", || {
        set_child_subreaper(true).unwrap();
        let middle = exit_of(|| match fork().unwrap() {
            Cloned::Parent { .. } => 0,
            Cloned::Child => exit_now(5),
        });
        assert_eq!(middle, Exit::Code(0));
        let status = nix::sys::wait::wait().unwrap();
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 5)), "{status:?}");
    });
}

#[test]
fn bits_once_locked_stay() {
    alone(module_path!(), "bits_once_locked_stay", || {
        ordinary_user();
        assert_eq!(set_secure_bits(SecureBits::NOROOT), Err(Errno::EPERM));
        unshare(CloneFlags::NEW_USER).unwrap();
        let bits = SecureBits::NOROOT | SecureBits::NOROOT_LOCKED;
        set_secure_bits(bits).unwrap();
        assert_eq!(secure_bits(), Ok(bits));
        assert_eq!(set_secure_bits(SecureBits::empty()), Err(Errno::EPERM));
        assert_eq!(no_new_privs(), Ok(false));
        irrevocably_set_no_new_privs().unwrap();
        assert_eq!(no_new_privs(), Ok(true));
    });
}

#[test]
fn the_callers_keys_are_out_of_reach_in_a_new_session() {
    alone(module_path!(), "the_callers_keys_are_out_of_reach_in_a_new_session", || {
        ordinary_user();
        let session = || {
            // SAFETY: KEYCTL_GET_KEYRING_ID with the session's special id and no creation.
            check(unsafe { libc::syscall(libc::SYS_keyctl, 0_i64, -3_i64, 0_i64) }).unwrap()
        };
        join_new_session_keyring().unwrap();
        let first = session();
        join_new_session_keyring().unwrap();
        assert_ne!(session(), first);
    });
}

#[test]
fn a_process_has_the_name_and_personality_it_was_given() {
    alone(module_path!(), "a_process_has_the_name_and_personality_it_was_given", || {
        const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
        set_name(c"bryo: init").unwrap();
        assert_eq!(std::fs::read_to_string("/proc/self/comm").unwrap(), "bryo: init\n");
        let before = personality().unwrap();
        set_personality(before | ADDR_NO_RANDOMIZE).unwrap();
        assert_eq!(personality(), Ok(before | ADDR_NO_RANDOMIZE));
        set_keep_caps(true).unwrap();
        assert!(secure_bits().unwrap().contains(SecureBits::KEEP_CAPS));
    });
}

#[test]
fn a_fresh_program_starts_with_sigpipe_as_it_should_be() {
    alone(module_path!(), "a_fresh_program_starts_with_sigpipe_as_it_should_be", || {
        // The control: Rust's runtime ignores it, and exec keeps that.
        let child = |reset: bool| {
            exit_of(|| {
                SignalSet::of(&[]).replace_mask().unwrap();
                if reset {
                    crate::sys::signal::reset_all().unwrap();
                } else {
                    crate::sys::signal::ignore(SignalNumber::PIPE).unwrap();
                }
                let image = image(&["sh", "-c", "kill -PIPE $$"], &[]);
                not_executed(image.exec_path(c"/bin/sh"))
            })
        };
        assert_eq!(child(false), Exit::Code(0));
        assert_eq!(child(true), Exit::Signal { number: SignalNumber::PIPE, core: false });
    });
}
