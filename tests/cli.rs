//! The binary's command line: help, pages, profiles, and every mistake with exit status 125.
#![expect(
    clippy::unwrap_used,
    reason = "allow-unwrap-in-tests does not reach helper functions of integration tests"
)]

#[path = "cli/completions.rs"]
mod completions;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::{Command, Output, Stdio};

/// A caller with an empty home.
struct Caller(tempfile::TempDir);

impl Caller {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bryo"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run<W: AsRef<OsStr>>(&self, words: &[W]) -> Output {
        self.command().args(words).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        assert!(output.stderr.is_empty(), "{words:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn failure<W: AsRef<OsStr> + std::fmt::Debug>(&self, words: &[W]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(125), "{words:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{words:?}");
        stderr(&output)
    }

    fn profile(&self, name: &str, content: impl AsRef<[u8]>) {
        let directory = self.0.path().join(".config/bryo/profiles");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.toml")), content).unwrap();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_is_the_same_however_it_is_asked_for() {
    let caller = Caller::new();
    let help = caller.text(&["help"]);
    for words in [&[][..], &["--help"], &["-h"]] {
        assert_eq!(caller.text(words), help);
    }
    assert_eq!(caller.text(&["help", "profile"]), caller.text(&["profile", "--help"]));
    assert!(caller.text(&["--version"]).starts_with("bryo 0."));
    assert_eq!(caller.text(&["version"]), caller.text(&["--version"]));
    let create = caller.text(&["network", "create", "--help"]);
    assert!(create.contains("Usage: bryo network create "), "{create}");
    for words in [&["help", "network", "create"][..], &["network", "help", "create"]] {
        assert_eq!(caller.text(words), create);
    }
    assert_eq!(caller.text(&["network", "help"]), caller.text(&["help", "network"]));
    assert!(caller.failure(&["help", "network", "creat"]).contains("`bryo network create`?"));
    assert!(caller.failure(&["help", "run", "ls"]).contains("cannot use `ls`"));
    for line in
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|l| !l.is_empty())
    {
        let name = line.split_whitespace().next().unwrap();
        assert!(caller.text(&["help", name]).contains("Usage: bryo "), "{name}");
    }
}

/// What people read first: a change of it is looked at.
#[test]
fn the_help_reads_as_it_should() {
    let caller = Caller::new();
    for name in [
        "bryo",
        "run",
        "diff",
        "apply",
        "discard",
        "export",
        "ps",
        "inspect",
        "rm",
        "stats",
        "top",
        "system",
        "doctor",
        "profile",
        "completions",
        "man",
    ] {
        let mut command = caller.command();
        command.env("COLUMNS", "100").arg("help");
        command.args(Some(name).filter(|name| *name != "bryo"));
        let output = command.output().unwrap();
        insta::assert_snapshot!(format!("help_{name}"), String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn help_fits_a_narrow_terminal() {
    let caller = Caller::new();
    for name in [
        "run", "shell", "diff", "apply", "discard", "export", "ps", "rm", "stats", "top", "system",
        "profile", "doctor",
    ] {
        let output = caller.command().args(["help", name]).env("COLUMNS", "40").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // A usage is not broken: it is to be read as it is typed.
        let long = |line: &&str| {
            line.chars().count() > 40 && line.trim().contains(' ') && !line.starts_with("Usage: ")
        };
        assert_eq!(text.lines().filter(long).collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn the_manual_has_every_command_and_what_no_flag_says() {
    let caller = Caller::new();
    let manual = caller.text(&["man"]);
    for part in [".TH bryo 1", "BRYO PROFILE", "bryo profile show", "EXIT STATUS", "NO_COLOR"] {
        assert!(manual.contains(part), "{part}");
    }
    assert!(caller.text(&["man", "profile"]).contains(".TH bryo-profile 1"));
    assert!(caller.failure(&["man", "profil"]).contains("did you mean `bryo profile`?"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let caller = Caller::new();
    let mut child =
        caller.command().arg("man").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let caller = Caller::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = caller.command().arg("help").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(stderr(&output), "bryo: cannot write to standard output: no space left on device\n");
}

#[test]
fn a_slip_in_a_commands_name_gets_a_suggestion() {
    let caller = Caller::new();
    let suggested = caller.failure(&["profil"]);
    assert!(suggested.starts_with(
        "bryo: cannot find a command named `profil`\nhint: did you mean `bryo profile`?"
    ));
    for (word, meant) in [("rnu", "run"), ("dfif", "diff"), ("exce", "exec"), ("pss", "ps")] {
        let hint = caller.failure(&[word, "--", "true"]);
        assert!(hint.contains(&format!("did you mean `bryo {meant}`?")), "{hint}");
    }
    let alone = caller.failure(&["--", "printf", "a b"]);
    assert!(alone.starts_with("bryo: cannot go on without a command"), "{alone}");
    assert!(alone.contains("hint: to run a program, write `bryo run -- printf 'a b'`;"), "{alone}");
    for flag in ["--network=none", "-w", "--net"] {
        let before = caller.failure(&[flag, "run", "true"]);
        assert!(before.contains(&format!("write them after it: `bryo run {flag}")), "{before}");
    }
    assert!(caller.failure(&["images"]).contains("hint: images are not there yet"));
    assert!(caller.failure(&["login"]).contains("hint: images are not there yet"));
    assert!(caller.failure(&["volume", "ls"]).contains("-v ./DIR:/PLACE"));
    assert!(caller.failure(&["make"]).contains("hint: to run a program, write `bryo run -- make`"));
    assert!(caller.failure(&["profile", "lsit"]).contains("did you mean `bryo profile list`?"));
    assert!(caller.failure(&["profile", "list", "--jsn"]).contains("did you mean `--json`?"));
    assert!(caller.failure(&["--hepl"]).contains("did you mean `--help`?"));
    assert!(caller.failure(&["profile", "list", "more"]).contains("cannot use `more`"));
    assert!(caller.failure(&["profile", "show"]).contains("cannot go on without <NAME|FILE>"));
}

#[test]
fn garbage_never_reaches_the_terminal_raw() {
    let caller = Caller::new();
    let garbage = [
        OsString::from_vec(b"\xff\x1b[2J\n\r".to_vec()),
        OsString::from("\x1b]0;owned\x07\u{202e}\nhint: rm"),
        OsString::from("x".repeat(100_000)),
        OsString::new(),
    ];
    for word in &garbage {
        let dashed = OsString::from_vec([b"--", word.as_bytes()].concat());
        let empty = OsStr::new("");
        for words in [
            vec![word.as_os_str()],
            vec![&dashed],
            vec!["help".as_ref(), word],
            vec!["man".as_ref(), word],
            vec!["completions".as_ref(), word],
            vec!["profile".as_ref(), word],
            vec!["profile".as_ref(), "show".as_ref(), word],
            vec!["profile".as_ref(), "check".as_ref(), word],
            vec!["profile".as_ref(), "list".as_ref(), word],
            vec!["doctor".as_ref(), word, empty],
        ] {
            let shown = caller.failure(&words);
            assert!(shown.lines().count() <= 2 && shown.len() < 4000, "{words:?}: {shown}");
            let raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!shown.contains(raw), "{words:?}: {shown:?}");
            assert!(
                shown.lines().all(|line| line.starts_with("bryo: ") || line.starts_with("hint: "))
            );
        }
    }
}

#[test]
fn ones_own_profile_is_listed_shown_and_checked() {
    let caller = Caller::new();
    caller
        .profile("mine", "description = 'for me'\nextends = ['build']\n[limits]\nprocesses = 9\n");
    let listed = caller.text(&["profile", "list"]);
    assert!(
        listed.lines().any(|line| line.starts_with("mine ") && line.ends_with("  for me")),
        "{listed}"
    );
    assert_eq!(
        caller.text(&["profile", "check", "mine"]),
        "mine: usable, extends default, build\n"
    );
    assert!(caller.text(&["profile", "show", "mine"]).starts_with("description = 'for me'"));
    let resolved = caller.text(&["profile", "show", "mine", "--resolved"]);
    assert!(resolved.contains("processes = 9") && resolved.contains("\"~/.ssh\""), "{resolved}");
    let json = caller.text(&["profile", "show", "mine", "--resolved", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["row"], serde_json::json!(["default", "build", "mine"]));
    let list: serde_json::Value =
        serde_json::from_str(&caller.text(&["profile", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 5);
}

#[test]
fn a_slip_in_what_is_removed_is_told() {
    let caller = Caller::new();
    caller.profile("mine", "[remove]\nsecrets = ['~/.npmrc', '~/.npmrcc']\n");
    let said = caller.text(&["profile", "check", "mine"]);
    assert!(said.ends_with("removed, but never listed:\nsecrets = [\"~/.npmrcc\"]\n"), "{said}");
}

#[test]
fn what_show_resolved_prints_is_a_profile_that_says_the_same() {
    let caller = Caller::new();
    for name in ["default", "strict", "build", "agent"] {
        let resolved = caller.text(&["profile", "show", name, "--resolved"]);
        fs::write(caller.0.path().join("copy.toml"), resolved).unwrap();
        let settings = |words: &[&str]| {
            let json: serde_json::Value = serde_json::from_str(&caller.text(words)).unwrap();
            json["settings"].clone()
        };
        let copy = settings(&["profile", "show", "./copy.toml", "--resolved", "--json"]);
        let original = settings(&["profile", "show", name, "--resolved", "--json"]);
        for part in ["ids", "root", "environment", "network", "confine", "limits"] {
            assert_eq!(copy[part], original[part], "{name}, {part}");
        }
        assert_eq!(copy["paths"]["secrets"], original["paths"]["secrets"]);
    }
}

#[test]
fn a_broken_profile_is_named_with_its_place() {
    let caller = Caller::new();
    caller.profile("bad", "[paths]\nraed = ['/x']\n");
    let shown = caller.failure(&["profile", "check", "bad"]);
    let file = caller.0.path().join(".config/bryo/profiles/bad.toml");
    assert_eq!(
        shown,
        format!(
            "bryo: cannot use profile `{}`, line 2, column 1: there is no key `raed` in `[paths]`\n\
             hint: did you mean `read`?\n",
            file.display()
        )
    );
    assert!(caller.text(&["profile", "list"]).contains("unusable: cannot use profile"));
    assert!(caller.text(&["profile", "show", "bad"]).contains("raed"), "to look at what is wrong");
    for content in [&b"\xff"[..], b"a = ", &vec![b'x'; 10 << 20]] {
        caller.profile("bad", content);
        assert!(caller.failure(&["profile", "check", "bad"]).starts_with("bryo: cannot "));
    }
}

#[test]
fn a_profile_in_the_current_directory_is_taken_only_when_it_is_named() {
    let caller = Caller::new();
    fs::create_dir_all(caller.0.path().join("profiles")).unwrap();
    for place in ["default.toml", "here.toml", "bryo.toml", "profiles/here.toml"] {
        fs::write(caller.0.path().join(place), "hostname = 'here'").unwrap();
    }
    assert!(
        caller.failure(&["profile", "show", "here"]).contains("cannot find a profile named `here`")
    );
    assert!(!caller.text(&["profile", "show", "default"]).contains("'here'"));
    assert!(caller.text(&["profile", "show", "./here.toml"]).contains("'here'"));
    assert!(caller.text(&["profile", "check", "here.toml"]).contains("usable"));
}

#[test]
fn the_directory_of_profiles_follows_xdg_when_it_is_absolute() {
    let caller = Caller::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(elsewhere.path().join("bryo/profiles")).unwrap();
    fs::write(elsewhere.path().join("bryo/profiles/far.toml"), "").unwrap();
    let show = |value: &OsStr| {
        caller
            .command()
            .args(["profile", "show", "far"])
            .env("XDG_CONFIG_HOME", value)
            .status()
            .unwrap()
    };
    assert!(show(elsewhere.path().as_os_str()).success());
    assert!(!show(OsStr::new("relative")).success());
    let homeless = caller.command().args(["profile", "list"]).env_remove("HOME").output().unwrap();
    assert!(homeless.status.success());
}
