//! How runs end, and what is relayed meanwhile; no terminal.

use std::time::Instant;

use super::*;
use crate::sys::pidfd;
use crate::sys::signal;
use crate::sys::testing::alone;

fn how(setup: Setup, init: impl FnOnce(Init)) -> How {
    watched(setup, init).unwrap().how
}

/// Waits to be killed.
fn for_ever() {
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}

#[test]
fn the_end_that_init_tells_is_the_end_of_the_run() {
    alone(module_path!(), "the_end_that_init_tells_is_the_end_of_the_run", || {
        assert_eq!(how(Setup::bare(), |init| init.exits(7)), How::Exited(7));
        let killed = how(Setup::bare(), |init| init.say(&FromSandbox::Killed { signal: 11 }));
        assert_eq!(killed, How::Killed(SignalNumber::SEGV));
        assert_eq!((How::Exited(7).exit_code(), killed.exit_code()), (7, 139));
    });
}

#[test]
fn an_init_that_ends_without_a_word_is_lost() {
    alone(module_path!(), "an_init_that_ends_without_a_word_is_lost", || {
        let lost = how(Setup::bare(), |_| exit_now(9));
        assert_eq!(lost, How::InitLost(Some(Exit::Code(9))));
        assert_eq!(lost.exit_code(), 137);
    });
}

#[test]
fn a_last_word_that_is_followed_by_nothing_is_helped_along() {
    alone(module_path!(), "a_last_word_that_is_followed_by_nothing_is_helped_along", || {
        let ended = how(Setup::bare(), |init| {
            init.exits(3);
            for_ever();
        });
        assert_eq!(ended, How::Exited(3));
        let closed = how(Setup::bare(), |init| {
            drop(init);
            for_ever();
        });
        let killed = Exit::Signal { number: SignalNumber::KILL, core: false };
        assert_eq!(closed, How::InitLost(Some(killed)));
    });
}

#[test]
fn a_message_that_means_nothing_kills_the_run() {
    alone(module_path!(), "a_message_that_means_nothing_kills_the_run", || {
        let messages: [&[u8]; 4] =
            [&[0xff; SIZE], b"short", &[0; SIZE + 40], &FromSandbox::InitReady.encode()];
        for message in messages {
            let message = message.to_vec();
            let ended = watched(Setup::bare(), move |init| {
                socket::send(&init.control, &message, &[]).unwrap();
                for_ever();
            });
            assert_eq!(ended, Err(SuperviseError::Malformed(Malformed)));
            assert_eq!(pidfd::wait_any(pidfd::Changes::All), Err(Errno::ECHILD));
        }
    });
}

#[test]
fn a_descriptor_that_nobody_asked_for_kills_the_run() {
    alone(module_path!(), "a_descriptor_that_nobody_asked_for_kills_the_run", || {
        let ended = watched(Setup::bare(), |init| {
            let message = FromSandbox::Exited { code: 0 }.encode();
            socket::send(&init.control, &message, &[init.control.as_fd()]).unwrap();
            for_ever();
        });
        assert_eq!(ended, Err(SuperviseError::Malformed(Malformed)));
    });
}

#[test]
fn when_the_time_is_up_everything_is_killed() {
    alone(module_path!(), "when_the_time_is_up_everything_is_killed", || {
        let began = Instant::now();
        let setup = Setup { timeout: Some(Duration::from_millis(100)), ..Setup::bare() };
        let ended = how(setup, |_| for_ever());
        assert_eq!((ended, ended.exit_code()), (How::TimedOut, 124));
        assert!(began.elapsed() >= Duration::from_millis(100));
        // A payload that ends in time has ended in time.
        let setup = Setup { timeout: Some(Duration::from_mins(1)), ..Setup::bare() };
        assert_eq!(how(setup, |init| init.exits(0)), How::Exited(0));
    });
}

#[test]
fn a_store_that_is_nearly_full_ends_the_run() {
    alone(module_path!(), "a_store_that_is_nearly_full_ends_the_run", || {
        // 101 per cent are never free, and 0 always.
        let setup = Setup { floor: Some(101), ..Setup::bare() };
        assert_eq!(how(setup, |_| for_ever()), How::NoSpace);
        let setup = Setup { floor: Some(0), ..Setup::bare() };
        let ended = how(setup, |init| {
            std::thread::sleep(Duration::from_millis(1500));
            init.exits(0);
        });
        assert_eq!(ended, How::Exited(0));
    });
}

#[test]
fn signals_are_forwarded_in_their_order() {
    alone(module_path!(), "signals_are_forwarded_in_their_order", || {
        let ended = how(Setup::bare(), |init| {
            let bryo = rustix::process::getppid().unwrap();
            for signal in ["HUP", "USR1", "USR2", "WINCH", "64", "TERM", "INT"] {
                let signal: SignalNumber = signal.parse().unwrap();
                signal::kill(bryo, signal).unwrap();
                let signal = u8::try_from(signal.raw()).unwrap();
                assert_eq!(init.order(), ToSandbox::Signal { signal });
            }
            init.exits(0);
        });
        assert_eq!(ended, How::Exited(0));
    });
}

#[test]
fn a_signal_that_the_caller_ignores_is_not_forwarded() {
    alone(module_path!(), "a_signal_that_the_caller_ignores_is_not_forwarded", || {
        signal::ignore(SignalNumber::HUP).unwrap();
        let ended = how(Setup::bare(), |init| {
            let bryo = rustix::process::getppid().unwrap();
            signal::kill(bryo, SignalNumber::HUP).unwrap();
            signal::kill(bryo, SignalNumber::USR1).unwrap();
            let signal = u8::try_from(SignalNumber::USR1.raw()).unwrap();
            assert_eq!(init.order(), ToSandbox::Signal { signal });
            init.exits(0);
        });
        assert_eq!(ended, How::Exited(0));
    });
}

#[test]
fn who_insists_is_heard() {
    alone(module_path!(), "who_insists_is_heard", || {
        let ended = how(Setup::bare(), |init| {
            let bryo = rustix::process::getppid().unwrap();
            for _ in 0..2 {
                signal::kill(bryo, SignalNumber::INT).unwrap();
                init.order();
            }
            signal::kill(bryo, SignalNumber::TERM).unwrap();
            for_ever();
        });
        assert_eq!(ended, How::Insisted(SignalNumber::TERM));
        assert_eq!(ended.exit_code(), 143);
    });
}

#[test]
fn a_signal_sent_before_the_start_is_not_lost() {
    alone(module_path!(), "a_signal_sent_before_the_start_is_not_lost", || {
        let signals = block_signals().unwrap();
        signal::raise(SignalNumber::USR1).unwrap();
        drop(signals);
        let ended = how(Setup::bare(), |init| {
            let signal = u8::try_from(SignalNumber::USR1.raw()).unwrap();
            assert_eq!(init.order(), ToSandbox::Signal { signal });
            init.exits(0);
        });
        assert_eq!(ended, How::Exited(0));
    });
}

/// Bytes that say where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect()
}

#[test]
fn a_slow_reader_gets_everything_though_the_payload_has_ended() {
    alone(module_path!(), "a_slow_reader_gets_everything_though_the_payload_has_ended", || {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (_, reader) = child(|| {
            let mut all = Vec::new();
            let mut bytes = [0; 3000];
            while all.len() < 1_000_000 {
                std::thread::sleep(Duration::from_micros(200));
                let length = rustix::io::read(&read, &mut bytes).unwrap();
                assert!(length > 0, "only {} bytes", all.len());
                all.extend_from_slice(&bytes[..length]);
            }
            assert_eq!(all, pattern(1_000_000));
        });
        rustix::stdio::dup2_stdout(&write).unwrap();
        drop((read, write));
        let stdio = [StdioPlan::Keep, StdioPlan::Relay, StdioPlan::Keep];
        let ended = watched(Setup { stdio, ..Setup::bare() }, |init| {
            write_all(&init.pipes[0].end, &pattern(1_000_000));
            init.exits(0);
        });
        assert_eq!(ended.unwrap().lost, []);
        assert_eq!(pidfd::wait(reader), Ok(Exit::Code(0)));
    });
}

#[test]
fn input_arrives_whole_and_ends() {
    alone(module_path!(), "input_arrives_whole_and_ends", || {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let (_, writer) = child(|| write_all(&ours, &pattern(500_000)));
        drop(ours);
        rustix::stdio::dup2_stdin(&theirs).unwrap();
        drop(theirs);
        let stdio = [StdioPlan::Relay, StdioPlan::Keep, StdioPlan::Keep];
        let ended = how(Setup { stdio, ..Setup::bare() }, |init| {
            let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
            loop {
                match rustix::io::read(&init.pipes[0].end, &mut bytes).unwrap() {
                    0 => break,
                    length => all.extend_from_slice(&bytes[..length]),
                }
            }
            assert_eq!(all, pattern(500_000));
            init.exits(0);
        });
        assert_eq!(ended, How::Exited(0));
        assert_eq!(pidfd::wait(writer), Ok(Exit::Code(0)));
    });
}

#[test]
fn a_closed_output_closes_the_payloads_pipe() {
    alone(module_path!(), "a_closed_output_closes_the_payloads_pipe", || {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::stdio::dup2_stdout(&write).unwrap();
        drop((read, write));
        let stdio = [StdioPlan::Keep, StdioPlan::Relay, StdioPlan::Keep];
        let ended = watched(Setup { stdio, ..Setup::bare() }, |init| {
            let end = &init.pipes[0].end;
            let error =
                std::iter::repeat_with(|| rustix::io::write(end, b"x")).find_map(Result::err);
            assert_eq!(error, Some(rustix::io::Errno::PIPE));
            init.exits(0);
        });
        let ended = ended.unwrap();
        assert_eq!((ended.how, ended.lost), (How::Exited(0), vec![]));
    });
}

#[test]
fn a_full_output_is_told() {
    alone(module_path!(), "a_full_output_is_told", || {
        let full =
            rustix::fs::open("/dev/full", rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty());
        rustix::stdio::dup2_stdout(full.unwrap()).unwrap();
        let stdio = [StdioPlan::Keep, StdioPlan::Relay, StdioPlan::Keep];
        let ended = watched(Setup { stdio, ..Setup::bare() }, |init| {
            write_all(&init.pipes[0].end, b"x");
            init.exits(0);
        });
        assert_eq!(ended.unwrap().lost, [Lost { number: 1, errno: Errno::ENOSPC }]);
    });
}

#[test]
fn a_reader_that_never_reads_is_left_when_a_signal_says_so() {
    alone(module_path!(), "a_reader_that_never_reads_is_left_when_a_signal_says_so", || {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        rustix::stdio::dup2_stdout(&write).unwrap();
        let bryo = rustix::process::getpid();
        let stdio = [StdioPlan::Keep, StdioPlan::Relay, StdioPlan::Keep];
        let (gone, wait) = rustix::pipe::pipe().unwrap();
        let (_, killer) = child(|| {
            rustix::io::read(&gone, &mut [0]).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            signal::kill(bryo, SignalNumber::TERM).unwrap();
        });
        let ended = how(Setup { stdio, ..Setup::bare() }, |init| {
            write_all(&init.pipes[0].end, &pattern(150_000));
            init.exits(4);
            write_all(&wait, b"x");
        });
        assert_eq!(ended, How::Exited(4));
        assert_eq!(pidfd::wait(killer), Ok(Exit::Code(0)));
    });
}
