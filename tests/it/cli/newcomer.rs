//! What somebody does on the first day.

use crate::support::{Host, Overlay, World, overlay_is_one_of};

#[test]
fn run_diff_ps_inspect_and_rm_follow_each_other() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.sandbox().run("echo hello > note").succeeds().stdout_is("").stderr_is("");
    assert!(!world.exists("project/note"), "the host stays as it is");
    let note = world.path("project/note");
    world
        .bryo(["diff", "--name-status"])
        .ends()
        .succeeds()
        .stdout_is(&format!("A {}\n", note.display()));

    let ids = world.bryo(["ps", "-aq"]).ends().succeeds().stdout();
    let id = ids.trim();
    assert_eq!(id.len(), 12, "{ids}");
    world.bryo(["ps"]).ends().stdout_lacks(id);
    world.bryo(["ps", "-a"]).ends().stdout_has(id).stdout_has("1A 0C 0D").stdout_has("echo hello");
    let list = world.bryo(["ps", "-a", "--json"]).ends().stdout();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["id"], id);

    let record = world.bryo(["inspect", &id[..4]]).ends().succeeds().stdout();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["changes"]["added"], 1);
    assert_eq!(record["spec"]["profile"], "default");
    let parts =
        ["inspect", "--format", "{{.id}} {{.changes.added}} {{json .spec.profile}}{{.name}}"];
    world.bryo(parts).ends().succeeds().stdout_is(&format!("{id} 1 \"default\"\n"));
    let unknown = world.bryo(["inspect", "-f", "{{.changes.nonesuch}}"]).ends();
    unknown.refuses_with(&["cannot find `changes.nonesuch`", "hint: there is ", "added"]);
    let twice = world.bryo(["inspect", "--json", id, id]).ends().succeeds().stdout();
    let twice: serde_json::Value = serde_json::from_str(&twice).unwrap();
    assert_eq!(twice, serde_json::json!([record, record]));
    let some = world.bryo(["inspect", "nonesuch", id]).ends().exits_with(125);
    let found: serde_json::Value = serde_json::from_str(&some.stdout()).unwrap();
    assert_eq!(found, serde_json::json!([record]));
    let one = world.bryo(["inspect", "-f", "json"]).ends().succeeds().stdout();
    assert_eq!(one.lines().count(), 1);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&one).unwrap(), record);
    let nul = |flags: &[&str]| world.bryo(["diff"]).args(flags).ends().succeeds().stdout();
    assert_eq!(nul(&["-z"]), format!("{}\0", note.display()));
    assert_eq!(nul(&["-z", "--name-only"]), nul(&["-z"]));
    assert_eq!(nul(&["--name-status", "-z"]), format!("A\0{}\0", note.display()));

    world
        .bryo(["rm", "nonesuch", id])
        .ends()
        .exits_with(125)
        .stdout_is(&format!("{id}\n"))
        .stderr_has("cannot find a sandbox `nonesuch`");
    world.bryo(["diff"]).ends().refuses_with(&["cannot find a sandbox that was started from"]);
}

#[test]
fn a_named_sandbox_is_found_by_its_name() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.sandbox().args(["--name", "first.try"]).run("touch a b").succeeds();
    let names = world.bryo(["diff", "first.try", "--names"]).ends().stdout();
    assert_eq!(names.lines().count(), 2, "{names}");
    let one = world.bryo(["diff", "first.try", "--names", "--", "a"]).ends().stdout();
    assert_eq!(one, format!("{}\n", world.path("project/a").display()));
    world.bryo(["rm", "first.try"]).ends().succeeds();
    world.sandbox().args(["--name", "idle"]).run("true").succeeds();
    world.bryo(["diff", "idle"]).ends().succeeds().stdout_is("").stderr_is("");
    let mut terminal = world.bryo(["diff", "idle"]).on_terminal();
    terminal.shows("changed nothing\r\n");
    terminal.ends().succeeds();
    world.bryo(["rm", "idle"]).ends().succeeds();
}

#[test]
fn somebody_who_comes_from_docker_is_told_about_images() {
    let world = World::new();
    for image in ["alpine", "ubuntu:24.04", "docker.io/library/debian"] {
        world
            .sandbox()
            .exec([image, "sh"])
            .exits_with(127)
            .stderr_has(&format!("bryo: cannot find `{image}` in the sandbox"))
            .stderr_has("`--image`, which is not there yet");
    }
    world.sandbox().exec(["no-such-program"]).exits_with(127).stderr_lacks("image");
}

#[test]
fn dockers_flags_do_what_docker_users_expect() {
    let world = World::new();
    world.host(Host::MayChange);
    world.folder("project/in");
    let mut terminal = world
        .bryo([
            "run", "-it", "--rm", "--init", "--name", "docker", "--security-opt", "no-new-privileges", "--cap-drop",
            "ALL", "--shm-size=32m", "--ulimit", "nofile=128:256", "--pids-limit", "64", "-e", "MODE=test", "-w",
            "/usr", "-v", "./in:/tmp/work:rw", "--tmpfs", "/tmp/t:size=1m", "--hostname", "box", "--network", "none",
            "sh", "-c",
            "echo [$MODE] $(pwd) $(ulimit -n) $(cat /proc/sys/kernel/hostname) > /tmp/work/out; test -t 0 && echo tty",
        ])
        .on_terminal();
    terminal.shows("tty");
    terminal.ends().succeeds();
    assert_eq!(world.read("project/in/out"), "[test] /usr 128 box\n");
}

#[test]
fn a_shell_is_ones_own_and_ends_with_exit() {
    let world = World::new();
    let mut terminal =
        world.bryo(["shell", "--rm"]).env("SHELL", "/bin/sh").env("PS1", "> ").on_terminal();
    terminal.types("echo $((40 + 2)) $0\r").shows("42 /bin/sh").types("exit 3\r");
    terminal.ends().exits_with(3);
    let run = ["shell", "--", "-c", "true"];
    world.bryo(run).ends().refuses_with(&["cannot take `--`", "bryo shell -c COMMAND"]);
}

#[test]
fn what_is_not_there_is_no_failure_for_rm_in_any_case() {
    let world = World::new();
    world.bryo(["rm", "nonesuch"]).ends().refuses_with(&["cannot find a sandbox `nonesuch`"]);
    world.bryo(["rm", "-f", "nonesuch"]).ends().succeeds().stdout_is("").stderr_is("");
    world.bryo(["network", "rm", "-f", "nonesuch"]).ends().succeeds().stdout_is("").stderr_is("");
    world.bryo(["events", "--until", "0s"]).ends().succeeds().stdout_is("");
}

#[test]
fn ones_own_profile_decides() {
    let world = World::new();
    world.file(
        ".config/bryo/profiles/mine.toml",
        "[environment]\nset = { COLOUR = 'blue' }\npass = ['EXTRA_*']\n[paths]\nhide = ['~/private']\n[limits]\n\
         timeout = '30s'\n",
    );
    world.file("private", "x");
    let run = world.sandbox().args(["--profile", "mine"]).env("EXTRA_A", "a").env("OTHER", "o");
    run.run("echo $COLOUR $EXTRA_A [$OTHER]; cat ~/private 2>&1 || true")
        .stdout_has("blue a []\n")
        .stdout_lacks("x\n");
    world.sandbox().args(["--profile", "mien"]).run("true").refuses_with(&["did you mean `mine`?"]);
}

#[test]
fn a_dry_run_says_when_nothing_would_start_and_only_then() {
    let world = World::new();
    std::os::unix::fs::symlink("nowhere", world.path("project/dangling")).unwrap();
    world.file("project/there", "#!/bin/sh\n");
    world.file("bin/own", "#!/bin/sh\n");
    let hidden = world.path("bin").display().to_string();
    let says = |words: &[&str]| {
        let run = world.bryo(["run", "--dry-run"]).in_folder(world.project());
        let told = run.args(words).ends().succeeds().stdout();
        told.contains("is not seen inside: nothing would start")
    };
    for words in [
        &["--", "nonesuch"][..],
        &["--", "./nonesuch"],
        &["--", "./dangling"],
        &["--", "/usr/bin/nonesuch/sh"],
        &["--root", "empty", "--", "sh"],
        &["--root", "empty", "--read", "/etc", "--", "/usr/bin/env"],
        &["--hide", "/usr", "--", "/bin/sh"],
        &["--hide", &hidden, "--", &format!("{hidden}/own")],
    ] {
        assert!(says(words), "{words:?}");
    }
    for words in [
        &["--", "sh"][..],
        &["--", "/bin/sh"],
        &["--", "./there"],
        &["--write", "../bin", "--", "./there"],
        &["--root", "empty", "--read", "/usr", "--", "/usr/bin/env"],
        &["--", "/proc/self/exe"],
        &["--rootfs", "/usr", "--", "/nonesuch"],
    ] {
        assert!(!says(words), "{words:?}");
    }
    let json = world.sandbox().args(["--dry-run", "--json"]).exec(["nonesuch"]).succeeds().stdout();
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    let notices = plan["notices"].as_array().unwrap();
    assert!(notices.contains(&serde_json::json!({"no-program": "nonesuch"})), "{notices:?}");
}

#[test]
fn what_is_wrong_with_a_flag_is_said_with_what_is_meant() {
    let world = World::new();
    let run = |words: &[&str]| world.bryo(["run"]).args(words).args(["--", "true"]).ends();
    run(&["--nosuch"]).exits_with(125).stderr_has("`bryo run --help` lists the flags");
    run(&["--readonly"]).exits_with(125).stderr_has("did you mean `--read-only`?");
    run(&["-e", "=x"]).exits_with(125).stderr_has("there is no name before the `=`");
    run(&["--ulimit", "cpu"]).exits_with(125).stderr_has("as in nofile=1024:4096");
    run(&["--rm", "--ulimit", "nofile=4"]).exits_with(125).stderr_has("hint: `--ulimit nofile`");
    run(&["--rm", "--pids-limit", "1"]).exits_with(126).stderr_has("hint: `--pids-limit`");
}

#[test]
fn a_user_is_known_by_name() {
    let world = World::new();
    let id = |user: &str| {
        let run = world.sandbox().args(["--rm", "--user", user]).run("id -u; id -g").succeeds();
        run.stdout()
    };
    assert_eq!(id("daemon"), id("1:1"));
    assert_eq!(id("daemon:root"), id("1:0"));
    let nobody = world.sandbox().args(["--user", "no-such-user"]).run("true").exits_with(125);
    nobody.stderr_has("no account in `/etc/passwd` has that name");
}

#[test]
fn the_name_of_a_network_is_no_mode_and_that_is_said() {
    let world = World::new();
    world.host(Host::MayChange);
    let run = || world.sandbox().args(["--network", "lab"]).run("true").exits_with(125);
    run().stderr_has("it is none of `none`, `user`").stderr_lacks("hint");
    assert!(!world.store().exists(), "a look makes no store");
    world.bryo(["network", "create", "lab"]).ends().succeeds();
    run().stderr_has("it is the name of a network").stderr_has("write `--network bridge:lab`");
    world.bryo(["network", "rm", "lab"]).ends().succeeds();
}

#[test]
fn a_program_that_fails_at_what_is_hidden_is_told_how_it_is_shown() {
    let world = World::new();
    world.file(".ssh/config", "Host x\n");
    let path = world.path(".ssh/config").canonicalize().unwrap().display().to_string();
    let cat = |more: &[&str]| {
        let words = more.iter().copied().chain(["--", "cat", &path]);
        world.sandbox().arg("--rm").args(words).on_terminal().ends()
    };
    let told = cat(&[]).exits_with(1);
    let flat = |screen: &str| screen.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = flat(&told.stdout());
    assert!(text.contains("is hidden by the profile"), "{text}");
    assert!(text.contains("to show it: --read"), "{text}");
    // What it says helps, and nothing is said of what did not fail, or is not hidden.
    let shown = cat(&["--read", &path]).succeeds();
    shown.stdout_has("Host x").stdout_lacks("hidden by the profile");
    world
        .sandbox()
        .arg("--rm")
        .args(["--", "echo", &path])
        .on_terminal()
        .ends()
        .succeeds()
        .stdout_lacks("hidden by the profile");
    world
        .sandbox()
        .arg("--rm")
        .args(["--", "cat", "/etc/none"])
        .on_terminal()
        .ends()
        .exits_with(1)
        .stdout_lacks("hidden by the profile");
}
