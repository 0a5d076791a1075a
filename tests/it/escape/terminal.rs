//! Keys typed into the caller's terminal, and settings that leak out of it.

use super::{attack, sandbox};
use crate::support::{Terminal, World};

/// Types a command into the controlling terminal, in every way there is; prints what came of each.
const TYPE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    static const unsigned long requests[] = {0x5412, 0x5412 | 1UL << 32, 0x541c, 0x541c | 1UL << 32};
    static const char *names[] = {"TIOCSTI", "TIOCSTI-high", "TIOCLINUX", "TIOCLINUX-high"};
    int fd = open("/dev/tty", O_RDWR);
    if (fd < 0)
        fd = 0;
    for (int i = 0; i < 4; i++) {
        char key = i < 2 ? 'X' : 3;
        long result = syscall(SYS_ioctl, fd, requests[i], &key);
        printf("%s=%s\n", names[i], result ? strerrorname_np(errno) : "typed");
    }
    puts("over");
    return 0;
}
"#;

/// Everything on the screen, once `finished` stands there.
fn screen(mut terminal: Terminal) -> String {
    terminal.shows("finished");
    let screen = terminal.screen();
    drop(terminal.ends());
    screen
}

/// Runs its arguments, then tells what was typed meanwhile for the next program to read.
const READ_REST: &str = "stty -echo -icanon min 0 time 2; \"$@\"; rest=$(head -c 8); stty sane; echo \"rest=[$rest]\"; \
                         echo finished";

#[test]
fn nothing_can_be_typed_into_the_callers_terminal() {
    let world = World::new();
    let program = attack(&world, "type", TYPE);
    let control = world.program("/bin/sh", ["-c", READ_REST, "sh", &program]);
    let text = screen(control.on_terminal());
    // The control. A kernel with dev.tty.legacy_tiocsti=0 refuses by itself, with another errno; a
    // pseudo-terminal is no console, so TIOCLINUX reaches its driver and is not known there.
    let legacy = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if legacy.is_ok_and(|text| text.trim() == "0") {
        assert!(text.contains("TIOCSTI=EIO") && text.contains("TIOCSTI-high=EIO"), "{text}");
    } else {
        assert!(text.contains("TIOCSTI=typed") && text.contains("rest=[XX]"), "{text}");
    }
    assert!(text.contains("TIOCLINUX=ENOTTY"), "{text}");
    let run = sandbox(&world).under(["/bin/sh", "-c", READ_REST, "sh"]).arg("--").arg(&program);
    let text = screen(run.on_terminal());
    for name in ["TIOCSTI", "TIOCSTI-high", "TIOCLINUX", "TIOCLINUX-high"] {
        assert!(text.contains(&format!("{name}=EPERM")), "{name}: {text}");
    }
    assert!(text.contains("rest=[]"), "{text}");
}

#[test]
fn the_payload_does_not_hold_the_callers_terminal() {
    let world = World::new();
    // A program that opens the terminal by its name reads the keys meant for others.
    let name = "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; echo finished";
    let outside =
        world.program("/bin/sh", ["-c", "tty; tty </dev/tty; echo finished"]).on_terminal();
    let outside = screen(outside);
    let caller = outside.lines().next().unwrap().trim().to_owned();
    assert!(caller.starts_with("/dev/pts/"), "{outside}");
    let inside = sandbox(&world).args(["--", "/bin/sh", "-c", name]).on_terminal();
    let inside = screen(inside);
    // Its own pts has one terminal only: the first of a file system of its own.
    assert_eq!(inside.matches("/dev/pts/0").count(), 3, "{inside}");
    let run = sandbox(&world).args([
        "--",
        "/bin/sh",
        "-c",
        "ls /dev/pts; stat -f -c %T /dev/pts; echo finished",
    ]);
    let inside = screen(run.on_terminal());
    assert!(inside.starts_with("0  ptmx\r\n") || inside.starts_with("0\r\nptmx\r\n"), "{inside}");
}

#[test]
fn settings_of_the_terminal_do_not_leak_out() {
    let world = World::new();
    let compare = "before=$(stty -g); \"$@\"; [ \"$(stty -g)\" = \"$before\" ] && echo kept || \
                   { stty sane; echo leaked; }; echo finished";
    let spoil = ["/bin/sh", "-c", "stty raw -echo -isig; kill -9 $$"];
    let control = world.program("/bin/sh", ["-c", compare, "sh"]).args(spoil);
    assert!(screen(control.on_terminal()).contains("leaked"));
    let run = sandbox(&world).under(["/bin/sh", "-c", compare, "sh"]).arg("--").args(spoil);
    assert!(screen(run.on_terminal()).contains("kept"));
}

#[test]
fn a_mode_that_the_payload_set_on_the_screen_is_reset() {
    let world = World::new();
    // Mouse reports would be typed into the next program; a question is answered by the terminal.
    let spoil = ["/bin/sh", "-c", "printf '\\033[?1000h\\033[?2004h\\033[?1049h'; exit 0"];
    let then = ["/bin/sh", "-c", "\"$@\"; echo finished", "sh"];
    let control = screen(world.program(then[0], &then[1..]).args(spoil).on_terminal());
    assert!(control.contains("\x1b[?1000h") && !control.contains("\x1b[?1000l"), "{control:?}");
    let text = screen(sandbox(&world).under(then).arg("--").args(spoil).on_terminal());
    for mode in ["1000", "2004", "1049"] {
        let (set, reset) = (format!("\x1b[?{mode}h"), format!("\x1b[?{mode}l"));
        let (set, reset) = (text.rfind(&set), text.rfind(&reset));
        assert!(reset.is_some() && set < reset, "{mode} in {text:?}");
    }
}

/// Runs its arguments in one of the ways in which their keys do not come from the terminal, then reads a line there.
const READ_LINE: &str = r#"
way=$1; shift
case $way in
plain) "$@" ;;
empty) "$@" </dev/null ;;
piped) echo x | "$@" ;;
errors) "$@" </dev/null >/dev/null ;;
esac
echo "over=$?"; IFS= read -r line; echo "got=[$line]"; echo finished"#;

#[test]
fn an_answer_of_the_terminal_is_typed_into_no_shell_wherever_keys_come_from() {
    const ASK: &str = r"printf '\033[c' >&2; exit 3";
    let world = World::new();
    let script = |way| ["/bin/sh", "-c", READ_LINE, "-", way];
    // The control: what an answer does to the next who reads a line.
    let control = world.program("/bin/sh", &script("empty")[1..]).args(["/bin/sh", "-c", ASK]);
    let mut terminal = control.on_terminal();
    terminal.shows("\x1b[c").types("\x1b[?62;22c").shows("over=3").types("end\r").shows("got=[");
    let text = screen(terminal);
    assert!(text.contains("62;22cend]"), "{text:?}");
    for (way, flags) in [
        ("empty", &[][..]),
        ("piped", &[]),
        ("errors", &[]),
        ("plain", &["--interactive=false"]),
        ("plain", &["--tty=false"]),
        ("empty", &["--tty=false"]),
    ] {
        let run = sandbox(&world).args(flags.iter().copied()).under(script(way));
        let mut terminal = run.args(["--", "/bin/sh", "-c", ASK]).on_terminal();
        // Our own question, to which the answer comes after that to the payload's.
        terminal.shows("\x1b[c").shows("\x1b[5n");
        terminal.types("\x1b[?62;22c\x1b[0n").shows("over=3").types("end\r").shows("got=[end]");
        screen(terminal);
    }
}

#[test]
fn without_a_terminal_of_its_own_a_payload_writes_no_clipboard_and_leaves_no_mode_either() {
    let world = World::new();
    // Begun on one stream and ended on the other.
    let spoil = r"printf '\033]52;c;'; sleep 0.3; printf 'eA==\007\033[?1003h' >&2; sleep 0.3; echo finished";
    let control = screen(world.program("/bin/sh", ["-c", spoil]).on_terminal());
    assert!(control.contains("\x1b]52;c;eA=="), "{control:?}");
    let run = sandbox(&world).args(["--tty=false", "--", "/bin/sh", "-c", spoil]);
    let text = run.on_terminal().ends().succeeds().stdout();
    assert!(!text.contains("\x1b]52") && text.contains("finished"), "{text:?}");
    let (set, reset) = (text.rfind("\x1b[?1003h"), text.rfind("\x1b[?1003l"));
    assert!(set.is_some() && set < reset, "{text:?}");
}
