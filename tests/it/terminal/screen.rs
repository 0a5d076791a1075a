//! What passes between the payload and the caller's terminal, and what stays behind.

use super::{leave, shell};
use crate::support::World;

#[test]
fn the_terminal_is_as_it_was() {
    let world = World::new();
    let mut terminal = shell(&world);
    let before = terminal.settings();
    for payload in
        ["true", "sh -c 'stty raw -echo; exit 3'", "sh -c 'kill -9 $$'", "no-such-program"]
    {
        terminal.types(&format!("\"$@\" -- {payload}; echo o''ver\r")).shows("over\r\n");
        terminal.shows("prompt> ");
        let after = terminal.settings();
        assert_eq!(after.local_modes, before.local_modes, "{payload}");
        assert_eq!(after.input_modes, before.input_modes, "{payload}");
        assert_eq!(after.output_modes, before.output_modes, "{payload}");
    }
    leave(terminal);
}

#[test]
fn the_pty_is_like_the_callers_terminal() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("stty erase ^H intr ^P; \"$@\" -- sh -c 'stty size; stty -a'; stty sane\r");
    terminal.shows("24 80\r\n").shows("intr = ^P").shows("erase = ^H").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_new_size_is_seen_inside() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload = "sh -c 'trap \"stty size\" WINCH; echo rea''dy; until read x; do :; done'";
    terminal.types(&format!("\"$@\" -- {payload}\r")).shows("ready\r\n");
    terminal.resize(33, 101);
    terminal.shows("33 101\r\n").types("\r").shows("prompt> ");
    terminal.types("\"$@\" -- sh -c 'echo rea''dy; read x; stty size'\r").shows("ready\r\n");
    terminal.types("\x1a").shows("Stopped").shows("prompt> ");
    // While it was stopped nobody was told.
    terminal.resize(44, 111);
    terminal.types("fg\r").shows("stty size").types("\r").shows("44 111\r\n").shows("prompt> ");
    leave(terminal);
}

#[test]
fn nothing_is_echoed_that_the_payload_does_not_echo() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload = "sh -c 'stty -echo; echo rea''dy; read x; echo len=${#x}'";
    terminal.types(&format!("\"$@\" -- {payload}\r")).shows("ready\r\n");
    terminal.types("secret-word\r").shows("len=11").shows("prompt> ");
    assert!(!terminal.screen().contains("secret-word"));
    leave(terminal);
}

#[test]
fn the_clipboard_cannot_be_set() {
    let world = World::new();
    let mut terminal = shell(&world);
    let orders = "printf 'a\\033]52;c;aGk=\\007b\\n'";
    // The control: outside, the terminal gets it.
    terminal.types(&format!("{orders}\r")).shows("a\u{1b}]52;c;aGk=\u{7}b").shows("prompt> ");
    terminal.types(&format!("\"$@\" -- {orders}\r")).shows("a\u{1b}\\b\r\n").shows("prompt> ");
    let pieces = "sh -c 'printf \"a\\033]5\"; sleep 0.1; printf \"2;c;aGk=\\007b\\n\"'";
    terminal.types(&format!("\"$@\" -- {pieces}\r")).shows("a\u{1b}\\b\r\n").shows("prompt> ");
    leave(terminal);
}

#[test]
fn modes_that_the_payload_left_are_switched_off() {
    let world = World::new();
    let mut terminal = shell(&world);
    let leaves = "printf '\\033[?1049h\\033[?1003h\\033[?2004h\\033[?25l\\033[31m.'";
    terminal.types(&format!("\"$@\" -- {leaves}\r"));
    terminal.shows("\u{1b}[31m.\u{1b}[?25h\u{1b}[?1003l\u{1b}[?1049l\u{1b}[?2004l\u{1b}[0m");
    terminal.shows("prompt> ");
    terminal.types("\"$@\" -- printf '\\033%%@\\033[?67h\\033[5i:'\r");
    terminal.shows("\u{1b}[5i:\u{1b}[4i\u{1b}%G\u{1b}[?67l").shows("prompt> ");
    // Nothing is added where nothing was left.
    terminal.types("\"$@\" -- printf 'x\\033[1my\\033[0mz'\r").shows("x\u{1b}[1my\u{1b}[0mz");
    terminal.shows("prompt> ");
    assert!(!terminal.screen().contains("\u{1b}[0mz\u{1b}[?"));
    leave(terminal);
}

#[test]
fn an_answer_of_the_terminal_is_not_typed_into_the_shell() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("\"$@\" -- printf '\\033[21t'\r").shows("\u{1b}[21t").shows("\u{1b}[5n");
    // What a terminal with a hostile title would answer, late.
    terminal.types("\u{1b}]l; touch planted\r\u{1b}\\\u{1b}[0n").shows("prompt> ");
    terminal.types("echo still''here\r").shows("stillhere").shows("prompt> ");
    assert!(!world.exists("project/planted"));
    leave(terminal);
}

#[test]
fn keys_typed_ahead_are_not_left_to_the_shell() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("\"$@\" -- sh -c 'echo rea''dy; sleep 1'\r").shows("ready\r\n");
    terminal.types("touch planted\r").shows("prompt> ");
    terminal.types("echo still''here\r").shows("stillhere").shows("prompt> ");
    assert!(!world.exists("project/planted"));
    leave(terminal);
}

#[test]
fn each_descriptor_is_on_its_own() {
    let world = World::new();
    world.host(crate::support::Host::MayChange);
    let mut terminal = shell(&world);
    let look = "sh -c 'for n in 0 1 2; do test -t $n && echo $n; done'";
    terminal.types(&format!("\"$@\" -- {look}; echo o''ver\r")).shows("0\r\n1\r\n2\r\n");
    terminal.shows("over").shows("prompt> ");
    for (redirect, wanted) in [
        ("", "0\n2\n"),
        ("</dev/null", "2\n"),
        ("2>/dev/null", "0\n"),
        ("</dev/null 2>/dev/null", ""),
    ] {
        terminal.types(&format!("\"$@\" -- {look} {redirect} >out; echo o''ver\r")).shows("over");
        terminal.shows("prompt> ");
        assert_eq!(world.read("project/out"), wanted, "{redirect}");
    }
    leave(terminal);
}

#[test]
fn much_output_arrives_whole() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("\"$@\" -- seq -f 'line-%.0f' 20000; echo o''ver\r").shows("line-20000\r\n");
    terminal.shows("over").shows("prompt> ");
    let screen = terminal.screen();
    let lines = screen.lines().filter(|line| line.starts_with("line-"));
    assert!(lines.enumerate().all(|(n, line)| line == format!("line-{}", n + 1)));
    assert_eq!(screen.lines().filter(|line| line.starts_with("line-")).count(), 20000);
    leave(terminal);
}
