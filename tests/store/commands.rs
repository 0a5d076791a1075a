//! `ps`, `inspect`, `diff` and `rm` on sandboxes in a store.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bryo::ops::inspect::inspect;
use bryo::ops::ps::{PsState, Scope, list, table};
use bryo::ops::rm::{Running, remove};
use bryo::ops::{OpsError, sweep};
use bryo::report::Explain;
use bryo::spec::Text;
use bryo::state::record::ChangeCounts;
use bryo::state::{Launcher, Outcome, Record, SandboxId, StateError, Timestamp, Which};

use crate::fixture::{Fixture, exited};

/// A sandbox that ended, whose layer has these files.
fn kept(fixture: &Fixture, name: &str, files: &[&[u8]]) -> SandboxId {
    let (sandbox, record) = fixture.started(Some(name));
    for file in files {
        fs::write(fixture.upper(&sandbox).join(OsStr::from_bytes(file)), "x").unwrap();
    }
    let changes = ChangeCounts { added: 2, ..ChangeCounts::default() };
    let id = sandbox.id();
    sandbox.keep(&Record { changes: Some(changes), size: Some(4096), ..exited(record) }).unwrap();
    id
}

#[test]
fn ps_lists_what_runs_and_with_all_what_ended() {
    let fixture = Fixture::new();
    let ended = kept(&fixture, "ended", &[b"a"]);
    std::thread::sleep(Duration::from_millis(15));
    let (killed, _) = fixture.started(Some("dead"));
    fs::write(fixture.upper(&killed).join("file"), "").unwrap();
    drop(killed);
    std::thread::sleep(Duration::from_millis(15));
    let (running, _) = fixture.started(None);
    let stores = fixture.stores();
    let now = list(&stores, Scope::Running).unwrap();
    assert_eq!(now.iter().map(|row| row.id).collect::<Vec<_>>(), [running.id()]);
    let all = list(&stores, Scope::All).unwrap();
    let states: Vec<&PsState> = all.iter().map(|row| &row.state).collect();
    assert!(
        matches!(states[..], [PsState::Running, PsState::Killed, PsState::Exited(_)]),
        "{states:?}"
    );
    let text = table(&all, Timestamp::now(), None);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ID"));
    assert!(lines[3].starts_with(&ended.to_string()));
    for word in ["ended", "exited 3", "2A 0C 0D", "4.0 KiB", "make"] {
        assert!(lines[3].contains(word), "{word}: {}", lines[3]);
    }
    assert!(!text.contains('\u{1b}'));
    let json = serde_json::to_value(&all).unwrap();
    assert_eq!(json[0]["state"], "running");
    assert_eq!(json[2]["state"], serde_json::json!({"exited": {"code": 3}}));
}

#[test]
fn a_sandbox_whose_record_is_unreadable_is_listed_and_can_be_removed() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(Some("n"));
    fs::write(fixture.upper(&sandbox).join("file"), "").unwrap();
    fs::write(fixture.upper(&sandbox).with_file_name("record.json"), "no JSON").unwrap();
    drop(sandbox);
    let stores = fixture.stores();
    let all = list(&stores, Scope::All).unwrap();
    assert_eq!(all[0].state, PsState::Unreadable);
    let record = fixture.path("data/bryo").join(fixture.left().remove(0)).join("record.json");
    for (text, said) in [
        ("no JSON", "cannot understand"),
        ("", "a part of it is missing"),
        ("{\"version", "a part of it is missing"),
    ] {
        fs::write(&record, text).unwrap();
        let error = inspect(&stores, Which::Named(&"n".into())).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().unwrap().contains("bryo rm "), "{error}");
    }
    let removed = remove(&stores, &["n".into()], Running::Refuse).unwrap();
    assert!(removed[0].is_ok());
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn inspect_tells_of_a_killed_run_that_it_was_killed() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(Some("n"));
    fs::write(fixture.upper(&sandbox).join("file"), "").unwrap();
    drop(sandbox);
    let record = inspect(&fixture.stores(), Which::Named(&"n".into())).unwrap();
    assert!(matches!(record.outcome, Outcome::Killed { .. }));
}

#[test]
fn rm_goes_on_after_what_it_cannot_remove_and_says_why() {
    let fixture = Fixture::new();
    let (running, _) = fixture.started(Some("running"));
    kept(&fixture, "ended", &[b"a"]);
    let names = ["running", "nobody", "ended"].map(Text::from);
    let results = remove(&fixture.stores(), &names, Running::Refuse).unwrap();
    let Err(error @ OpsError::StillRuns(id)) = &results[0] else {
        panic!("{results:?}");
    };
    assert_eq!(*id, running.id());
    assert_eq!(error.hint().unwrap(), format!("bryo rm -f {id} kills it first"));
    assert!(matches!(&results[1], Err(error @ OpsError::State(StateError::NotFound(_)))
        if error.hint().is_some()));
    assert!(results[2].is_ok());
    assert_eq!(fixture.left().len(), 2);
}

/// A process that holds the lock of a sandbox as a launcher would, and nothing else does.
fn play_launcher(fixture: &Fixture, name: &str, start_ticks_off_by: u64) -> Child {
    let (sandbox, record) = fixture.started(Some(name));
    let directory = fixture.upper(&sandbox).parent().unwrap().to_owned();
    fs::write(fixture.upper(&sandbox).join("file"), "").unwrap();
    drop(sandbox);
    let child = Command::new("flock")
        // A process that another test is about to start may still have our descriptor of it.
        .args(["--timeout", "10", "--no-fork"])
        .arg(&directory)
        .args(["sleep", "100"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let ticks: u64 =
        stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let launcher = Launcher {
        pid: child.id(),
        start_ticks: ticks + start_ticks_off_by,
        ..record.launcher.clone()
    };
    write_record(&directory, &Record { launcher, ..record });
    let found = fixture.stores().find(name.as_bytes()).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let comm = format!("/proc/{}/comm", child.id());
    // It has the lock when it has become the command.
    while fs::read_to_string(&comm).unwrap() != "sleep\n" {
        assert!(Instant::now() < end, "flock(1) does not lock");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(found.is_running().unwrap());
    child
}

fn write_record(directory: &Path, record: &Record) {
    fs::write(directory.join("record.json"), serde_json::to_vec(record).unwrap()).unwrap();
}

#[test]
fn rm_by_force_kills_the_launcher_and_removes() {
    let fixture = Fixture::new();
    let mut child = play_launcher(&fixture, "n", 0);
    let stores = fixture.stores();
    assert!(remove(&stores, &["n".into()], Running::Refuse).unwrap()[0].is_err());
    remove(&stores, &["n".into()], Running::Kill).unwrap().remove(0).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn rm_by_force_does_not_kill_another_process_with_the_number_of_the_launcher() {
    let fixture = Fixture::new();
    let mut child = play_launcher(&fixture, "n", 1);
    let result = remove(&fixture.stores(), &["n".into()], Running::Kill).unwrap().remove(0);
    assert!(matches!(result, Err(OpsError::State(StateError::NoLauncher(_)))), "{result:?}");
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_that_changed_nothing_is_swept_away() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(None);
    fs::create_dir(fixture.path("over/same")).unwrap();
    fs::create_dir(fixture.upper(&sandbox).join("same")).unwrap();
    drop(sandbox);
    let swept = sweep::sweep(&fixture.stores()).unwrap();
    assert_eq!((swept.removed.len(), swept.killed.len()), (1, 0));
    assert_eq!(fixture.left(), [""; 0]);
}
