//! The test bench itself: what it claims to see, it sees. Each of these plants the fault first.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::Signal;

use crate::support::{
    Host, Invocation, MAY_BE_MISSING, Need, Overlay, Running, Stdin, Terminal, Verdict, World, has,
    overlay, overlay_is_one_of, verdict,
};

/// The message that `test` fails with.
fn failure(test: impl FnOnce()) -> String {
    let hook = catch_unwind(AssertUnwindSafe(test));
    let payload = hook.expect_err("the test bench saw nothing");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default()
}

fn sh(world: &World, command: &str) -> Invocation {
    world.program("/bin/sh", ["-c", command])
}

#[test]
fn a_process_that_escapes_with_a_new_session_is_seen() {
    let world = World::new();
    let escape = "(setsid sleep 30 >/dev/null 2>&1 </dev/null &) & exit 0";
    let told = failure(|| _ = sh(&world, escape).ends());
    assert!(told.contains("left processes") && told.contains("sleep"), "{told}");
    // One that ends within the second is not left.
    sh(&world, "(setsid sleep 0.2 >/dev/null 2>&1 </dev/null &) & exit 0").ends().succeeds();
}

#[test]
fn a_file_that_a_run_changes_on_the_host_is_seen() {
    let world = World::new();
    world.file("project/a", "before");
    for change in ["echo after > a", "touch b", "rm a", "chmod 600 a", "mkdir -p ../.config"] {
        world.file("project/a", "before");
        let told = failure(|| _ = sh(&world, change).ends());
        assert!(told.contains("changed the host"), "{change}: {told}");
    }
    world.host(Host::MayChange);
    sh(&world, "touch c").ends().succeeds();
    assert!(world.exists("project/c"));
}

#[test]
fn a_record_or_a_lock_that_stays_is_seen() {
    for (made, told) in [
        ("kept/abc", "1 records in the store where 0 are expected"),
        ("live/abc", "in the store: live/abc"),
        ("trash/abc", "in the store: trash/abc"),
        ("names/abc", "the name abc of nothing"),
    ] {
        let message = failure(|| {
            let world = World::new();
            std::fs::create_dir_all(world.store().join(made)).unwrap();
        });
        assert!(message.contains(told), "{message}");
    }

    let world = World::new();
    world.keeps(1);
    std::fs::create_dir_all(world.store().join("kept/abc")).unwrap();
    let lock = std::fs::File::create(world.store().join("lock")).unwrap();
    lock.lock().unwrap();
    let told = failure(move || drop(world));
    assert!(told.contains("lock: ") && told.contains("/lock"), "{told}");
}

#[test]
fn a_wrong_sentence_fails_with_all_that_was_said() {
    let world = World::new();
    let ended = || sh(&world, "echo out; echo err >&2; exit 3").ends();
    for told in [
        failure(|| _ = ended().succeeds()),
        failure(|| _ = ended().exits_with(4)),
        failure(|| _ = ended().dies_of(9)),
        failure(|| _ = ended().stdout_is("out")),
        failure(|| _ = ended().stdout_has("other")),
        failure(|| _ = ended().stdout_lacks("out")),
        failure(|| _ = ended().stderr_is("")),
        failure(|| _ = ended().stderr_has("out")),
        failure(|| _ = ended().stderr_lacks("err")),
        failure(|| _ = ended().refuses_with(&["err"])),
    ] {
        assert!(
            told.contains("out\n") && told.contains("err\n") && told.contains("status: 3"),
            "{told}"
        );
    }
    ended()
        .fails()
        .exits_with(3)
        .stdout_is("out\n")
        .stdout_has("ut")
        .stderr_is("err\n")
        .stderr_lacks("out");
    failure(|| _ = sh(&world, "exit 125").ends().fails());
    sh(&world, "echo no >&2; exit 125").ends().refuses_with(&["no"]);
    sh(&world, "kill -9 $$").ends().dies_of(9);
}

#[test]
fn a_program_that_never_ends_is_killed_and_told() {
    let world = World::new();
    let patience = std::time::Duration::from_millis(300);
    let told = failure(|| _ = sh(&world, "echo begun; exec sleep 100").patience(patience).ends());
    assert!(told.contains("still runs") && told.contains("begun"), "{told}");
}

#[test]
fn what_is_started_has_the_worlds_environment_and_input() {
    let world = World::new();
    let home = world.home().to_str().unwrap().to_owned();
    sh(&world, "cat; echo $HOME $A $LANG; pwd")
        .stdin(Stdin::Text(b"typed ".to_vec()))
        .env("A", "a")
        .env_remove("LANG")
        .in_folder(world.home())
        .ends()
        .stdout_is(&format!("typed {home} a\n{home}\n"));
    sh(&world, "ls /proc/self/fd").ends().stdout_is("0\n1\n2\n3\n");
    sh(&world, "readlink /proc/self/fd/0")
        .stdin(Stdin::File(std::fs::File::open("/").unwrap()))
        .ends()
        .stdout_is("/\n");
    world.host(Host::MayChange);
    let (out, err) = (world.path("out"), world.path("err"));
    sh(&world, "echo a; echo b >&2")
        .stdout_to(std::fs::File::create(out).unwrap())
        .stderr_to(std::fs::File::create(err).unwrap())
        .ends()
        .stdout_is("");
    assert_eq!(world.read("out") + &world.read("err"), "a\nb\n");
    sh(&world, "exit 1")
        .under(["/usr/bin/env", "sh", "-c", "\"$@\" || exit 7", "-"])
        .ends()
        .exits_with(7);
}

#[test]
fn a_running_program_can_be_signalled() {
    let world = World::new();
    let running: Running =
        sh(&world, "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
            .starts();
    running.says("ready").kill(Signal::USR1);
    running.ends().exits_with(5).stdout_has("got");
}

#[test]
fn a_terminal_types_shows_resizes_and_interrupts() {
    let world = World::new();
    let mut terminal: Terminal = world.program("/bin/sh", ["-i"]).env("PS1", "> ").on_terminal();
    terminal.shows("> ").types("stty size\r").shows("24 80");
    terminal.resize(30, 100);
    terminal.types("stty size\r").shows("30 100");
    terminal.types("stty -echo; echo do''ne\r").shows("done");
    let echo = rustix::termios::LocalModes::ECHO;
    assert!(!terminal.settings().local_modes.contains(echo));
    // Who says so is who is in the foreground by then, and so is interrupted.
    terminal
        .types("sh -c 'echo start; exec cat'\r")
        .shows("start")
        .types("\x03")
        .shows("> ")
        .types("echo $$ still''here\r")
        .shows("stillhere");
    assert!(terminal.screen().contains(&terminal.pid().as_raw_nonzero().to_string()));
    terminal.types("exit 4\r");
    terminal.ends().exits_with(4).stdout_has("stillhere");
}

#[test]
fn a_c_program_is_compiled_into_the_home() {
    let world = World::new();
    let program =
        world.c_program("hello", "#include <stdio.h>\nint main(void){puts(\"hello\");return 0;}");
    assert!(program.starts_with(world.home()));
    world.outside("bin/hello").succeeds().stdout_is("hello\n");
    let told = failure(|| _ = world.c_program("wrong", "int main(void) { return x; }"));
    assert!(told.contains("undeclared"), "{told}");
}

#[test]
fn a_payload_is_what_stands_behind_two_dashes() {
    let world = World::new();
    let env = || world.program("/usr/bin/env", ["-u", "LANG"]);
    env().run("echo [$LANG] a b").stdout_is("[] a b\n");
    env().arg("-i").exec(["/bin/sh", "-c", "echo [$HOME] $#", "-"]).stdout_is("[] 0\n");
    env().start("echo begun").ends().stdout_is("begun\n");
}

#[test]
fn the_overlay_of_this_pass_is_asked_for() {
    let world = World::new();
    let asked = world.sandbox().under(["/bin/echo"]).run("true").stdout();
    let (home, project) = (world.home().display(), world.project());
    let expected = match overlay() {
        Overlay::Kernel => "run --overlay kernel -- /bin/sh -c true\n".to_owned(),
        Overlay::Fuse => "run --overlay fuse -- /bin/sh -c true\n".to_owned(),
        Overlay::None => {
            format!("run --tmpfs {home} --write {} -- /bin/sh -c true\n", project.display())
        }
    };
    assert!(asked.ends_with(&expected), "{asked}");
    assert!(overlay_is_one_of(&[overlay()]) && !overlay_is_one_of(&[]));
}

#[test]
fn what_a_host_lacks_fails_a_test_unless_the_list_allows_to_skip_it() {
    for need in [Need::FuseOverlayfs, Need::Subids, Need::Program("sh")] {
        assert!(has(need), "{need:?}");
    }
    // Run by root, there is a second group; by a person, maybe not.
    assert!(!matches!(verdict(Need::SupplementaryGroup), Verdict::Fails(_)));
    assert_eq!(verdict(Need::Landlock(9999)), Verdict::Skips("Landlock(9999)".to_owned()));
    assert_eq!(
        verdict(Need::Program("no-such")),
        Verdict::Fails("Program(\"no-such\")".to_owned())
    );
    assert!(failure(|| _ = has(Need::Program("no-such"))).contains("does not allow to skip"));
}

#[test]
fn the_readme_lists_what_may_be_skipped() {
    let readme = include_str!("../README.md");
    let (_, list) = readme.split_once("## What may be skipped").unwrap();
    let named: Vec<&str> = list
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .map_while(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(named, MAY_BE_MISSING);
}
