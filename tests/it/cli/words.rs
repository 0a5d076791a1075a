//! What each word of the command line brings about.

use crate::support::{Host, World};

#[test]
fn the_exit_status_tells_what_happened() {
    let world = World::new();
    world.file("project/not-a-program", "text");
    world.sandbox().run("exit 7").exits_with(7);
    world.sandbox().run("kill -9 $$").exits_with(128 + 9);
    world.sandbox().args(["--timeout", "300ms"]).run("sleep 30").exits_with(124);
    world.sandbox().exec(["./not-a-program"]).exits_with(126);
    world.sandbox().exec(["./nowhere"]).exits_with(127);
    world.sandbox().arg("--nonsense").run("true").exits_with(125);
}

#[test]
fn variables_are_those_of_the_profile_and_of_the_flags() {
    let world = World::new();
    world.file("project/vars", "# two\nONE=1\nFROM_OUTSIDE\n");
    world
        .sandbox()
        .args(["--env-file", "vars", "-e", "TWO=2", "-e", "TOKEN_*", "-e", "UNSET"])
        .env("FROM_OUTSIDE", "f")
        .env("TOKEN_A", "t")
        .env("SECRET", "s")
        .run("echo [$ONE] [$TWO] [$FROM_OUTSIDE] [$TOKEN_A] [$SECRET] [${UNSET-unset}] [$HOME]")
        .stdout_is(&format!("[1] [2] [f] [t] [] [unset] [{}]\n", world.home().display()));
}

#[test]
fn standard_input_is_connected_unless_that_is_refused() {
    let world = World::new();
    let typed = || world.sandbox().stdin(crate::support::Stdin::Text(b"typed\n".to_vec()));
    typed().run("cat").stdout_is("typed\n");
    typed().arg("--interactive=false").run("cat; echo end").stdout_is("end\n");
}

#[test]
fn a_dry_run_shows_the_plan_and_starts_nothing() {
    let world = World::new();
    let shown = world.bryo(["run", "--dry-run", "--", "touch", "x"]).ends().succeeds().stdout();
    assert!(shown.lines().count() > 20 && shown.contains("touch"), "{shown}");
    let json = world.bryo(["run", "--dry-run", "--json", "touch", "x"]).ends().succeeds().stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["steps"].as_array().unwrap().len() > 20);
    assert!(!world.store().exists(), "not even the store is made");
}

#[test]
fn the_report_is_the_record() {
    let world = World::new();
    world.host(Host::MayChange);
    world
        .sandbox()
        .args(["--rm", "--report", "r.json"])
        .env("LOST", "x")
        .run("exit 3")
        .exits_with(3);
    let report: serde_json::Value = serde_json::from_str(&world.read("project/r.json")).unwrap();
    assert_eq!(report["outcome"]["exit"]["code"], 3);
    let not_passed = report["spec"]["command"]["not_passed"].as_array().unwrap();
    assert!(not_passed.iter().any(|name| name == "LOST"), "{not_passed:?}");
    assert!(!report["enforced"].as_array().unwrap().is_empty());
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_the_run() {
    let world = World::new();
    for place in ["/nowhere/r.json", "/", "/proc/version"] {
        let run = world.sandbox().args(["--report", place]).run("echo started");
        run.stdout_is("").refuses_with(&[&format!("bryo: cannot write a report to `{place}`")]);
    }
    // It is made and removed again, which the directory's times show.
    world.host(Host::MayChange);
    world.sandbox().args(["--report", "r.json"]).exec(["./nowhere"]).exits_with(127);
    assert!(!world.exists("project/r.json"), "nothing ran, nothing is reported");
}

#[test]
fn a_link_put_in_place_of_the_report_is_not_followed() {
    let world = World::new();
    world.host(Host::MayChange);
    world.file("victim", "mine");
    let attack = "rm -f out/r.json; ln -s ../../victim out/r.json";
    // The control: whoever opens the name afterwards writes over the victim.
    world.folder("project/out");
    world.outside(&format!("cd project; {attack}; echo theirs > out/r.json")).succeeds();
    assert_eq!(world.read("victim"), "theirs\n");
    world.outside("rm project/out/r.json; echo mine > victim").succeeds();
    world.bryo(["run", "--rm", "--write", "out", "--report", "out/r.json"]).run(attack).succeeds();
    assert_eq!(world.read("victim"), "mine\n");
    assert!(world.read("project/out/r.json").contains("victim"), "the record, with the command");
}

#[test]
fn a_report_does_not_follow_its_directory_to_another_place() {
    let world = World::new();
    world.host(Host::MayChange);
    world.folder("project/out/deep");
    world.folder("other");
    let attack = "mv out/deep out/moved; ln -s ../../other out/deep";
    world
        .bryo(["run", "--rm", "--write", "out", "--report", "out/deep/r.json"])
        .run(attack)
        .exits_with(125)
        .stderr_has("cannot leave the report at")
        .stderr_has("its directory was replaced during the run");
    assert!(world.exists("project/out/moved/r.json"), "where it was asked for");
    // The control: whoever opens the name afterwards writes there.
    world.outside("echo theirs >project/out/deep/r.json").succeeds();
    assert!(world.exists("other/r.json"));
}

#[test]
fn a_report_is_for_its_owner_alone_and_leaves_the_number_of_a_descriptor_free() {
    let world = World::new();
    world.host(Host::MayChange);
    let refused = world.sandbox().args(["--report", "r.json", "--pass-fd", "3"]).run("true");
    refused.refuses_with(&["cannot pass descriptor 3: it is not open"]);
    world.sandbox().args(["--rm", "--report", "r.json"]).run("true").succeeds();
    world.outside("stat -c %a project/r.json").stdout_is("600\n");
}

#[test]
fn a_mistake_starts_nothing_and_leaves_nothing() {
    let world = World::new();
    world.file("bad.toml", "[paths]\nraed = []\n");
    for words in [
        &["--profile", "../bad.toml"][..],
        &["--user", "no-such-user"],
        &["--read", "gone/../x"],
        &["--memory", "1m"],
        &["--network", "bridge:no such"],
        &["--seccomp", "../bad.toml"],
        &["--env-file", "nowhere"],
        &["--privileged"],
        &["--write", "/nowhere/at/all"],
    ] {
        let failed = world.sandbox().args(words).run("echo started").exits_with(125).stdout_is("");
        assert!(failed.stderr().starts_with("bryo: cannot "), "{words:?}: {}", failed.stderr());
        assert!(!world.store().exists(), "{words:?}");
    }
}

#[test]
fn what_a_run_would_refuse_a_dry_run_refuses_too() {
    let world = World::new();
    world.file("none.json", r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}"#);
    for words in [["--seccomp", "../none.json"], ["--pass-fd", "7"]] {
        let refused =
            |words: &[&str]| world.sandbox().args(words).run("true").exits_with(125).stderr();
        let told = refused(&words);
        for form in [&["--dry-run"][..], &["--dry-run", "--json"]] {
            assert_eq!(refused(&[&words[..], form].concat()), told);
        }
    }
}

#[test]
fn a_descriptor_is_passed_by_number() {
    let world = World::new();
    world.file("project/data", "content\n");
    let with_five = ["/bin/sh", "-c", "exec \"$@\" 5< data", "-"];
    world.sandbox().under(with_five).args(["--pass-fd", "5"]).run("cat <&5").stdout_is("content\n");
    world.sandbox().under(with_five).run("cat <&5").fails();
    // Also where our own descriptors would be.
    for number in ["3", "4", "5", "6", "99"] {
        let refused = world.sandbox().args(["--pass-fd", number]).run("readlink /proc/self/fd/*");
        refused
            .stdout_is("")
            .refuses_with(&[&format!("bryo: cannot pass descriptor {number}: it is not open\n")]);
    }
}
