//! The life of a sandbox's directory: made, locked, ended, swept, removed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bryo::plan::step::{Backend, Layer, LayerNumber};
use bryo::state::error::StoreFault;
use bryo::state::{Effort, Outcome, Record, SandboxId, StateError, Store, Timestamp};

use crate::fixture::{Fixture, exited, host, inside, plan};

#[test]
fn a_store_is_made_with_what_is_missing_above_it_and_entered_by_nobody_else() {
    let fixture = Fixture::new();
    fixture.store();
    for path in ["data", "data/bryo", "data/bryo/live"] {
        let mode = fs::metadata(fixture.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{path}");
    }
}

#[test]
fn a_store_that_others_may_enter_or_that_is_a_link_is_refused() {
    let fixture = Fixture::new();
    let real = fixture.path("real");
    fs::create_dir(&real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o750)).unwrap();
    let fault = |path: &Path| match Store::open(&host(path)) {
        Err(StateError::ForeignStore { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault(&real), StoreFault::Open(0o750));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&real, fixture.path("link")).unwrap();
    assert_eq!(fault(&fixture.path("link")), StoreFault::NoDirectory);
    fs::write(fixture.path("file"), "").unwrap();
    assert_eq!(fault(&fixture.path("file")), StoreFault::NoDirectory);
    assert!(Store::open(&host(&real)).is_ok());
}

#[test]
fn a_run_that_wrote_nothing_leaves_nothing() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(None);
    // What the kernel makes when the overlay is mounted.
    let work = fixture.upper(&sandbox).with_file_name("work-0").join("work");
    fs::create_dir(&work).unwrap();
    fs::set_permissions(&work, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(sandbox.remove_if_untouched().unwrap().is_none());
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn a_layer_with_a_server_has_a_directory_of_its_own() {
    let fixture = Fixture::new();
    let over = fixture.path("over");
    let served = Layer { backend: Backend::Fuse, ..plan(&over, &[]).layers.remove(0) };
    let start = || {
        let mut sandbox = fixture.store().create(None).unwrap();
        let made = sandbox.make_layer(LayerNumber(0), &served).unwrap();
        let own = made.upper.as_path().parent().unwrap().to_owned();
        assert_eq!(made.work.as_path().parent(), Some(own.as_path()));
        let names: Vec<_> =
            fs::read_dir(&own).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert!(names.len() == 2 && names.iter().all(|name| name == "upper" || name == "work"));
        // What the server makes at its start.
        fs::create_dir(made.work.as_path().join("work")).unwrap();
        (sandbox, made)
    };
    let (sandbox, _) = start();
    assert!(sandbox.remove_if_untouched().unwrap().is_none());
    assert_eq!(fixture.left(), [""; 0]);
    let (sandbox, made) = start();
    fs::write(made.upper.as_path().join("file"), "written").unwrap();
    let sandbox = sandbox.remove_if_untouched().unwrap().expect("it was written to");
    let upper = sandbox.open_upper(LayerNumber(0)).unwrap().expect("there is an upper");
    assert!(
        rustix::fs::accessat(
            &upper,
            "file",
            rustix::fs::Access::EXISTS,
            rustix::fs::AtFlags::empty()
        )
        .is_ok()
    );
    sandbox.remove().unwrap();
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn a_run_that_wrote_or_changed_the_mode_of_the_root_is_given_back() {
    let fixture = Fixture::new();
    for touch in
        [(|upper: &Path| fs::write(upper.join("file"), "").unwrap()) as fn(&Path), |upper| {
            fs::set_permissions(upper, fs::Permissions::from_mode(0o700)).unwrap();
        }]
    {
        let (sandbox, record) = fixture.started(None);
        touch(&fixture.upper(&sandbox));
        let id = sandbox.id();
        let sandbox = sandbox.remove_if_untouched().unwrap().expect("touched");
        sandbox.keep(&exited(record.clone())).unwrap();
        let found = fixture.stores().find(id.as_str().as_bytes()).unwrap();
        assert_eq!(
            found.record().unwrap(),
            Record { outcome: found.record().unwrap().outcome, ..record }
        );
        assert!(!found.is_running().unwrap());
        found.lock().unwrap().remove().unwrap();
    }
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn an_upper_directory_has_the_permissions_of_what_it_covers_whatever_the_umask() {
    let fixture = Fixture::new();
    for mode in [0o700, 0o755, 0o2775, 0o1777, 0o555, 0o777] {
        let over = fixture.path("over");
        fs::set_permissions(&over, fs::Permissions::from_mode(mode)).unwrap();
        let (sandbox, _) = fixture.started(None);
        let is = fs::metadata(fixture.upper(&sandbox)).unwrap().permissions().mode();
        assert_eq!(is & 0o7777, mode, "{mode:o}");
        assert!(sandbox.remove_if_untouched().unwrap().is_none());
    }
}

#[test]
fn places_that_scratch_layers_hide_are_in_the_record() {
    let fixture = Fixture::new();
    let (sandbox, record) = fixture.started(None);
    assert_eq!(record.layers[0].masked, [inside("/.ssh")]);
    assert_eq!(record.layers[0].mark, Some(sandbox.created()));
    assert_eq!(sandbox.record().unwrap(), record);
}

#[test]
fn another_file_system_gets_a_mark_by_its_own_clock_and_no_file() {
    let memory = Path::new("/dev/shm");
    let over = tempfile::tempdir_in(memory).unwrap();
    let fixture = Fixture::new();
    let mut sandbox = fixture.store().create(None).unwrap();
    let before = Timestamp::now();
    let made = sandbox.make_layer(LayerNumber(0), &plan(over.path(), &[]).layers[0]).unwrap();
    let mark = made.mark.time.unwrap();
    // File times come from a clock that ticks some hundred times a second.
    assert!(mark.since(Timestamp::now()).is_zero() && before.since(mark).as_millis() < 50);
    assert_eq!(fs::read_dir(over.path()).unwrap().count(), 0);
}

#[test]
fn a_running_sandbox_is_neither_swept_nor_locked_by_another() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(None);
    let found = fixture.stores().find(sandbox.id().as_str().as_bytes()).unwrap();
    assert!(found.is_running().unwrap());
    assert!(matches!(found.lock(), Err(StateError::Running(_))));
    let swept = fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
    assert!(swept.removed.is_empty() && swept.failed.is_empty());
    assert!(sandbox.remove_if_untouched().unwrap().is_none());
    assert!(!found.is_running().unwrap());
}

#[test]
fn a_killed_run_is_kept_with_changes_or_a_name_and_removed_without() {
    let fixture = Fixture::new();
    let (with, record) = fixture.started(Some("with"));
    fs::write(fixture.upper(&with).join("file"), "x").unwrap();
    let (named, _) = fixture.started(Some("named"));
    // It is the name that it has now that counts.
    let (renamed, _) = fixture.started(None);
    renamed.as_found().rename("renamed").unwrap();
    let (without, _) = fixture.started(None);
    let ids = (with.id(), without.id());
    let mut kept = [ids.0, named.id(), renamed.id()];
    kept.sort_by_key(SandboxId::to_string);
    // The lock ends with the process that held it, however that ended.
    drop((with, named, renamed, without));
    let store = fixture.store();
    let mut swept = store.sweep(&|sandbox, _| sandbox.id() == ids.0, Effort::Whole).unwrap();
    swept.killed.sort_by_key(SandboxId::to_string);
    assert_eq!((swept.killed, swept.removed), (kept.to_vec(), vec![ids.1]));
    assert!(swept.failed.is_empty());
    let found = fixture.stores().find(b"with").unwrap();
    let now = found.record().unwrap();
    assert!(matches!(now.outcome, Outcome::Killed { .. }));
    assert_eq!(Record { outcome: Outcome::Running, ..now }, record);
    assert!(found.open_upper(LayerNumber(0)).unwrap().is_some());
    let again = store.sweep(&|_, _| false, Effort::Whole).unwrap();
    assert!(again.killed.is_empty() && again.removed.is_empty());
    let mut left = kept.map(|id| format!("kept/{id}")).to_vec();
    left.extend(["names/named", "names/renamed", "names/with"].map(str::to_owned));
    let mut all = fixture.left();
    all.sort();
    assert_eq!(all, left);
}

#[test]
fn a_launcher_killed_at_any_moment_leaves_what_the_next_sweep_puts_in_order() {
    let fixture = Fixture::new();
    let store = fixture.store();
    // After the directory; after the layer; half a record; after the final record.
    drop(store.create(None).unwrap());
    let mut sandbox = store.create(None).unwrap();
    sandbox.make_layer(LayerNumber(0), &plan(&fixture.path("over"), &[]).layers[0]).unwrap();
    drop(sandbox);
    let (sandbox, record) = fixture.started(None);
    let file = fixture.upper(&sandbox).with_file_name("record.json");
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    drop(sandbox);
    let (sandbox, _) = fixture.started(None);
    let id = sandbox.id();
    fs::write(fixture.upper(&sandbox).join("file"), "x").unwrap();
    sandbox.replace_record(&exited(Record { id, ..record })).unwrap();
    drop(sandbox);
    let swept = store.sweep(&|_, _| true, Effort::Whole).unwrap();
    assert_eq!((swept.removed.len(), swept.killed.len(), swept.failed.len()), (3, 0, 0));
    assert_eq!(fixture.left(), [format!("kept/{id}")]);
}

#[test]
fn a_layer_with_content_is_never_removed_because_its_record_is_lost_or_not_understood() {
    let fixture = Fixture::new();
    for content in ["", "{\"version\": 99}", "garbage"] {
        let (sandbox, _) = fixture.started(None);
        fs::write(fixture.upper(&sandbox).join("file"), "x").unwrap();
        let file = fixture.upper(&sandbox).with_file_name("record.json");
        fs::write(file, content).unwrap();
        let id = sandbox.id();
        drop(sandbox);
        let swept = fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
        assert_eq!((swept.removed.len(), swept.failed.len()), (0, 1), "{content}");
        let found = fixture.stores().find(id.as_str().as_bytes()).unwrap();
        found.lock().unwrap().remove().unwrap();
    }
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn an_interrupted_removal_is_finished_by_the_next_sweep() {
    let fixture = Fixture::new();
    let trash = fixture.path("data/bryo/trash/0123456789ab/upper-0/a/b");
    fixture.store();
    fs::create_dir_all(&trash).unwrap();
    fs::write(trash.join("c"), "").unwrap();
    let swept = fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
    assert_eq!(swept.removed.len(), 1);
    assert_eq!(fixture.left(), [""; 0]);
}

#[test]
fn a_brief_sweep_leaves_the_rest_of_a_large_removal_to_a_whole_one() {
    let fixture = Fixture::new();
    let directory = fixture.path("data/bryo/trash/0123456789ab/upper-0");
    fixture.store();
    fs::create_dir_all(&directory).unwrap();
    for n in 0..3000 {
        fs::write(directory.join(n.to_string()), "").unwrap();
    }
    let swept = fixture.store().sweep(&|_, _| false, Effort::Brief).unwrap();
    assert!(swept.removed.is_empty() && swept.failed.is_empty());
    let left = fs::read_dir(&directory).unwrap().count();
    assert!((1..2500).contains(&left), "{left}");
    let swept = fixture.store().sweep(&|_, _| false, Effort::Whole).unwrap();
    assert_eq!((swept.removed.len(), fixture.left().len()), (1, 0));
}

#[test]
fn removing_follows_no_link_and_opens_what_is_closed() {
    let fixture = Fixture::new();
    let (sandbox, _) = fixture.started(None);
    let upper = fixture.upper(&sandbox);
    fs::write(fixture.path("precious"), "x").unwrap();
    symlink(fixture.path("precious"), upper.join("link")).unwrap();
    symlink(fixture.directory.path(), upper.join("directory")).unwrap();
    for (name, mode) in [("a", 0o000), ("b", 0o100), ("c", 0o400), ("d", 0o555)] {
        fs::create_dir_all(upper.join(name).join("below/more")).unwrap();
        fs::write(upper.join(name).join("below/file"), "").unwrap();
        for path in [upper.join(name).join("below"), upper.join(name)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    fs::write(upper.join("deep-1"), "in the way").unwrap();
    sandbox.remove().unwrap();
    assert_eq!(fixture.left(), [""; 0]);
    assert!(fixture.path("precious").exists());
}

#[test]
fn a_tree_deeper_than_any_path_and_than_the_open_files_allowed_is_removed() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    // In memory: on a busy disk thousands of directories take their time.
    let fixture = Fixture::in_directory(tempfile::tempdir_in("/dev/shm").unwrap());
    let (sandbox, _) = fixture.started(None);
    let open = |parent: &std::os::fd::OwnedFd, name: &str| {
        openat(parent, name, OFlags::DIRECTORY, Mode::empty()).unwrap()
    };
    let mut at = openat(CWD, fixture.upper(&sandbox), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for depth in 0..3000 {
        for name in ["down", "beside"] {
            mkdirat(&at, name, Mode::RWXU).unwrap();
        }
        mkdirat(open(&at, "beside"), "x", Mode::empty()).unwrap();
        let name = if depth % 100 == 0 { "beside" } else { "down" };
        at = open(&at, name);
    }
    // Fewer than the tree has levels, and enough for the tests that run at the same time.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let lower = rustix::process::Rlimit { current: Some(1024), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, lower).unwrap();
    sandbox.remove().unwrap();
    assert_eq!(fixture.left(), [""; 0]);
}
