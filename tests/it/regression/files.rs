//! Files that the command line names, and that are no regular files.

use std::time::Duration;

use crate::support::{Host, Overlay, World, overlay};

/// No test waits for what never comes.
const SOON: Duration = Duration::from_secs(30);

fn world() -> World {
    let world = World::new();
    world.host(Host::MayChange);
    let make = "cd project; mkfifo fifo; mkdir folder; ln -s /dev/zero zero; \
                ln -s ../victim link; ln -s nowhere dangling";
    world.outside(make).succeeds();
    world.host(Host::Unchanged);
    world
}

#[test]
fn a_report_is_written_to_no_link_fifo_or_device() {
    let world = world();
    world.file("victim", "mine\n");
    for (place, kind) in [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("fifo", "a FIFO"),
        ("/dev/null", "a device"),
        ("folder", "a directory"),
    ] {
        // An absolute one stays as it is.
        let shown = world.project().join(place);
        let run = world.sandbox().patience(SOON).args(["--report", place]).run("echo started");
        run.stdout_is("").refuses_with(&[
            &format!("bryo: cannot write a report to `{}`: {kind} stands there", shown.display()),
            "hint: name a regular file, or one that is not there",
        ]);
    }
    assert_eq!(world.read("victim"), "mine\n");
}

#[test]
fn a_report_takes_the_place_of_an_older_one_at_once_and_keeps_its_mode() {
    let world = World::new();
    world.host(Host::MayChange);
    world.outside(
        "echo old >project/r.json; chmod 644 project/r.json; ln project/r.json project/same",
    );
    // During the run the older one is there, whole.
    let during = "cat r.json; ls -A";
    let run = || world.sandbox().args(["--rm", "--report", "r.json"]).run(during);
    run().succeeds().stdout_is("old\nr.json\nsame\n");
    assert_eq!(world.read("project/same"), "old\n", "not written into the same file");
    world.outside("stat -c %a project/r.json; ls -A project").stdout_is("644\nr.json\nsame\n");
    serde_json::from_str::<serde_json::Value>(&world.read("project/r.json")).unwrap();
}

#[test]
fn a_file_to_be_read_is_no_pipe_without_a_writer_and_no_device() {
    let world = world();
    let asked = |flag: &str, name: &str| {
        world.sandbox().patience(SOON).args([flag, name]).run("echo started").stdout_is("")
    };
    for flag in ["--env-file", "--seccomp"] {
        for (name, why) in [
            ("./fifo", "it is a pipe that nobody writes to"),
            ("./zero", "it is a device"),
            ("./folder", "it is a directory"),
        ] {
            asked(flag, name).refuses_with(&[
                &format!("bryo: cannot take `{name}` for `{flag}`: {why}"),
                "hint: name a regular file, or write `<(COMMAND)`",
            ]);
        }
    }
    for name in ["./fifo", "./zero", "./folder"] {
        asked("--profile", name).exits_with(125).stderr_has("it is not a regular file");
        let check = world.bryo(["profile", "check", name]).patience(SOON).ends();
        check.exits_with(125).stderr_has("it is not a regular file");
    }
}

#[test]
fn a_file_of_variables_may_be_what_a_command_writes() {
    let world = World::new();
    let payload = ["--", "/bin/sh", "-c", "echo $A $B"];
    let command = "sleep 0.2; echo A=slow; sleep 0.2; echo B=late";
    let bash = format!("\"${{@:1:$#-4}}\" --env-file <({command}) \"${{@: -4}}\"");
    let with = ["/bin/bash", "-c", &bash, "-"];
    world.sandbox().under(with).args(payload).ends().succeeds().stdout_is("slow late\n");
}

#[test]
fn a_policy_of_ones_own_is_compiled_once_and_kept() {
    let world = World::new();
    let policy = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    world.file("project/policy.json", policy);
    let run = || world.sandbox().args(["--rm", "--seccomp", "./policy.json"]).run("echo up");
    run().succeeds().stdout_is("up\n").stderr_is("");
    let kept = || {
        let all = std::fs::read_dir(world.store().join("seccomp")).into_iter().flatten();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let first = kept();
    run().succeeds().stdout_is("up\n").stderr_is("");
    assert_eq!(kept(), first);
    // Where nothing is copy-on-write there is no store.
    assert_eq!(first.len(), usize::from(overlay() != Overlay::None), "{first:?}");
}

#[test]
fn no_answer_as_json_turns_the_direction_of_writing() {
    let world = World::new();
    let text = "description = \"a\\u202Eb\\u009Bc\"\nextends = [\"default\"]\n";
    world.file("project/p.toml", text);
    let file = world.file(".config/bryo/profiles/turned.toml", text);
    assert!(file.exists());
    for words in [
        &["profile", "check", "./p.toml", "--json"][..],
        &["profile", "show", "turned", "--json"],
        &["profile", "show", "turned", "--resolved", "--json"],
        &["profile", "list", "--json"],
    ] {
        let shown = world.bryo(words).ends().succeeds().stdout_has("a\\u202eb\\u009bc").stdout();
        assert!(!shown.contains(['\u{202e}', '\u{9b}']), "{words:?}");
    }
}
