//! Refused calls, with a real filter.

use std::time::Instant;

use super::*;
use crate::sys::process::{irrevocably_set_no_new_privs, personality};
use crate::sys::seccomp::{Instruction, irrevocably_install_notifying_filter};
use crate::sys::testing::alone;

/// `personality` is handed to the supervisor, everything else is allowed.
fn install() -> OwnedFd {
    let step =
        |code, jump_true, jump_false, operand| Instruction { code, jump_true, jump_false, operand };
    let number = u32::try_from(libc::SYS_personality).unwrap();
    let program = [
        step(0x20, 0, 0, 0),
        step(0x15, 0, 1, number),
        step(0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    irrevocably_set_no_new_privs().unwrap();
    irrevocably_install_notifying_filter(&program).unwrap()
}

/// The stand-in installs the filter and sends its listener away; so does the real one.
fn refused(body: impl FnOnce(&Init)) -> Ended {
    let receive = |control: &OwnedFd| {
        let (_, mut fds) = loop {
            match socket::receive(control, &mut [0; 1]) {
                Err(Errno::EAGAIN) => {}
                other => break other.unwrap(),
            }
        };
        fds.pop().map(Listener::new)
    };
    let ended = watched_with(Setup::bare(), receive, |init| {
        let listener = install();
        socket::send(&init.control, b"x", &[listener.as_fd()]).unwrap();
        drop(listener);
        body(&init);
        init.exits(0);
    });
    ended.unwrap()
}

#[test]
fn refused_calls_are_answered_by_number_and_counted() {
    alone(module_path!(), "refused_calls_are_answered_by_number_and_counted", || {
        let number = u32::try_from(libc::SYS_personality).unwrap();
        let wanted = Errno::from_raw(1000 + i32::try_from(number % 100).unwrap());
        let ended = refused(|_| {
            for _ in 0..5 {
                assert_eq!(personality(), Err(wanted));
            }
        });
        assert_eq!(ended.how, How::Exited(0));
        let counts: Vec<_> =
            ended.denials.iter().map(|(call, count)| (call.number, *count)).collect();
        assert_eq!(counts, [(number, 5)]);
    });
}

#[test]
fn a_loop_of_refused_calls_is_slowed_down() {
    alone(module_path!(), "a_loop_of_refused_calls_is_slowed_down", || {
        let ended = refused(|_| {
            let began = Instant::now();
            for _ in 0..12_000 {
                assert!(personality().is_err());
            }
            // Ten thousand at once, two thousand at ten thousand a second; less what came back meanwhile.
            let free = began.elapsed();
            let began = Instant::now();
            for _ in 0..3_000 {
                assert!(personality().is_err());
            }
            assert!(free + began.elapsed() >= Duration::from_millis(500), "{free:?}");
        });
        assert_eq!(ended.denials.values().sum::<u64>(), 15_000);
    });
}

#[test]
fn many_waiting_callers_are_all_answered() {
    alone(module_path!(), "many_waiting_callers_are_all_answered", || {
        let ended = refused(|_| {
            let callers: Vec<_> = (0..50)
                .map(|_| {
                    child(|| {
                        for _ in 0..20 {
                            assert!(personality().is_err());
                        }
                    })
                })
                .collect();
            for (_, pidfd) in callers {
                assert_eq!(crate::sys::pidfd::wait(pidfd), Ok(Exit::Code(0)));
            }
        });
        assert_eq!(ended.denials.values().sum::<u64>(), 1000);
    });
}
