//! The script is checked by shellcheck, by two shells, and by running it on made-up files.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::ops::doctor::{Finding, State};
use crate::spec::HostPath;

fn report(remedies: Vec<Remedy>) -> Report {
    let findings = remedies
        .into_iter()
        .map(|remedy| {
            Finding::ok("x", "a thing", "not $(there)\nat all")
                .but(State::Missing, "c")
                .remedy(remedy)
        })
        .collect();
    Report { version: 1, default_run_works: false, in_sandbox: false, findings }
}

fn everything() -> Report {
    let path = |path: &str| HostPath::new(path).unwrap();
    report(vec![
        Remedy::sysctl("user.max_user_namespaces", 15_000),
        Remedy::apparmor(path("/usr/local/bin/bryo")),
        Remedy::package(Package::Uidmap, None),
        Remedy::package(Package::FuseOverlayfs, None),
        Remedy::set_user_id(&path("/usr/bin/new uid'map")),
        Remedy::subids("al ice", true, true, 100_000),
        Remedy::device("/dev/fuse", "fuse"),
        Remedy::by_hand("boot a newer kernel"),
    ])
}

#[test]
fn a_word_is_quoted_when_a_shell_would_read_it_otherwise() {
    assert_eq!(quote("/usr/bin/newuidmap"), "/usr/bin/newuidmap");
    assert_eq!(quote("a b"), "'a b'");
    assert_eq!(quote("it's; rm -rf $HOME"), "'it'\\''s; rm -rf $HOME'");
    assert_eq!(quote(""), "''");
    assert_eq!(quote("~"), "'~'");
}

/// What a program says of a script on its standard input.
fn fed(program: &str, arguments: &[&str], script: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn nothing_to_fix_is_a_comment() {
    assert_eq!(fix_script(&report(Vec::new())), "#!/bin/sh\n# nothing to fix\n");
    let by_hand = fix_script(&report(vec![Remedy::by_hand("boot a newer kernel")]));
    assert!(by_hand.lines().all(|line| line.is_empty() || line.starts_with('#')), "{by_hand}");
    assert!(by_hand.contains("# a thing: boot a newer kernel"));
}

#[test]
fn only_the_functions_that_are_called_are_there() {
    let script = fix_script(&report(vec![Remedy::sysctl("user.max_user_namespaces", 5)]));
    assert!(script.contains("\nset_sysctl user.max_user_namespaces 5\n"));
    assert!(!script.contains("install_package") && !script.contains("usermod"));
}

#[test]
fn every_shell_reads_the_script() {
    let script = fix_script(&everything());
    for shell in ["sh", "bash"] {
        let (works, said) = fed(shell, &["-n"], &script);
        assert!(works && said.is_empty(), "{shell}: {said}\n{script}");
    }
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let script = fix_script(&everything());
    match Command::new("shellcheck").arg("--version").output() {
        Ok(_) => {
            let (works, said) = fed("shellcheck", &["-s", "sh", "-"], &script);
            assert!(works && said.is_empty(), "{said}\n{script}");
        }
        Err(missing) => eprintln!("SKIPPED: shellcheck is not installed ({missing})"),
    }
}

#[test]
fn what_comes_from_the_machine_is_quoted_and_never_run() {
    let script = fix_script(&everything());
    assert!(script.contains("set_user_id '/usr/bin/new uid'\\''map'\n"));
    assert!(script.contains("add_subids uid 'al ice'\nadd_subids gid 'al ice'\n"));
    assert!(script.contains("# a thing: not $(there) at all\n"));
}

#[test]
fn a_path_that_apparmor_would_read_as_a_pattern_is_left_to_a_person() {
    let remedy = Remedy::apparmor(HostPath::new("/home/al/{a,b}*/bryo").unwrap());
    let script = fix_script(&report(vec![remedy]));
    assert!(!script.contains("allow_namespaces") && script.contains("What no script can do"));
}

#[test]
fn the_same_fix_is_made_once() {
    let twice =
        vec![Remedy::package(Package::Uidmap, None), Remedy::package(Package::Uidmap, None)];
    let script = fix_script(&report(twice));
    assert_eq!(script.matches("\ninstall_package ").count(), 1, "{script}");
}

/// Runs functions of the script with `/etc` and `/proc/sys` replaced by directories of the test.
fn run_in(root: &std::path::Path, function: &str, calls: &str) -> String {
    let root_text = root.to_str().unwrap();
    let function = function
        .replace("/etc/", &format!("{root_text}/etc/"))
        .replace("/proc/sys/", &format!("{root_text}/sys/"));
    let say = "say() { printf 'bryo fix: %s\\n' \"$*\"; }";
    let fake = format!(
        "usermod() {{ echo \"usermod $*\"; echo \"al:${{2%-*}}:65536\" >>'{root_text}/etc/subuid'; }}"
    );
    let script = format!("set -eu\n{say}\n{fake}\n{function}\n{calls}\n");
    let (works, said) = fed("sh", &["-s"], &script);
    assert!(works, "{said}\n{script}");
    said
}

#[test]
fn a_parameter_is_set_once_and_replaced_when_it_differs() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("sys/user")).unwrap();
    std::fs::write(root.join("sys/user/max_user_namespaces"), "0\n").unwrap();
    let call = "set_sysctl user.max_user_namespaces 7";
    std::fs::create_dir(root.join("etc")).unwrap();
    let first = run_in(root, SYSCTL, call);
    assert_eq!(first.lines().count(), 2, "{first}");
    assert_eq!(run_in(root, SYSCTL, call), "");
    run_in(root, SYSCTL, "set_sysctl user.max_user_namespaces 9");
    let file = std::fs::read_to_string(root.join("etc/sysctl.d/90-bryo.conf")).unwrap();
    assert_eq!(file, "user.max_user_namespaces = 9\n");
    let now = std::fs::read_to_string(root.join("sys/user/max_user_namespaces")).unwrap();
    assert_eq!(now, "9\n");
}

#[test]
fn a_range_is_given_behind_all_others_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/subuid"), "bo:100000:65536\n").unwrap();
    std::fs::write(root.join("etc/passwd"), "al:x:1:1::/:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/subgid"), "bo:200000:65536\nbad:x:y\n").unwrap();
    let said = run_in(root, SUBIDS_TEXT, "add_subids uid al");
    assert!(said.contains("usermod --add-subuids 265536-331071 al"), "{said}");
    assert_eq!(run_in(root, SUBIDS_TEXT, "add_subids uid al"), "");
    // An account of a directory service; a dot in its name is no pattern.
    run_in(root, SUBIDS_TEXT, "add_subids uid a.");
    assert_eq!(run_in(root, SUBIDS_TEXT, "add_subids uid a."), "");
    let file = std::fs::read_to_string(root.join("etc/subuid")).unwrap();
    assert_eq!(file, "bo:100000:65536\nal:265536:65536\na.:331072:65536\n");
}
