//! Leaving a sandbox that writes and writes, at a terminal that does not keep up; and what its streams may do to one.

use std::time::Duration;

use super::{bryo, field, start, until_logged};
use crate::support::{Host, Invocation, World};

/// Attaches on a terminal of which nothing more is read once something is shown, and leaves in one of three ways; an
/// interrupt is typed again and again. Says whether that has an effect.
const LEAVE: &str = r#"
import os, pty, select, signal, sys

how, words = sys.argv[1], sys.argv[2:]
pid, master = pty.fork()
if pid == 0:
    os.execv(words[0], words)
os.read(master, 100)
left = []
pidfd = os.pidfd_open(pid)
for _ in range(150):
    if how == "term":
        os.kill(pid, signal.SIGTERM)
    else:
        os.write(master, {"keys": b"\x10\x11", "interrupt": b"\x03"}[how])
    left = select.select([pidfd], [], [], 0.2)[0]
    if left:
        break
print("left" if left else "kept")
if not left:
    os.kill(pid, signal.SIGKILL)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn leave(world: &World, how: &str, flags: &[&str], id: &str) -> Invocation {
    let script = world.file("leave.py", LEAVE).display().to_string();
    let program = world.program("/usr/bin/python3", [script.as_str(), how]);
    let words = program.arg(crate::support::bryo()).arg("attach").args(flags).arg(id);
    words.leaves().patience(Duration::from_mins(1))
}

#[test]
fn a_payload_that_writes_and_writes_keeps_nobody_attached() {
    let world = World::new();
    world.keeps(2);
    let flood = |flags: &[&str]| {
        let id = start(&world, &[&["--log-max-size", "1m"], flags].concat(), "exec yes bbb");
        until_logged(&world, &id, "bbb");
        id
    };
    let id = flood(&["-it"]);
    leave(&world, "keys", &[], &id).ends().succeeds().stdout_is("left\n0\n");
    leave(&world, "term", &[], &id).ends().succeeds().stdout_is("left\n143\n");
    assert_eq!(field(&world, &id, "state"), "running");
    // The first one is for the payload, and one that comes later for who is still being shown what that wrote.
    leave(&world, "interrupt", &[], &id).ends().succeeds().stdout_is("left\n130\n");
    bryo(&world, &["wait", &id]).succeeds().stdout_is("130\n");
    let id = flood(&[]);
    let own = ["--sig-proxy=false"];
    leave(&world, "interrupt", &own, &id).ends().succeeds().stdout_is("left\n130\n");
    assert_eq!(field(&world, &id, "state"), "running");
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn who_does_not_read_a_pipe_can_be_made_to_leave_it() {
    let world = World::new();
    world.host(Host::MayChange).keeps(1);
    let id = start(&world, &["--log-max-size", "1m"], "exec yes bbb");
    until_logged(&world, &id, "bbb");
    // Nobody reads: the pipe is full at once.
    let words = ["/bin/sh", "-c", "mkfifo p; exec 3<>p; exec \"$@\" >&3", "-"];
    let attached = world.bryo(["attach", "--sig-proxy=false", &id]).leaves().under(words).starts();
    super::until_attached(&world, 1);
    attached.kill(rustix::process::Signal::TERM);
    attached.ends().exits_with(143);
    bryo(&world, &["stop", "-t", "0", &id]).succeeds();
}

#[test]
fn neither_stream_writes_the_clipboard_nor_leaves_a_terminal_changed() {
    let world = World::new();
    world.keeps(1);
    // Plain, and begun on one stream and ended on the other.
    let script = r"read line; printf 'one\033]52;c;eA==\007two\033[?1049h' >&2; sleep 0.3; printf '\033'; sleep 0.3
        printf ']52;c;eA==\007' >&2; sleep 0.3; printf 'three\n'; exit 3";
    let id = start(&world, &["-i"], script);
    let mut terminal = world.bryo(["attach", "--sig-proxy=false", &id]).on_terminal();
    terminal.types("go\r").shows("one").shows("two").shows("three");
    let shown = terminal.ends().exits_with(3).stdout();
    assert!(!shown.contains("\x1b]52") && !shown.contains("\x1b]5"), "{shown:?}");
    let (set, reset) = (shown.find("\x1b[?1049h"), shown.rfind("\x1b[?1049l"));
    assert!(set.is_some() && reset > set, "{shown:?}");
}

#[test]
fn an_answer_of_the_terminal_is_not_typed_into_the_shell_of_who_was_attached() {
    let world = World::new();
    world.keeps(1);
    let script = r#"echo up; while read x; do printf '\033[c'; [ "$x" = bye ] && exit 3; done"#;
    let id = start(&world, &["-it"], script);
    until_logged(&world, &id, "up");
    // Left by its keys, and by its end.
    for (typed, keys, status) in [("ask\r", "\x10\x11", "over=0"), ("bye\r", "", "over=3")] {
        let shell = r#""$@"; echo over=$?; IFS= read -r line; echo "got=[$line]""#;
        let program = world.program("/bin/sh", ["-c", shell, "-"]).arg(crate::support::bryo());
        let mut terminal = program.args(["attach", &id]).leaves().on_terminal();
        terminal.types(typed).shows("\x1b[c");
        // Our own question, to which the answer comes after that to the payload's.
        terminal.types(keys).shows("\x1b[5n");
        std::thread::sleep(Duration::from_millis(50));
        terminal.types("\x1b[?62;22c\x1b[0n").shows(status);
        terminal.types("end\r").shows("got=[end]");
        terminal.ends().succeeds();
    }
}
