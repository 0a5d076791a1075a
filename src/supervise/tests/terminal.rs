//! Job control, modes, and what goes over the terminal.
//!
//! Long because each claim is a small play of its own between a person, a shell and the supervisor.

use rustix::termios::tcgetwinsize;

use super::person::{Person, Place};
use super::*;
use crate::sys::signal;
use crate::sys::testing::alone;

const TSTP: FromSandbox = FromSandbox::Stopped { signal: 20 };
const TTIN: FromSandbox = FromSandbox::Stopped { signal: 21 };

#[test]
fn keys_and_output_pass_and_modes_come_back() {
    alone(module_path!(), "keys_and_output_pass_and_modes_come_back", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            let size = tcgetwinsize(init.terminal.as_ref().unwrap()).unwrap();
            init.writes(format!("{}x{} ready\n", size.ws_row, size.ws_col).as_bytes());
            init.reads(b"a line\n");
            init.writes(b"done\n");
            init.exits(0);
        });
        person.sees("ready");
        assert!(person.is_raw());
        person.types(b"a line\r");
        // The echo comes from the pty, once.
        assert_eq!(person.sees("done\r\n"), "\r\na line\r\ndone\r\n");
        assert!(person.ends().contains("Exited(0)"));
        assert!(!person.is_raw());
    });
}

#[test]
fn control_keys_are_bytes_on_the_way_to_the_pty() {
    alone(module_path!(), "control_keys_are_bytes_on_the_way_to_the_pty", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            let terminal = init.terminal.as_ref().unwrap();
            let saved = crate::sys::pty::save_modes(terminal).unwrap();
            crate::sys::pty::set_raw(terminal, &saved).unwrap();
            init.writes(b"ready");
            init.reads(b"\x03\x1a\x1c\x11\x13\x04");
            init.exits(0);
        });
        person.sees("ready");
        person.types(b"\x03\x1a\x1c\x11\x13\x04");
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn a_new_size_reaches_the_pty() {
    alone(module_path!(), "a_new_size_reaches_the_pty", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"ready");
            let size = || tcgetwinsize(init.terminal.as_ref().unwrap()).unwrap();
            while (size().ws_row, size().ws_col) != (33, 44) {
                std::thread::sleep(Duration::from_millis(1));
            }
            init.exits(0);
        });
        person.sees("ready");
        person.resizes(33, 44);
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn a_stop_gives_the_terminal_back_and_fg_takes_it_again() {
    alone(module_path!(), "a_stop_gives_the_terminal_back_and_fg_takes_it_again", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.reads(b"stop\n");
            init.writes(b"\x1b[?1049l last words");
            init.say(&TSTP);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.writes(b"again");
            init.reads(b"go on\n");
            init.exits(0);
        });
        person.types(b"stop\r");
        person.hears("stopped SIGTSTP");
        assert!(!person.is_raw());
        person.sees("last words");
        person.continues(Place::Foreground);
        person.sees("again");
        person.waits_until_raw(true);
        person.types(b"go on\r");
        assert!(person.ends().contains("Exited(0)"));
        assert!(!person.is_raw());
    });
}

#[test]
fn in_the_background_the_terminal_is_left_alone_until_it_is_wanted() {
    alone(
        module_path!(),
        "in_the_background_the_terminal_is_left_alone_until_it_is_wanted",
        || {
            let mut person = Person::starts(Place::Background, Setup::on_pty(), |init| {
                assert_eq!(init.order(), ToSandbox::Background);
                init.writes(b"working");
                init.say(&TTIN);
                assert_eq!(init.order(), ToSandbox::Foreground);
                init.reads(b"hello\n");
                init.exits(0);
            });
            person.sees("working");
            assert!(!person.is_raw());
            person.hears("stopped SIGTTIN");
            person.continues(Place::Foreground);
            person.waits_until_raw(true);
            person.types(b"hello\r");
            assert!(person.ends().contains("Exited(0)"));
        },
    );
}

#[test]
fn stopped_and_continued_in_the_background_it_goes_on_without_the_terminal() {
    let name = "stopped_and_continued_in_the_background_it_goes_on_without_the_terminal";
    alone(module_path!(), name, || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.say(&TSTP);
            assert_eq!(init.order(), ToSandbox::Background);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.writes(b"in the background");
            init.say(&TTIN);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.say(&TTIN);
            assert_eq!(init.order(), ToSandbox::Foreground);
            init.exits(0);
        });
        person.hears("stopped SIGTSTP");
        person.continues(Place::Background);
        person.sees("in the background");
        assert!(!person.is_raw());
        for place in [Place::Background, Place::Foreground] {
            person.hears("stopped SIGTTIN");
            person.continues(place);
        }
        assert!(person.ends().contains("Exited(0)"));
        assert!(!person.is_raw());
    });
}

#[test]
fn a_running_job_brought_to_the_foreground_gets_the_keys() {
    alone(module_path!(), "a_running_job_brought_to_the_foreground_gets_the_keys", || {
        let mut person = Person::starts(Place::Background, Setup::on_pty(), |init| {
            assert_eq!(init.order(), ToSandbox::Background);
            init.writes(b"working");
            assert_eq!(init.order(), ToSandbox::Foreground);
            init.reads(b"hello\n");
            init.exits(0);
        });
        person.sees("working");
        person.brings_forward();
        person.waits_until_raw(true);
        person.types(b"hello\r");
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn in_a_pipeline_the_keys_are_left_to_the_others_until_they_are_wanted() {
    alone(
        module_path!(),
        "in_a_pipeline_the_keys_are_left_to_the_others_until_they_are_wanted",
        || {
            let stdio = [StdioPlan::Pty, StdioPlan::Keep, StdioPlan::Pty];
            let setup = Setup { stdio, foreground: false, piped: true, ..Setup::on_pty() };
            let mut person = Person::starts(Place::Foreground, setup, |init| {
                init.writes(b"ready");
                std::thread::sleep(Duration::from_millis(50));
                init.say(&TTIN);
                assert_eq!(init.order(), ToSandbox::Foreground);
                init.reads(b"mine\n");
                init.exits(0);
            });
            person.sees("ready");
            assert!(!person.is_raw());
            person.waits_until_raw(true);
            // The others of the pipeline write to it, and are to hear its keys.
            let modes = person.modes();
            assert!(modes.output_modes.contains(rustix::termios::OutputModes::OPOST));
            assert!(modes.local_modes.contains(rustix::termios::LocalModes::ISIG));
            person.types(b"mine\r");
            assert!(person.ends().contains("Exited(0)"));
            assert!(!person.is_raw());
        },
    );
}

#[test]
fn a_stop_from_outside_stops_the_payload_first() {
    alone(module_path!(), "a_stop_from_outside_stops_the_payload_first", || {
        let mut person = Person::starts(Place::Foreground, Setup::bare(), |init| {
            rustix::io::write(rustix::stdio::stdout(), b"ready").unwrap();
            assert_eq!(init.order(), ToSandbox::Signal { signal: 20 });
            init.say(&TSTP);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.exits(0);
        });
        person.sees("ready");
        signal::kill(person.bryo, SignalNumber::TSTP).unwrap();
        person.hears("stopped SIGTSTP");
        person.continues(Place::Foreground);
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn a_stop_that_was_overtaken_by_its_end_is_none() {
    alone(module_path!(), "a_stop_that_was_overtaken_by_its_end_is_none", || {
        let mut person = Person::starts(Place::Foreground, Setup::bare(), |init| {
            rustix::io::write(rustix::stdio::stdout(), b"ready").unwrap();
            assert_eq!(init.order(), ToSandbox::Signal { signal: 20 });
            assert_eq!(init.order(), ToSandbox::Continue);
            init.say(&TSTP);
            init.exits(0);
        });
        person.sees("ready");
        signal::kill(person.bryo, SignalNumber::TSTP).unwrap();
        // Signals of one process may be read in the order of their numbers.
        std::thread::sleep(Duration::from_millis(50));
        signal::kill(person.bryo, SignalNumber::CONT).unwrap();
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn without_a_pty_ctrl_c_and_ctrl_z_work_through_the_callers_terminal() {
    alone(
        module_path!(),
        "without_a_pty_ctrl_c_and_ctrl_z_work_through_the_callers_terminal",
        || {
            let mut person = Person::starts(Place::Foreground, Setup::bare(), |init| {
                // Out of the group that the keys reach, as the real one is.
                rustix::process::setsid().unwrap();
                rustix::io::write(rustix::stdio::stdout(), b"ready").unwrap();
                assert_eq!(init.order(), ToSandbox::Signal { signal: 20 });
                init.say(&TSTP);
                assert_eq!(init.order(), ToSandbox::Continue);
                assert_eq!(init.order(), ToSandbox::Signal { signal: 2 });
                init.say(&FromSandbox::Killed { signal: 2 });
            });
            person.sees("ready");
            person.types(b"\x1a");
            person.hears("stopped SIGTSTP");
            person.continues(Place::Foreground);
            std::thread::sleep(Duration::from_millis(50));
            person.types(b"\x03");
            assert!(person.ends().contains("Killed(SIGINT)"));
        },
    );
}

#[test]
fn what_the_payload_left_switched_on_is_switched_off() {
    alone(module_path!(), "what_the_payload_left_switched_on_is_switched_off", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"\x1b[?1049h\x1b[?1000h\x1b[?2004h\x1b[?25l\x1b]0;half a tit");
            init.exits(0);
        });
        assert!(person.ends().contains("Exited(0)"));
        person.sees("\x1b]0;half a tit\x18\x1b\\\x1b[?25h\x1b[?1000l\x1b[?1049l\x1b[?2004l");
    });
}

#[test]
fn a_pty_that_is_closed_before_the_end_is_told_is_put_back_too() {
    alone(module_path!(), "a_pty_that_is_closed_before_the_end_is_told_is_put_back_too", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |mut init| {
            init.writes(b"\x1b[?1049h");
            drop(init.terminal.take());
            std::thread::sleep(Duration::from_millis(50));
            init.exits(0);
        });
        assert!(person.ends().contains("Exited(0)"));
        person.sees("\x1b[?1049h\x1b[?1049l");
        assert!(!person.is_raw());
    });
}

#[test]
fn the_clipboard_is_out_of_reach() {
    alone(module_path!(), "the_clipboard_is_out_of_reach", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"before \x1b]5");
            std::thread::sleep(Duration::from_millis(20));
            init.writes(b"2;c;aGk=\x07 after\x1b]52;c;eA==\x07.");
            init.exits(0);
        });
        assert_eq!(person.sees("after\x1b\\."), "before \x1b\\ after\x1b\\.");
        assert!(person.ends().contains("clipboard: 2"));
    });
}

#[test]
fn an_answer_of_the_terminal_is_not_left_to_the_shell() {
    alone(module_path!(), "an_answer_of_the_terminal_is_not_left_to_the_shell", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"\x1b[c");
            init.exits(0);
        });
        person.sees("\x1b[c");
        // Our own question; the terminal answers both, the first one late.
        person.sees("\x1b[5n");
        std::thread::sleep(Duration::from_millis(50));
        person.types(b"\x1b[?62;22c");
        std::thread::sleep(Duration::from_millis(50));
        person.types(b"\x1b[0n");
        assert!(person.ends().contains("Exited(0)"));
        assert_eq!(person.leftover_keys(), 0);
        assert!(!person.is_raw());
    });
}

#[test]
fn nor_by_a_payload_that_stops_itself() {
    alone(module_path!(), "nor_by_a_payload_that_stops_itself", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"\x1b[c");
            init.say(&TSTP);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.writes(b"again");
            init.exits(0);
        });
        person.sees("\x1b[c");
        person.sees("\x1b[5n");
        std::thread::sleep(Duration::from_millis(50));
        person.types(b"\x1b[?62;22c\x1b[0n");
        person.hears("stopped SIGTSTP");
        assert_eq!(person.leftover_keys(), 0);
        assert!(!person.is_raw());
        person.continues(Place::Foreground);
        // What was answered is not asked for once more.
        assert_eq!(person.sees("again"), "again");
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn keys_that_nobody_read_are_forgotten() {
    alone(module_path!(), "keys_that_nobody_read_are_forgotten", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"ready");
            init.reads(b"end\n");
            init.exits(0);
        });
        person.sees("ready");
        person.types(b"end\rrm -rf x\r");
        assert!(person.ends().contains("Exited(0)"));
        assert_eq!(person.leftover_keys(), 0);
    });
}

#[test]
fn all_output_is_written_before_the_modes_come_back() {
    alone(module_path!(), "all_output_is_written_before_the_modes_come_back", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            for line in 0..3000 {
                init.writes(format!("line {line}\n").as_bytes());
            }
            init.exits(0);
        });
        let text = person.sees("line 2999\r\n");
        assert_eq!(text.lines().count(), 3000);
        assert!(text.lines().enumerate().all(|(at, line)| line == format!("line {at}")));
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn in_a_group_that_nobody_could_continue_a_stop_is_undone() {
    alone(module_path!(), "in_a_group_that_nobody_could_continue_a_stop_is_undone", || {
        let setup = Setup { orphaned: true, ..Setup::on_pty() };
        let mut person = Person::starts(Place::Foreground, setup, |init| {
            init.say(&TSTP);
            assert_eq!(init.order(), ToSandbox::Continue);
            init.reads(b"still here\n");
            init.exits(0);
        });
        person.waits_until_raw(true);
        person.types(b"still here\r");
        assert!(person.ends().contains("Exited(0)"));
    });
}

#[test]
fn when_the_terminal_goes_the_pty_goes() {
    alone(module_path!(), "when_the_terminal_goes_the_pty_goes", || {
        let (ours, theirs) = socket::pair().unwrap();
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"ready");
            let terminal = init.terminal.as_ref().unwrap();
            while let Ok(1..) = rustix::io::read(terminal, &mut [0; 16]) {}
            assert!(rustix::io::write(terminal, b"anyone?").is_err());
            socket::send(&theirs, b"gone", &[]).unwrap();
            init.exits(0);
        });
        person.sees("ready");
        drop(person);
        assert_eq!(socket::receive(&ours, &mut [0; 8]).unwrap().0, 4);
    });
}

#[test]
fn a_pty_that_was_asked_for_without_a_terminal_is_served_from_pipes() {
    alone(
        module_path!(),
        "a_pty_that_was_asked_for_without_a_terminal_is_served_from_pipes",
        || {
            let (read, write) = rustix::pipe::pipe().unwrap();
            let (out_read, out_write) = rustix::pipe::pipe().unwrap();
            rustix::stdio::dup2_stdin(&read).unwrap();
            rustix::stdio::dup2_stdout(&out_write).unwrap();
            drop((read, out_write));
            write_all(&write, b"one\ntwo");
            drop(write);
            let ended = watched(Setup::on_pty(), |init| {
                let terminal = init.terminal.as_ref().unwrap();
                let mut bytes = [0; 64];
                let mut all = Vec::new();
                while let Ok(length @ 1..) = rustix::io::read(terminal, &mut bytes) {
                    all.extend_from_slice(&bytes[..length]);
                }
                assert_eq!(all, b"one\ntwo");
                init.writes(b"\x1b]52;c;x\x07done\n");
                init.exits(0);
            });
            // No terminal that could take it amiss: nothing is filtered.
            assert_eq!(ended.unwrap().clipboard, 0);
            read_until(&out_read, b"\x1b]52;c;x\x07done\r\n");
        },
    );
}

#[test]
fn an_error_puts_the_terminal_back_too() {
    alone(module_path!(), "an_error_puts_the_terminal_back_too", || {
        let mut person = Person::starts(Place::Foreground, Setup::on_pty(), |init| {
            init.writes(b"\x1b[?1049hready");
            init.reads(b"now\n");
            socket::send(&init.control, b"what?", &[]).unwrap();
            std::thread::sleep(Duration::from_mins(1));
        });
        person.sees("ready");
        assert!(person.is_raw());
        person.types(b"now\r");
        assert!(person.ends().contains("Malformed"));
        person.sees("\x1b[?1049l");
        assert!(!person.is_raw());
    });
}
