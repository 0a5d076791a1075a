//! Job control: interrupts, stops, foreground and background.

use rustix::process::{Signal, kill_process};
use rustix::termios::LocalModes;

use super::{leave, shell};
use crate::apart::until;
use crate::support::{Stdin, Terminal, World};

fn is_raw(terminal: &Terminal) -> bool {
    !terminal.settings().local_modes.contains(LocalModes::ICANON)
}

/// A payload that says `ready` and then waits. Where keys are pressed at any moment it must not fork: a
/// dash that is in the middle of it may miss them, or hang, outside too.
const WAITS: &str = "sh -c 'echo rea''dy; exec sleep 100'";

#[test]
fn ctrl_c_interrupts_the_payload_and_leaves_the_shell() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types(&format!("\"$@\" -- {WAITS}\r")).shows("ready\r\n").types("\x03");
    terminal.shows("^C").shows("prompt> ").types("echo status=$?\r").shows("status=130");
    terminal.shows("prompt> ");
    leave(terminal);
}

#[test]
fn ctrl_backslash_quits_the_payload() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types(&format!("\"$@\" -- {WAITS}\r")).shows("ready\r\n").types("\x1c");
    terminal.shows("prompt> ").types("echo status=$?\r").shows("status=131").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_payload_that_handles_ctrl_c_goes_on() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload =
        "sh -c 'trap \"echo han''dled\" INT; echo rea''dy; until read x; do :; done; exit 6'";
    terminal.types(&format!("\"$@\" -- {payload}\r")).shows("ready\r\n");
    for _ in 0..5 {
        terminal.types("\x03").shows("handled");
    }
    terminal.types("enough\r").shows("prompt> ");
    terminal.types("echo status=$?\r").shows("status=6").shows("prompt> ");
    leave(terminal);
}

#[test]
fn ctrl_z_stops_and_fg_continues() {
    let world = World::new();
    let mut terminal = shell(&world);
    let before = terminal.settings().local_modes;
    let payload = "sh -c 'trap \"echo go''es on\" CONT; echo rea''dy; until read x; do :; done; echo go''t=$x'";
    terminal.types(&format!("\"$@\" -- {payload}\r")).shows("ready\r\n");
    for _ in 0..3 {
        assert!(is_raw(&terminal));
        terminal.types("\x1a").shows("Stopped").shows("prompt> ");
        assert_eq!(terminal.settings().local_modes, before);
        terminal.types("jobs\r").shows("Stopped").shows("prompt> ");
        terminal.types("fg\r").shows("goes on\r\n");
    }
    terminal.types("hello\r").shows("got=hello").shows("prompt> ");
    leave(terminal);
}

#[test]
fn bg_lets_the_payload_go_on_without_the_terminal() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload = "bash -c 'echo rea''dy; read x; echo go''t=$x; sleep 0.3; echo en''d'";
    terminal.types(&format!("\"$@\" -- {payload}\r")).shows("ready\r\n");
    terminal.types("\x1a").shows("Stopped").shows("prompt> ");
    // It still waits for keys, so it is stopped again, now for that.
    terminal.types("bg\r").shows("prompt> ").types("wait; jobs -l\r");
    terminal.shows("Stopped (tty input)").shows("prompt> ").types("fg\r").shows("read x");
    terminal.types("hello\r").shows("got=hello").types("\x1a").shows("Stopped").shows("prompt> ");
    // Now it wants none.
    terminal
        .types("bg; wait %1; echo status=$?\r")
        .shows("end")
        .shows("status=0")
        .shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_job_started_in_the_background_that_wants_keys_is_stopped_until_it_gets_them() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("\"$@\" -- sh -c 'echo rea''dy; read x; echo go''t=$x' &\r").shows("ready\r");
    terminal.types("wait; jobs -l\r").shows("Stopped (tty input)").shows("prompt> ");
    terminal.types("echo the shell has st''ill the keys\r").shows("still").shows("prompt> ");
    terminal.types("fg\r").shows("read x").types("hello\r").shows("got=hello").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_job_in_the_background_ends_by_itself_and_by_kill() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types("\"$@\" -- sh -c 'echo rea''dy; exit 3' &\r").shows("ready\r");
    terminal.types("wait %1; echo status=$?\r").shows("status=3").shows("prompt> ");
    terminal.types(&format!("\"$@\" -- {WAITS} &\r")).shows("ready\r");
    terminal.types("kill %1; wait %1; echo status=$?\r").shows("status=143").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_shell_inside_has_job_control_of_its_own() {
    let world = World::new();
    let mut terminal = shell(&world);
    // Says whether it has the keys, each time that changes.
    let job = "perl -MPOSIX -e '$|=1; for (;; select undef, undef, undef, .02) \
               { $now = tcgetpgrp(0) == getpgrp ? 1 : 0; next if $now eq $before; $before = $now; \
               print $now ? \"fro\" . \"nt\\n\" : \"ba\" . \"ck\\n\" }'";
    terminal.types("\"$@\" -- env PS1='inside> ' HISTFILE= bash --norc --noediting -i\r");
    terminal.shows("inside> ").types(&format!("{job}\r")).shows("front\r\n");
    // Stops the job, not the shell inside, nor bryo.
    terminal.types("\x1a").shows("Stopped").shows("inside> ");
    terminal
        .types("bg; jobs\r")
        .shows("Running")
        .shows("back\r\n")
        .types("fg\r")
        .shows("front\r\n");
    terminal.types("\x03").shows("inside> ").types("echo status=$?\r").shows("status=130");
    // The shell inside stops itself, as `suspend` does in any shell.
    terminal.shows("inside> ").types("suspend -f\r").shows("Stopped").shows("prompt> ");
    assert!(!is_raw(&terminal));
    terminal.types("fg\r").shows("inside> ").types("exit 5\r").shows("prompt> ");
    terminal.types("echo status=$?\r").shows("status=5").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_stop_sent_to_bryo_stops_the_payload_too() {
    let world = World::new();
    let mut terminal = shell(&world);
    let counts =
        "bash -c 'echo rea''dy; n=0; while sleep 0.05; do n=$((n+1)); echo $n >count; done'";
    terminal.types(&format!("\"$@\" -- {counts}; echo status=$?\r")).shows("ready\r\n");
    terminal.types("\x1a").shows("Stopped").shows("prompt> ");
    let wait = "while [ -z \"$(jobs -s)\" ]; do sleep 0.1; done";
    terminal.types(&format!("kill -CONT %1; sleep 0.2; kill -TSTP %1; {wait}; jobs\r"));
    terminal.shows("done; jobs").shows("Stopped").shows("prompt> ");
    terminal.types("kill %1; fg\r").shows("prompt> ");
    leave(terminal);
}

#[test]
fn without_a_terminal_inside_keys_become_signals_for_the_payload() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload =
        "bash -c 'trap \"echo han''dled; exit\" INT; echo rea''dy; while :; do sleep 0.05; done'";
    let redirected = "</dev/null 2>&1 | (trap '' INT; cat)";
    terminal.types(&format!("\"$@\" -- {payload} {redirected}\r")).shows("ready\r\n");
    terminal.types("\x1a").shows("Stopped").shows("prompt> ").types("fg\r").shows("cat");
    terminal.gives_a_job_the_keys().types("\x03").shows("handled").shows("prompt> ");
    leave(terminal);
}

#[test]
fn where_no_terminal_is_wanted_inside_the_callers_own_line_discipline_serves() {
    let world = World::new();
    let mut terminal = shell(&world);
    let payload = "sh -c 'test -t 0 || echo none; cat; echo en''d'";
    terminal.types(&format!("\"$@\" --tty=false -- {payload}\r")).shows("none\r\n");
    assert!(!is_raw(&terminal));
    terminal.types("line\r").shows("line\r\nline\r\n").types("\x04").shows("end\r\n");
    terminal
        .shows("prompt> ")
        .types(&format!("\"$@\" --tty=false -- {WAITS}\r"))
        .shows("ready\r\n");
    terminal.types("\x1a").shows("Stopped").shows("prompt> ").types("fg\r").shows("sleep 100");
    terminal.gives_a_job_the_keys().types("\x03").shows("prompt> ");
    terminal.types("echo status=$?\r").shows("status=130").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_terminal_inside_can_be_had_without_one_outside() {
    let world = World::new();
    let payload = "test -t 0 && test -t 1 && stty -echo && cat && echo end";
    world
        .sandbox()
        .args(["--rm", "--tty"])
        .stdin(Stdin::Text(b"from a pipe\n".to_vec()))
        .run(payload)
        .succeeds()
        .stdout_has("from a pipe\r\n")
        .stdout_has("end\r\n");
}

#[test]
fn in_a_pipeline_the_last_program_has_the_keys() {
    let world = World::new();
    let mut terminal = shell(&world);
    let reader = "(cat; read x </dev/tty; echo go''t=$x)";
    terminal.types(&format!("\"$@\" -- seq 3 | {reader}\r")).shows("3\r\n");
    terminal.types("mine\r").shows("got=mine").shows("prompt> ");
    // And one inside that wants them gets them.
    terminal.types("\"$@\" -- sh -c 'echo rea''dy >&2; read x; echo go''t=$x' | cat\r");
    terminal.shows("ready\r").types("yours\r").shows("got=yours\r\n").shows("prompt> ");
    leave(terminal);
}

#[test]
fn a_signal_is_forwarded_and_many_are_obeyed() {
    let world = World::new();
    let payload = "trap 'echo TERM' TERM; echo ready; while :; do sleep 0.05; done";
    let running = world.sandbox().arg("--rm").start(payload);
    running.says("ready").kill(Signal::TERM);
    running.says("TERM");
    // One that waits to be taken swallows the next of its kind, so three may be less; those that are counted are in
    // `supervise::signals`.
    until("it ends", || kill_process(running.pid(), Signal::TERM).is_err());
    running.ends().exits_with(143);
}

#[test]
fn the_death_of_bryo_gives_the_keys_back() {
    let world = World::new();
    let mut terminal = shell(&world);
    terminal.types(&format!("\"$@\" -- {WAITS} & wait\r")).shows("ready\r");
    let text = terminal.screen();
    let pid = text.split("[1] ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let pid: i32 = pid.and_then(|pid| pid.parse().ok()).unwrap();
    kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    terminal.shows("Killed").shows("prompt> ");
    // The next command sweeps what it left in the store.
    terminal.types("\"$@\" -- true; echo status=$?\r").shows("status=0").shows("prompt> ");
    leave(terminal);
}
