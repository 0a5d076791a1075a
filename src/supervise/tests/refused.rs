//! Refused calls, with a real filter.

use std::time::Instant;

use super::person::{Person, Place};
use super::*;
use crate::sys::event::Poller;
use crate::sys::process::{irrevocably_set_no_new_privs, personality};
use crate::sys::seccomp::{Instruction, irrevocably_install_notifying_filter};
use crate::sys::testing::alone;

/// `personality` is handed to the supervisor, everything else is allowed.
pub(super) fn install() -> OwnedFd {
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

fn refused(body: impl FnOnce(&Init)) -> Ended {
    let ended = watched(Setup { filtered: true, ..Setup::bare() }, |init| {
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

#[test]
fn refused_calls_are_answered_while_the_supervisor_is_stopped() {
    let name = "refused_calls_are_answered_while_the_supervisor_is_stopped";
    alone(module_path!(), name, || {
        let (ours, theirs) = socket::pair().unwrap();
        let setup = Setup { filtered: true, ..Setup::on_pty() };
        let mut person = Person::starts(Place::Foreground, setup, |init| {
            init.say(&FromSandbox::Stopped { signal: 20 });
            socket::receive(&theirs, &mut [0]).unwrap();
            for _ in 0..3 {
                assert!(personality().is_err());
            }
            socket::send(&theirs, b"x", &[]).unwrap();
            assert_eq!(init.order(), ToSandbox::Continue);
            assert!(personality().is_err());
            init.exits(0);
        });
        person.hears("stopped SIGTSTP");
        socket::send(&ours, b"x", &[]).unwrap();
        socket::receive(&ours, &mut [0]).unwrap();
        person.continues(Place::Foreground);
        let ended = person.ends();
        assert!(ended.contains("Exited(0)"), "{ended}");
        assert!(ended.contains(&format!("number: {} }}: 4", libc::SYS_personality)), "{ended}");
    });
}

#[test]
fn the_time_is_up_even_while_the_supervisor_is_stopped() {
    alone(module_path!(), "the_time_is_up_even_while_the_supervisor_is_stopped", || {
        let (ours, theirs) = socket::pair().unwrap();
        let setup = Setup { timeout: Some(Duration::from_millis(300)), ..Setup::on_pty() };
        let mut person = Person::starts(Place::Foreground, setup, |init| {
            let own = rustix::process::getpid().as_raw_nonzero().get();
            socket::send(&theirs, &own.to_ne_bytes(), &[]).unwrap();
            init.say(&FromSandbox::Stopped { signal: 20 });
            loop {
                std::thread::sleep(Duration::from_mins(1));
            }
        });
        let mut pid = [0; 4];
        socket::receive(&ours, &mut pid).unwrap();
        let pid = rustix::process::Pid::from_raw(i32::from_ne_bytes(pid)).unwrap();
        let init = crate::sys::pidfd::open(pid).unwrap();
        person.hears("stopped SIGTSTP");
        let mut poller = Poller::new();
        poller.readable((), init.as_fd());
        assert_eq!(poller.wait(Some(Duration::from_secs(20))).unwrap().len(), 1);
        person.continues(Place::Foreground);
        assert!(person.ends().contains("TimedOut"));
    });
}
