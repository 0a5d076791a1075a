//! Attaching, leaving, and attaching again.

use rustix::process::Signal;

use super::{bryo, field, start, until, until_attached, until_logged};
use crate::support::{Stdin, World};

#[test]
fn a_terminal_is_attached_left_and_attached_again() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["-it", "--name", "tty"], "echo up; exec sh -i");
    until_logged(&world, &id, "up");
    let mut terminal = world.bryo(["attach", "tty"]).on_terminal();
    terminal.types("echo a$((1+1))b; stty size\r").shows("a2b").shows("24 80");
    terminal.resize(30, 100);
    until("the size has come", || {
        terminal.types("stty size\r");
        std::thread::sleep(std::time::Duration::from_millis(200));
        terminal.screen().contains("30 100")
    });
    // A key of the sandbox's own terminal.
    terminal
        .types("echo go; exec 3</dev/null; cat\r")
        .shows("\ngo")
        .types("typed\r")
        .shows("typed\r\ntyped");
    terminal.types("\x03").shows("^C").types("echo still $((2+2))\r").shows("still 4");
    terminal.types("\x10\x11");
    terminal.ends().succeeds();
    assert_eq!(field(&world, &id, "state"), "running");
    // Two at once: what one types both see.
    let mut one = world.bryo(["attach", "tty"]).on_terminal();
    let mut two = world.bryo(["attach", "--detach-keys", "ctrl-x,x", "tty"]).on_terminal();
    until("both are there", || {
        one.types("echo o$((3+3))o\r");
        std::thread::sleep(std::time::Duration::from_millis(100));
        one.screen().contains("o6o") && two.screen().contains("o6o")
    });
    two.types("\x18x");
    two.ends().succeeds();
    one.types("exit 6\r");
    one.ends().exits_with(6);
    bryo(&world, &["wait", "tty"]).succeeds().stdout_is("6\n");
    // Who starts it and attaches leaves it in the same way.
    bryo(&world, &["start", "--detach-keys", "x", "tty"]).refuses_with(&["--attach"]);
    let words = ["start", "-ai", "--detach-keys", "ctrl-x,x", "tty"];
    world.bryo(["start", "tty"]).leaves().ends().succeeds();
    let mut again = world.bryo(words).on_terminal();
    again.types("echo s$((3+4))s\r").shows("s7s").types("\x18x");
    again.ends().succeeds();
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["stop", "-t", "0", "tty"]).succeeds();
}

#[test]
fn pipes_are_attached_and_input_stays_open_for_the_next() {
    let world = World::new();
    world.keeps(1);
    let id = start(
        &world,
        &["-i"],
        "while read line; do echo got $line; [ $line = end ] && exit 8; done; exit 1",
    );
    let typed = |text: &str| {
        world.bryo(["attach", &id]).stdin(Stdin::Text(text.as_bytes().to_vec())).leaves().starts()
    };
    let first = typed("one\n");
    first.says("got one");
    let second = typed("end\n");
    second.ends().exits_with(8).stdout_has("got end");
    first.ends().exits_with(8).stdout_is("got one\ngot end\n");
    // Without -i there is nothing to type to.
    let id = start(&world, &["--rm"], "cat; echo eof; sleep 1; exit 2");
    let ended = world.bryo(["attach", &id]).stdin(Stdin::Text(b"lost".to_vec())).leaves().ends();
    ended.exits_with(2).stdout_lacks("lost");
}

#[test]
fn signals_go_to_a_payload_without_a_terminal_unless_that_is_not_wanted() {
    let world = World::new();
    world.keeps(1);
    let id =
        start(&world, &[], "trap 'echo usr; exit 3' USR1; echo up; while :; do sleep 0.02; done");
    until_logged(&world, &id, "up");
    let other = world.bryo(["attach", "--sig-proxy=false", "--no-stdin", &id]).leaves().starts();
    let one = world.bryo(["attach", "--no-stdin", &id]).leaves().starts();
    until_attached(&world, 2);
    other.kill(Signal::TERM);
    other.ends().exits_with(143);
    assert_eq!(field(&world, &id, "state"), "running");
    one.kill(Signal::USR1);
    one.ends().exits_with(3).stdout_has("usr");
}

#[test]
fn a_hangup_and_any_signal_where_there_is_a_terminal_are_for_who_is_attached() {
    let world = World::new();
    world.keeps(2);
    let script = "trap 'exit 4' HUP; trap 'exit 5' TERM INT; echo up; while :; do sleep 0.02; done";
    let ids = [&["-i"][..], &["-it"]].map(|flags| start(&world, flags, script));
    for id in &ids {
        until_logged(&world, id, "up");
    }
    let mut times = 0;
    let mut attached = |id: &String, flags: &[&str]| {
        let words = [&["attach"], flags, &[id.as_str()]].concat();
        // A pipe with nothing to be typed, which is no terminal either.
        let one = world.bryo(words).stdin(Stdin::Text(Vec::new())).leaves().starts();
        times += 1;
        until_attached(&world, times);
        one
    };
    let [bare, tty] = &ids;
    let cases = [(bare, Signal::HUP), (tty, Signal::HUP), (tty, Signal::TERM), (tty, Signal::INT)];
    for (id, signal) in cases {
        for flags in [&["--no-stdin"][..], &[]] {
            let one = attached(id, flags);
            one.kill(signal);
            one.ends().exits_with(128 + signal.as_raw());
            assert_eq!(field(&world, id, "state"), "running", "{signal:?}");
        }
    }
    // What is for the payload reaches it, and the trap is set.
    let one = attached(bare, &[]);
    one.kill(Signal::TERM);
    one.ends().exits_with(5);
    bryo(&world, &["stop", "-t", "0", tty]).succeeds();
}
