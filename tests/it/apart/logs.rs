//! What is kept of the output, and how it is shown.

use std::io::Write as _;
use std::os::fd::OwnedFd;

use super::{bryo, detached, start, until_logged};
use crate::support::{Stdin, World};

#[test]
fn both_streams_are_kept_apart_and_in_order() {
    let world = World::new();
    world.keeps(1);
    let id = start(
        &world,
        &[],
        "for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.2; done; printf end",
    );
    let followed = bryo(&world, &["logs", "-f", &id]).succeeds();
    followed.stdout_is("out 1\nout 2\nout 3\nend").stderr_is("err 1\nerr 2\nerr 3\n");
    let logs = |words: &[&str]| bryo(&world, &[&["logs", &id], words].concat()).succeeds();
    logs(&["--tail", "3"]).stdout_is("out 3\nend").stderr_is("err 3\n");
    logs(&["-n", "0"]).stdout_is("").stderr_is("");
    logs(&["--tail", "all"]).stdout_is("out 1\nout 2\nout 3\nend");
    logs(&["--since", "1h"]).stdout_is("out 1\nout 2\nout 3\nend");
    logs(&["--until", "1h"]).stdout_is("").stderr_is("");
    logs(&["--since", "2100-01-01"]).stdout_is("");
    let shown = logs(&["-t"]).stdout();
    let times: Vec<&str> =
        shown.lines().filter_map(|line| line.split_once(" out ")).map(|l| l.0).collect();
    assert!(times.len() == 3 && times.is_sorted() && times[0].ends_with('Z'), "{shown}");
    logs(&["--since", times[1]]).stdout_is("out 2\nout 3\nend").stderr_has("err 2");
    logs(&["--until", times[1]]).stdout_is("out 1\n");
    bryo(&world, &["logs", &id, "--since", "yesterday"]).refuses_with(&["yesterday", "10m"]);
    bryo(&world, &["logs", &id, "--tail", "-3"]).refuses_with(&["-3"]);
}

#[test]
fn in_one_place_both_streams_come_in_their_order() {
    let world = World::new();
    world.keeps(1);
    // Each once the one before is in the log: what waits in two pipes has no order.
    let script = "read x; for n in 1 2 3 4; do echo out $n; read x; echo err $n >&2; read x; done";
    let id = start(&world, &["-i"], script);
    let (read, mut types) = std::io::pipe().unwrap();
    let stdin = Stdin::File(OwnedFd::from(read).into());
    let typist = world.bryo(["attach", &id]).stdin(stdin).leaves().starts();
    for line in ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3", "out 4", "err 4"] {
        types.write_all(b"\n").unwrap();
        until_logged(&world, &id, line);
    }
    types.write_all(b"\n").unwrap();
    typist.ends().succeeds();
    bryo(&world, &["wait", &id]).succeeds();
    let one = ["/bin/sh", "-c", "exec \"$@\" 2>&1", "-"];
    let told = world.bryo(["logs", &id]).under(one).ends().succeeds().stdout();
    assert_eq!(told, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nout 4\nerr 4\n");
}

#[test]
fn a_terminal_is_not_misled_unless_it_is_asked_to_be() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], r"printf 'a\033[31mred\033[0m\n\033]52;c;eA==\007b\n'");
    bryo(&world, &["wait", &id]).succeeds();
    bryo(&world, &["logs", &id]).stdout_has("\x1b[31mred");
    let mut terminal = world.bryo(["logs", &id]).on_terminal();
    terminal.shows("\\u{1b}[31mred\\u{1b}[0m").shows("b");
    assert!(!terminal.screen().contains('\x1b'), "{}", terminal.screen());
    terminal.ends().succeeds();
    let mut terminal = world.bryo(["logs", "--raw", &id]).on_terminal();
    terminal.shows("\x1b[31mred");
    terminal.ends().succeeds();
}

#[test]
fn the_log_is_bounded_and_nothing_is_lost_up_to_that() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["--log-max-size", "1m"], "seq -f %099.0f 1 100000");
    bryo(&world, &["wait", &id]).succeeds().stdout_is("0\n");
    let text = bryo(&world, &["logs", &id]).succeeds().stdout();
    assert!((1 << 20..(2 << 20) + 100).contains(&text.len()), "{}", text.len());
    // It begins with a line, and not with a piece of one.
    let cut: Vec<&str> = text.lines().filter(|line| line.len() != 99).collect();
    assert_eq!(cut, Vec::<&str>::new());
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    let all = numbers.len().to_string();
    let tail = bryo(&world, &["logs", "--tail", &all, &id]).succeeds().stdout();
    assert_eq!(tail.len(), text.len());
    assert_eq!(numbers.last(), Some(&100_000));
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]));
    let kept = world.store().join(format!("kept/{id}"));
    let sizes = ["log", "log.old"].map(|name| std::fs::metadata(kept.join(name)).unwrap().len());
    assert!(sizes.iter().sum::<u64>() <= (2 << 20) + 100, "{sizes:?}");
}

#[test]
fn no_reader_holds_up_the_payload() {
    let world = World::new();
    world.keeps(1);
    let id = start(
        &world,
        &["--log-max-size", "256k"],
        "sleep 1; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last",
    );
    // It reads nothing until the payload has written everything.
    let slow = world
        .bryo(["logs", "-f", &id])
        .under(["/bin/sh", "-c", "\"$@\" | (sleep 6; cat)", "-"])
        .starts();
    bryo(&world, &["wait", &id]).succeeds().stdout_is("0\n");
    let ended = slow.ends().succeeds().stderr_has("some of the output was dropped");
    assert!(ended.stdout().ends_with("\nlast\n"));
}

#[test]
fn a_follower_ends_when_nobody_reads_it() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &[], "while :; do echo y; sleep 0.02; done");
    until_logged(&world, &id, "y");
    let shell = "$1 logs -f $2 | head -n 1";
    world
        .program("/bin/sh", ["-c", shell, "-"])
        .arg(crate::support::bryo())
        .arg(&id)
        .leaves()
        .ends()
        .succeeds()
        .stdout_is("y\n");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn a_payload_forges_no_entry_and_its_output_is_all_there() {
    let world = World::new();
    world.keeps(1);
    // What an entry of the other stream would look like, and a file's head.
    let forged = r"printf 'bryolog1\001\0\0\0\0\0\0\0\004\0\0\0\002\0\0\0\0\0\0\0\0\0\0\0fake'";
    let id = start(
        &world,
        &[],
        &format!("{forged}; head -c 70000 /dev/urandom >/dev/null; {forged} >&2"),
    );
    bryo(&world, &["wait", &id]).succeeds();
    let ended = bryo(&world, &["logs", &id]).succeeds();
    assert_eq!(ended.stdout, ended.stderr);
    assert!(ended.stdout.starts_with(b"bryolog1\x01") && ended.stdout.ends_with(b"fake"));
    drop(detached(&world, &[]));
}

#[test]
fn the_last_lines_of_a_flood_are_as_many_as_were_asked_for() {
    let world = World::new();
    world.keeps(1);
    let id = start(&world, &["--log-max-size", "64k"], "exec yes bbb");
    until_logged(&world, &id, "bbb");
    for _ in 0..20 {
        let ended = bryo(&world, &["logs", "--tail", "3", &id]).succeeds().stderr_is("");
        assert_eq!(ended.stdout().lines().count(), 3);
    }
    // It comes to an end though the payload does not.
    bryo(&world, &["logs", &id]).succeeds();
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}
